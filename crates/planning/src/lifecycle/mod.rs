//! The life of a task: its states, their order, and what a node's report or a wish to stop makes of them.
//!
//! PROVISIONING → PENDING → ACTIVATING → RUNNING → DEACTIVATING → STOPPING → DEPROVISIONING → STOPPED. A task only
//! ever moves on; a late or repeated report changes nothing.

mod health;
mod order;
mod report;
mod status;
#[cfg(test)]
mod tests;
mod timeline;

pub use health::{HealthTally, task_health};
pub use order::follows;
pub use report::{ContainerReport, TaskReport, advance, begin_stopping};
pub use status::{ContainerStatus, DesiredStatus, HealthStatus, StopCode, TaskStatus};
pub use timeline::Moment;

use estiva_model::Timestamp;
use serde::{Deserialize, Serialize};

/// What has been observed of a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskState {
    /// How far the task is.
    pub last_status: TaskStatus,
    /// Grows by one with each change.
    pub version: i64,
    /// Its containers, in the order of the task definition.
    pub containers: Vec<ContainerState>,
    /// When the first image's pull began.
    pub pull_started_at: Option<Timestamp>,
    /// When the last image's pull ended.
    pub pull_stopped_at: Option<Timestamp>,
    /// When the task became RUNNING.
    pub started_at: Option<Timestamp>,
    /// When the task began to stop.
    pub stopping_at: Option<Timestamp>,
    /// When the last container ended.
    pub execution_stopped_at: Option<Timestamp>,
    /// When the task became STOPPED.
    pub stopped_at: Option<Timestamp>,
    /// Every change, in the order in which it was heard of.
    #[serde(default)]
    pub timeline: Vec<Moment>,
}

/// What has been observed of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerState {
    /// Unique in the task.
    pub name: String,
    /// How far the container is.
    pub last_status: ContainerStatus,
    /// Set once the container ended.
    pub exit_code: Option<i32>,
    /// Why it did not start, or why it ended.
    pub reason: Option<String>,
    /// The runtime's id of the container.
    pub runtime_id: Option<String>,
    /// The digest of the image's manifest.
    pub image_digest: Option<String>,
    /// Ports as published.
    pub network_bindings: Vec<NetworkBinding>,
    /// What its health check last made of it.
    #[serde(default)]
    pub health: HealthStatus,
}

/// A container's port as it is published on the node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkBinding {
    /// The node's address that listens.
    pub bind_ip: String,
    /// In the container.
    pub container_port: u16,
    /// On the node.
    pub host_port: u16,
    /// tcp or udp.
    pub protocol: String,
}

impl TaskState {
    /// A task that was just placed.
    pub fn new(status: TaskStatus, containers: impl IntoIterator<Item = String>) -> Self {
        let container = |name| ContainerState {
            name,
            last_status: ContainerStatus::Pending,
            exit_code: None,
            reason: None,
            runtime_id: None,
            image_digest: None,
            network_bindings: Vec::new(),
            health: HealthStatus::Unknown,
        };
        Self {
            last_status: status,
            version: 1,
            containers: containers.into_iter().map(container).collect(),
            pull_started_at: None,
            pull_stopped_at: None,
            started_at: None,
            stopping_at: None,
            execution_stopped_at: None,
            stopped_at: None,
            timeline: Vec::new(),
        }
    }
}
