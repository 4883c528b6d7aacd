//! The capacity providers' rows.

use estiva_api_ecs::types as api;
use estiva_model::Timestamp;
use estiva_store::Row;
use serde::{Deserialize, Serialize};

use crate::scope::Scope;
use crate::tag::Tags;

/// A capacity provider that an owner has made.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CapacityProviderRow {
    /// Whose.
    pub scope: Scope,
    /// Unique in the scope.
    pub name: String,
    /// Given back as it came, with its defaults.
    #[serde(with = "estiva_schema::json::verbatim")]
    pub auto_scaling_group_provider: api::AutoScalingGroupProvider,
    /// Whether its settings were changed since it was made.
    pub was_updated: bool,
    /// The owner's labels.
    pub tags: Tags,
    /// When it was made.
    pub created_at: Timestamp,
}

/// The provider that stands for an Auto Scaling group.
pub const BY_AUTO_SCALING_GROUP: &str = "auto_scaling_group";

impl Row for CapacityProviderRow {
    const TABLE: &'static str = "capacity_providers";

    fn key(&self) -> String {
        self.scope.key(&[&self.name])
    }

    fn indexes(&self) -> Vec<(&'static str, String)> {
        let group = &self.auto_scaling_group_provider.auto_scaling_group_arn;
        vec![(BY_AUTO_SCALING_GROUP, self.scope.key(&[group]))]
    }
}
