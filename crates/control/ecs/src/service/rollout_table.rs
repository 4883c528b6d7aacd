//! How a service's deployments stand. The operations on services begin deployments, the controller leads them.

use std::collections::BTreeMap;

use estiva_api_ecs::types as api;
use estiva_model::Timestamp;
use estiva_planning::deployment::{Backoff, Stage};
use estiva_store::Row;
use serde::{Deserialize, Serialize};

use crate::tag::Tags;

/// Everything that a service does at present.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RolloutRow {
    /// The service's key.
    pub service: String,
    /// The PRIMARY one first, then the others that still have tasks, the newest first.
    pub deployments: Vec<Deployment>,
    /// The id of the service deployment that is under way.
    pub under_way: Option<String>,
    /// The id of the service deployment that was begun last.
    pub latest: Option<String>,
    /// Whether the service was told to be in a steady state, and has been since.
    pub is_steady: bool,
    /// Tasks that are started beyond the desired count, to move others elsewhere.
    pub extra: usize,
    /// On how many container instances a DAEMON is to have a task.
    #[serde(default)]
    pub instances: usize,
    /// The number of the next event.
    pub next_event: u64,
    /// What was said last of each kind, and when, so that it is not said again and again.
    pub told: BTreeMap<String, (String, Timestamp)>,
}

/// An entry of `deployments[]`, or a task set: tasks of one service revision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Deployment {
    /// `ecs-svc/` and 19 digits.
    pub id: String,
    /// The id of its service revision.
    pub revision: String,
    /// PRIMARY, ACTIVE, or, of a task set, DRAINING.
    pub status: DeploymentStatus,
    /// How far it is.
    pub rollout: Rollout,
    /// Why, in ECS's words.
    pub rollout_reason: String,
    /// Once it was COMPLETED: what a later deployment may go back to.
    pub was_completed: bool,
    /// Tasks that have failed and no longer count, for one was healthy since.
    pub forgiven: usize,
    /// The wait after tasks that failed.
    #[serde(default)]
    pub backoff: Backoff,
    /// How many of its tasks found no room when they were to be started last.
    #[serde(default)]
    pub unplaced: usize,
    /// How many times tasks of it were to be started: it tells an attempt from what is left of a former one.
    #[serde(default)]
    pub attempts: u64,
    /// When it was begun.
    pub created_at: Timestamp,
    /// When it changed.
    pub updated_at: Timestamp,
    /// What a task set has besides.
    #[serde(default)]
    pub task_set: Option<TaskSet>,
}

/// `deployments[].status`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "ECS's names")]
pub enum DeploymentStatus {
    #[serde(rename = "PRIMARY")]
    Primary,
    #[serde(rename = "ACTIVE")]
    Active,
    #[serde(rename = "DRAINING")]
    Draining,
}

impl DeploymentStatus {
    /// As ECS writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Primary => "PRIMARY",
            Self::Active => "ACTIVE",
            Self::Draining => "DRAINING",
        }
    }
}

/// `deployments[].rolloutState`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "ECS's names")]
pub enum Rollout {
    #[serde(rename = "IN_PROGRESS")]
    InProgress,
    #[serde(rename = "COMPLETED")]
    Completed,
    #[serde(rename = "FAILED")]
    Failed,
}

/// What the owner of a service with deployment controller EXTERNAL says of a task set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskSet {
    /// Percent of the service's desired count.
    pub scale: f64,
    /// The owner's name for it.
    pub external_id: Option<String>,
    /// The owner's labels.
    pub tags: Tags,
    /// Whether it has as many healthy tasks as it is to have.
    pub is_stable: bool,
    /// When that changed.
    pub stability_at: Timestamp,
    /// The token of the request that made it, so that a repeated call answers as the first did.
    #[serde(default)]
    pub client_token: Option<String>,
    /// SHA-256 of that request, so that the token cannot stand for another.
    #[serde(default)]
    pub request_digest: Option<String>,
}

impl Row for RolloutRow {
    const TABLE: &'static str = "service_rollouts";

    fn key(&self) -> String {
        self.service.clone()
    }
}

impl RolloutRow {
    /// The deployment whose tasks the service is to have.
    pub fn primary(&self) -> Option<&Deployment> {
        self.deployments.iter().find(|deployment| deployment.status == DeploymentStatus::Primary)
    }

    /// The deployment with this id.
    pub fn deployment(&self, id: &str) -> Option<&Deployment> {
        self.deployments.iter().find(|deployment| deployment.id == id)
    }

    /// The deployment with this id, to change it.
    pub fn deployment_mut(&mut self, id: &str) -> Option<&mut Deployment> {
        self.deployments.iter_mut().find(|deployment| deployment.id == id)
    }

    /// How many tasks wait for room.
    pub fn unplaced(&self) -> usize {
        self.deployments.iter().map(|deployment| deployment.unplaced).sum()
    }

    /// Nothing waits for room any more.
    pub(super) fn forget_unplaced(&mut self) {
        for deployment in &mut self.deployments {
            deployment.unplaced = 0;
        }
    }

    /// Notes that tasks of a deployment were to be started, and how many found no room. Task sets wait each for itself; of
    /// deployments that follow each other only the last one's tasks are still wanted.
    pub(super) fn note_attempt(&mut self, id: &str, unplaced: usize) {
        if self.deployment(id).is_some_and(|deployment| deployment.task_set.is_none()) {
            self.forget_unplaced();
        }
        if let Some(deployment) = self.deployment_mut(id) {
            deployment.unplaced = unplaced;
            deployment.attempts += 1;
        }
    }
}

