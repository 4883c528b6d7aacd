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
    pub metadata: Metadata,
    /// Milliseconds since 1970.
    pub timestamp: i64,
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
    pub cluster_arn: String,
    /// The task definition's family.
    pub task_definition_family: String,
    /// The task definition's revision.
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

/// What went over a task's network within the interval, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NetworkStatsSet {
    /// Received.
    pub rx_bytes: StatsSet,
    /// Sent.
    pub tx_bytes: StatsSet,
}

/// What went from and to block devices within the interval, in bytes.
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
    /// Since the task began.
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
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PublishHealth {
    /// Who publishes.
    pub metadata: Metadata,
    /// Milliseconds since 1970.
    pub timestamp: i64,
    /// At most ten.
    pub tasks: Vec<TaskHealth>,
}

/// Health of one task's containers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TaskHealth {
    /// The task.
    pub task_arn: String,
    /// The cluster's ARN.
    pub cluster_arn: String,
    /// The task definition's family.
    pub task_definition_family: String,
    /// The task definition's revision.
    pub task_definition_version: String,
    /// Its containers that have a health check.
    pub containers: Vec<ContainerHealth>,
}

/// Health of one container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerHealth {
    /// Unique in the task.
    pub container_name: String,
    /// HEALTHY, UNHEALTHY or UNKNOWN.
    pub health_status: String,
    /// Milliseconds since 1970.
    pub status_since: i64,
}

/// The node's own health.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PublishInstanceStatus {
    /// Who publishes.
    pub metadata: InstanceStatusMetadata,
    /// One a subject.
    pub statuses: Vec<InstanceStatus>,
    /// Milliseconds since 1970.
    pub timestamp: i64,
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
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct InstanceStatus {
    /// `ContainerRuntime`.
    #[serde(rename = "type")]
    pub kind: String,
    /// OK, IMPAIRED, INSUFFICIENT_DATA or INITIALIZING.
    pub status: String,
    /// Milliseconds since 1970.
    pub last_updated: i64,
    /// Milliseconds since 1970.
    pub last_status_change: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_envelope_follows_the_signed_headers() {
        let frame = "Authorization: AWS4-HMAC-SHA256 x\r\nHost: h\r\nX-Amz-Date: d\r\n\r\n\
            {\"type\":\"PublishMetricsRequest\",\"message\":{\"metadata\":{\"idle\":true},\"timestamp\":5}}";
        let AgentMessage::PublishMetrics(metrics) = AgentMessage::decode(envelope(frame)).unwrap() else {
            panic!("not metrics")
        };
        assert!(metrics.metadata.idle);
        assert_eq!(metrics.timestamp, 5);
    }
}
