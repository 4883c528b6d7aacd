//! TCS: what a node tells of itself and its tasks.
//!
//! Each frame from AWS's agent is a block of signed header lines, an empty line, then the JSON envelope.

use serde::{Deserialize, Serialize};

use crate::frame::messages;

messages! {
    /// From the node to the control plane.
    AgentMessage {
        /// Use of CPU, memory, network and storage.
        PublishMetrics(PublishMetrics) = "PublishMetricsRequest",
        /// Containers' health checks.
        PublishHealth(PublishHealth) = "PublishHealthRequest",
        /// The node's own health.
        PublishInstanceStatus(PublishInstanceStatus) = "PublishInstanceStatusRequest",
    }
}

messages! {
    /// From the control plane to the node.
    ServerMessage {
        /// Answers metrics.
        AckPublishMetric(Ack) = "AckPublishMetric",
        /// Answers health.
        AckPublishHealth(Ack) = "AckPublishHealth",
        /// Answers the node's own health.
        AckPublishInstanceStatus(Ack) = "AckPublishInstanceStatus",
        /// At least once a minute.
        Heartbeat(Heartbeat) = "HeartbeatMessage",
    }
}

/// A time as AWS's agent writes it: seconds since 1970, with a fraction. The control plane goes by its own clock and reads
/// none of them, nor anything else that it has no use for: what nobody reads must not make a message unreadable.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Seconds(f64);

impl Seconds {
    /// Of milliseconds since 1970.
    #[allow(clippy::cast_precision_loss, reason = "exact for the next 280,000 years")]
    pub fn of_millis(millis: i64) -> Self {
        Self(millis as f64 / 1000.0)
    }
}

/// The JSON part of a frame from a node: what follows the first empty line, or the whole where there is none.
pub fn envelope(frame: &str) -> &str {
    frame.split_once("\r\n\r\n").map_or(frame, |(_headers, json)| json)
}

/// Which messages are answered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ack {
    /// What the server says.
    pub message: String,
}

/// A sign of life.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Heartbeat {
    /// Whether the server is well.
    pub healthy: bool,
}

/// What every publication says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Metadata {
    /// The cluster's ARN.
    pub cluster: String,
    /// The container instance's ARN.
    pub container_instance: String,
    /// Unique to the publication.
    pub message_id: String,
    /// Whether no task runs.
    pub idle: bool,
    /// Whether this is the last frame of the publication: a frame has at most ten tasks.
    pub fin: bool,
}

/// Use of CPU, memory, network and storage.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PublishMetrics {
    /// Who publishes.
    #[serde(skip_deserializing)]
    pub metadata: Metadata,
    /// When it was published.
    #[serde(skip_deserializing)]
    pub timestamp: Seconds,
    /// At most ten.
    pub task_metrics: Vec<TaskMetric>,
}

/// Measurements of one task.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TaskMetric {
    /// The task.
    pub task_arn: String,
    /// The cluster's ARN.
    #[serde(skip_deserializing)]
    pub cluster_arn: String,
    /// The task definition's family.
    #[serde(skip_deserializing)]
    pub task_definition_family: String,
    /// The task definition's revision.
    #[serde(skip_deserializing)]
    pub task_definition_version: String,
    /// Its containers.
    pub container_metrics: Vec<ContainerMetric>,
}

/// Measurements of one container.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerMetric {
    /// Unique in the task.
    pub container_name: String,
    /// Percent of one core.
    pub cpu_stats_set: StatsSet,
    /// MiB.
    pub memory_stats_set: StatsSet,
    /// Of the task's network; absent where the containers have the host's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_stats_set: Option<NetworkStatsSet>,
    /// Of block devices.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_stats_set: Option<StorageStatsSet>,
    /// Of a container with a restart policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart_stats_set: Option<RestartStatsSet>,
}

/// What went over a task's network, in bytes: within the interval from Estiva's agent, since the container's start from AWS's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NetworkStatsSet {
    /// Received.
    pub rx_bytes: StatsSet,
    /// Sent.
    pub tx_bytes: StatsSet,
    /// Received within a second; AWS's agent alone says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rx_bytes_per_second: Option<StatsSet>,
    /// Sent within a second; AWS's agent alone says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tx_bytes_per_second: Option<StatsSet>,
}

/// What went from and to block devices, in bytes: within the interval from Estiva's agent, since the container's start from
/// AWS's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StorageStatsSet {
    /// Read.
    pub read_size_bytes: StatsSet,
    /// Written.
    pub write_size_bytes: StatsSet,
}

/// How often a container was started again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RestartStatsSet {
    /// Since the task began from Estiva's agent, since the last publication from AWS's.
    pub restart_count: i64,
}

/// At most so many tasks are in one publication.
pub const TASKS_MAX: usize = 10;

/// A summary of samples.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StatsSet {
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
    /// Of all samples.
    pub sum: f64,
    /// How many.
    pub sample_count: i64,
}

/// Containers' health checks.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PublishHealth {
    /// Who publishes.
    #[serde(skip_deserializing)]
    pub metadata: Metadata,
    /// When it was published.
    #[serde(skip_deserializing)]
    pub timestamp: Seconds,
    /// At most ten.
    pub tasks: Vec<TaskHealth>,
}

/// Health of one task's containers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TaskHealth {
    /// The task.
    pub task_arn: String,
    /// The cluster's ARN.
    #[serde(skip_deserializing)]
    pub cluster_arn: String,
    /// The task definition's family.
    #[serde(skip_deserializing)]
    pub task_definition_family: String,
    /// The task definition's revision.
    #[serde(skip_deserializing)]
    pub task_definition_version: String,
    /// Its containers that have a health check.
    pub containers: Vec<ContainerHealth>,
}

/// Health of one container.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerHealth {
    /// Unique in the task.
    pub container_name: String,
    /// HEALTHY, UNHEALTHY or UNKNOWN.
    pub health_status: String,
    /// When that began.
    #[serde(skip_deserializing)]
    pub status_since: Seconds,
}

/// The node's own health.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PublishInstanceStatus {
    /// Who publishes.
    #[serde(skip_deserializing)]
    pub metadata: InstanceStatusMetadata,
    /// One a subject.
    #[serde(skip_deserializing)]
    pub statuses: Vec<InstanceStatus>,
    /// When it was published.
    #[serde(skip_deserializing)]
    pub timestamp: Seconds,
}

/// Who publishes the node's own health.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct InstanceStatusMetadata {
    /// The cluster's ARN.
    pub cluster: String,
    /// The container instance's ARN.
    pub container_instance: String,
    /// Unique to the publication.
    pub request_id: String,
}

/// Health of one part of the node.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct InstanceStatus {
    /// `ContainerRuntime`.
    #[serde(rename = "type")]
    pub kind: String,
    /// OK, IMPAIRED, INSUFFICIENT_DATA or INITIALIZING.
    pub status: String,
    /// When it was last looked at.
    #[serde(skip_deserializing)]
    pub last_updated: Seconds,
    /// When it became so.
    #[serde(skip_deserializing)]
    pub last_status_change: Seconds,
}

#[cfg(test)]
mod tests;
