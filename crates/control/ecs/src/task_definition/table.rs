//! The task definitions' rows.

use estiva_api_ecs::types as api;
use estiva_model::Timestamp;
use estiva_store::Row;
use serde::{Deserialize, Serialize};

use crate::scope::Scope;
use crate::tag::Tags;

/// One revision of a task definition.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TaskDefinitionRow {
    /// Whose.
    pub scope: Scope,
    /// The family.
    pub family: String,
    /// Counts from 1 in the family.
    pub revision: u32,
    /// Whether new tasks may use it.
    pub status: TaskDefinitionStatus,
    /// As it was registered, with the defaults that ECS fills in; without what the other fields tell.
    #[serde(with = "estiva_schema::json::verbatim")]
    pub definition: api::TaskDefinition,
    /// The owner's labels.
    pub tags: Tags,
    /// When.
    pub registered_at: Timestamp,
    /// The principal's ARN.
    pub registered_by: String,
    /// When it became INACTIVE.
    pub deregistered_at: Option<Timestamp>,
    /// When its deletion was asked for.
    pub delete_requested_at: Option<Timestamp>,
}

/// ACTIVE → INACTIVE → DELETE_IN_PROGRESS → gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TaskDefinitionStatus {
    /// New tasks may use it.
    #[serde(rename = "ACTIVE")]
    Active,
    /// Deregistered: running tasks keep it.
    #[serde(rename = "INACTIVE")]
    Inactive,
    /// Goes once no task uses it.
    #[serde(rename = "DELETE_IN_PROGRESS")]
    DeleteInProgress,
}

impl TaskDefinitionStatus {
    /// As ECS writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::Inactive => "INACTIVE",
            Self::DeleteInProgress => "DELETE_IN_PROGRESS",
        }
    }
}

impl Row for TaskDefinitionRow {
    const TABLE: &'static str = "task_definitions";

    fn key(&self) -> String {
        revision_key(&self.scope, &self.family, self.revision)
    }

    fn indexes(&self) -> Vec<(&'static str, String)> {
        vec![
            (BY_STATUS, status_value(&self.scope, self.status)),
            (BY_FAMILY_STATUS, family_status_value(&self.scope, &self.family, self.status)),
        ]
    }
}

/// All revisions of a scope in a status.
pub const BY_STATUS: &str = "status";
/// All revisions of a family in a status.
pub const BY_FAMILY_STATUS: &str = "family_status";

/// The value of [`BY_STATUS`].
pub fn status_value(scope: &Scope, status: TaskDefinitionStatus) -> String {
    scope.key(&[status.as_str()])
}

/// The value of [`BY_FAMILY_STATUS`].
pub fn family_status_value(scope: &Scope, family: &str, status: TaskDefinitionStatus) -> String {
    scope.key(&[family, status.as_str()])
}

/// Keys of a family sort by revision.
pub fn revision_key(scope: &Scope, family: &str, revision: u32) -> String {
    scope.key(&[family, &format!("{revision:010}")])
}

impl TaskDefinitionRow {
    /// `arn:aws:ecs:region:account:task-definition/family:revision`
    pub fn arn(&self) -> String {
        arn(&self.scope, &self.family, self.revision)
    }
}

/// The ARN of a revision.
pub fn arn(scope: &Scope, family: &str, revision: u32) -> String {
    scope.arn(format!("task-definition/{family}:{revision}"))
}

/// What outlives a family's revisions: numbers are never given twice.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FamilyRow {
    /// Whose.
    pub scope: Scope,
    /// The family.
    pub family: String,
    /// The newest number given.
    pub latest_revision: u32,
    /// How many revisions are ACTIVE.
    pub active_revisions: u32,
}

impl Row for FamilyRow {
    const TABLE: &'static str = "task_definition_families";

    fn key(&self) -> String {
        self.scope.key(&[&self.family])
    }
}
