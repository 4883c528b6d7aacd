//! A task's state as SubmitTaskStateChange carries it.

use estiva_api_ecs::types as api;
use estiva_planning::lifecycle::{ContainerStatus, NetworkBinding, TaskStatus};

use super::record::{KnownContainer, KnownTask};

/// The report on `known`, or `None` while there is nothing to tell: that a task waits, its control plane knows.
pub(super) fn of(task_arn: &str, cluster_arn: &str, known: &KnownTask) -> Option<api::SubmitTaskStateChangeRequest> {
    let waits = known.containers.iter().all(|it| it.status == ContainerStatus::Pending);
    if known.status < TaskStatus::Running && waits {
        return None;
    }
    Some(api::SubmitTaskStateChangeRequest {
        cluster: Some(cluster_arn.to_owned()),
        task: Some(task_arn.to_owned()),
        status: Some(known.status.as_str().to_owned()),
        reason: known.reason.clone(),
        containers: Some(known.containers.iter().map(container).collect()),
        pull_started_at: known.pull_started_at,
        pull_stopped_at: known.pull_stopped_at,
        execution_stopped_at: known.execution_stopped_at,
        ..api::SubmitTaskStateChangeRequest::default()
    })
}

fn container(known: &KnownContainer) -> api::ContainerStateChange {
    api::ContainerStateChange {
        container_name: Some(known.name.clone()),
        exit_code: known.exit_code,
        image_digest: known.image_digest.clone(),
        network_bindings: Some(known.network_bindings.iter().map(binding).collect()),
        reason: known.reason.clone(),
        runtime_id: Some(known.runtime_id.clone()),
        status: Some(known.status.as_str().to_owned()),
    }
}

fn binding(binding: &NetworkBinding) -> api::NetworkBinding {
    api::NetworkBinding {
        bind_ip: Some(binding.bind_ip.clone()),
        container_port: Some(binding.container_port.into()),
        host_port: Some(binding.host_port.into()),
        protocol: api::TransportProtocol::parse(&binding.protocol),
        ..api::NetworkBinding::default()
    }
}