/// A service deployment: from a service revision to another.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct ServiceDeploymentRow {
    /// The service's key.
    pub service: String,
    /// 21 characters.
    pub id: String,
    /// The id of its entry in `deployments[]`.
    pub deployment: String,
    /// The id of the entry that it goes back to if it fails.
    pub source: Option<String>,
    /// The ids of the service revisions that had tasks when it began.
    pub source_revisions: Vec<String>,
    /// The id of the service revision that it leads to.
    pub target_revision: String,
    /// How it stands.
    pub status: ServiceDeploymentStatus,
    /// Why.
    pub status_reason: Option<String>,
    /// What it does now.
    pub stage: Stage,
    /// The configuration that it was begun with.
    #[serde(with = "estiva_schema::json::verbatim")]
    pub configuration: api::DeploymentConfiguration,
    /// Hooks that have been begun, in their order.
    pub hooks: Vec<HookState>,
    /// When its bake time ends.
    pub bake_until: Option<Timestamp>,
    /// Names of the alarms that ended it.
    pub triggered_alarms: Vec<String>,
    /// Tasks that failed, when that was looked at last; and how many are too many.
    pub failures: usize,
    /// How many are too many.
    pub threshold: Option<usize>,
    /// When and why it goes back.
    pub rollback: Option<RollbackState>,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// When it was told to stop.
    pub stopped_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// When it changed.
    pub updated_at: Timestamp,
}

impl ServiceDeploymentRow {
    /// Gives up the hooks that have not ended; the keys of their tasks, which are to end too.
    pub fn close_hooks(&mut self) -> Vec<String> {
        let open = self.hooks.iter_mut().filter(|hook| hook.status.is_open());
        let closed = open.map(|hook| {
            hook.status = HookStatus::Failed;
            hook.reason = Some("its deployment ended".to_owned());
            hook.task.clone()
        });
        closed.collect::<Vec<_>>().into_iter().flatten().collect()
    }
}

/// `serviceDeployments[].rollback`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RollbackState {
    /// Why.
    pub reason: String,
    /// Since when.
    pub started_at: Timestamp,
    /// The id of the service revision that it goes back to.
    pub revision: String,
}

/// `serviceDeployments[].status`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "ECS's names")]
pub enum ServiceDeploymentStatus {
    #[serde(rename = "PENDING")]
    Pending,
    #[serde(rename = "SUCCESSFUL")]
    Successful,
    #[serde(rename = "STOPPED")]
    Stopped,
    #[serde(rename = "STOP_REQUESTED")]
    StopRequested,
    #[serde(rename = "IN_PROGRESS")]
    InProgress,
    #[serde(rename = "ROLLBACK_REQUESTED")]
    RollbackRequested,
    #[serde(rename = "ROLLBACK_IN_PROGRESS")]
    RollbackInProgress,
    #[serde(rename = "ROLLBACK_SUCCESSFUL")]
    RollbackSuccessful,
    #[serde(rename = "ROLLBACK_FAILED")]
    RollbackFailed,
}

impl ServiceDeploymentStatus {
    /// As the API has it.
    pub fn to_api(self) -> api::ServiceDeploymentStatus {
        match self {
            Self::Pending => api::ServiceDeploymentStatus::Pending,
            Self::Successful => api::ServiceDeploymentStatus::Successful,
            Self::Stopped => api::ServiceDeploymentStatus::Stopped,
            Self::StopRequested => api::ServiceDeploymentStatus::StopRequested,
            Self::InProgress => api::ServiceDeploymentStatus::InProgress,
            Self::RollbackRequested => api::ServiceDeploymentStatus::RollbackRequested,
            Self::RollbackInProgress => api::ServiceDeploymentStatus::RollbackInProgress,
            Self::RollbackSuccessful => api::ServiceDeploymentStatus::RollbackSuccessful,
            Self::RollbackFailed => api::ServiceDeploymentStatus::RollbackFailed,
        }
    }

    /// Whether nothing more happens.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Successful | Self::Stopped | Self::RollbackSuccessful | Self::RollbackFailed)
    }
}

/// A hook that has been begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookState {
    /// Its place in the configuration.
    pub place: usize,
    /// The stage that it holds up.
    pub stage: Stage,
    /// What ContinueServiceDeployment calls it.
    pub id: String,
    /// How it stands.
    pub status: HookStatus,
    /// When it is given up.
    pub expires_at: Timestamp,
    /// The key of the task that it runs.
    pub task: Option<String>,
    /// Why it failed.
    pub reason: Option<String>,
}

/// `lifecycleHookDetails[].status`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "ECS's names")]
pub enum HookStatus {
    #[serde(rename = "AWAITING_ACTION")]
    AwaitingAction,
    #[serde(rename = "IN_PROGRESS")]
    InProgress,
    #[serde(rename = "SUCCEEDED")]
    Succeeded,
    #[serde(rename = "FAILED")]
    Failed,
    #[serde(rename = "TIMED_OUT")]
    TimedOut,
}

impl HookStatus {
    /// Whether it holds its deployment up.
    pub fn is_open(self) -> bool {
        matches!(self, Self::AwaitingAction | Self::InProgress)
    }
}

impl Row for ServiceDeploymentRow {
    const TABLE: &'static str = "service_deployments";

    fn key(&self) -> String {
        super::table::child_key(&self.service, &self.id)
    }
}
