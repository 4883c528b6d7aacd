//! The pulls' rows: one a node.

use estiva_model::Timestamp;
use estiva_store::Row;
use serde::{Deserialize, Serialize};

use crate::scope::Scope;

/// The pull of an image onto one node.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ImagePullRow {
    /// Whose.
    pub scope: Scope,
    /// The same for all nodes of one call.
    pub id: String,
    /// As in a task definition.
    pub image: String,
    /// The container instance's key.
    pub container_instance_key: String,
    /// The container instance's ARN.
    pub container_instance_arn: String,
    /// How far it is.
    pub status: ImagePullStatus,
    /// When it was asked for.
    pub created_at: Timestamp,
}

/// How far a pull is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ImagePullStatus {
    /// The node was, or will be, told.
    Pending,
    /// The node has the image with this digest.
    Pulled(String),
    /// It has not, for this reason.
    Failed(String),
}

/// The pulls that a container instance has still to do.
pub const BY_PENDING_INSTANCE: &str = "pending_instance";

impl Row for ImagePullRow {
    const TABLE: &'static str = "image_pulls";

    fn key(&self) -> String {
        key(&self.scope, &self.id, &self.container_instance_key)
    }

    fn indexes(&self) -> Vec<(&'static str, String)> {
        let pending = self.status == ImagePullStatus::Pending;
        pending.then(|| (BY_PENDING_INSTANCE, self.container_instance_key.clone())).into_iter().collect()
    }
}

/// A row's key.
pub fn key(scope: &Scope, id: &str, container_instance_key: &str) -> String {
    scope.key(&[id, container_instance_key])
}
