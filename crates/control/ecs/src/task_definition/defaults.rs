//! What ECS fills in where a registration says nothing: shown by DescribeTaskDefinition, and what nodes go by.

use estiva_api_ecs::types as api;

/// Seconds between two health checks, seconds that one may take, and failures that make a container unhealthy (API reference,
/// HealthCheck).
const HEALTH_CHECK: (i32, i32, i32) = (30, 5, 3);

/// The definition with its defaults.
pub(super) fn filled_in(
    request: api::RegisterTaskDefinitionRequest,
    network_mode: api::NetworkMode,
) -> api::TaskDefinition {
    let containers = request.container_definitions.into_iter().map(|it| container(it, network_mode)).collect();
    api::TaskDefinition {
        container_definitions: Some(containers),
        cpu: request.cpu,
        enable_fault_injection: request.enable_fault_injection,
        ephemeral_storage: request.ephemeral_storage,
        // An empty role is no role.
        execution_role_arn: request.execution_role_arn.filter(|role| !role.is_empty()),
        family: Some(request.family),
        ipc_mode: request.ipc_mode,
        memory: request.memory,
        // ECS shows no network mode for a registration that names none.
        network_mode: request.network_mode,
        pid_mode: request.pid_mode,
        placement_constraints: Some(request.placement_constraints.unwrap_or_default()),
        proxy_configuration: request.proxy_configuration,
        requires_compatibilities: request.requires_compatibilities.filter(|list| !list.is_empty()),
        runtime_platform: request.runtime_platform,
        task_role_arn: request.task_role_arn.filter(|role| !role.is_empty()),
        trusted_execution_configuration: request.trusted_execution_configuration,
        volumes: Some(request.volumes.unwrap_or_default()),
        ..api::TaskDefinition::default()
    }
}

fn container(mut container: api::ContainerDefinition, network_mode: api::NetworkMode) -> api::ContainerDefinition {
    container.cpu.get_or_insert(0);
    container.essential.get_or_insert(true);
    container.environment.get_or_insert_default();
    container.mount_points.get_or_insert_default();
    container.volumes_from.get_or_insert_default();
    container.system_controls.get_or_insert_default();
    if let Some(check) = &mut container.health_check {
        let (interval, timeout, retries) = HEALTH_CHECK;
        check.interval.get_or_insert(interval);
        check.timeout.get_or_insert(timeout);
        check.retries.get_or_insert(retries);
    }
    for mapping in container.port_mappings.get_or_insert_default() {
        mapping.protocol.get_or_insert(api::TransportProtocol::Tcp);
        let same = network_mode == api::NetworkMode::Awsvpc || network_mode == api::NetworkMode::Host;
        let default = if same { mapping.container_port } else { Some(0) };
        mapping.host_port = mapping.host_port.filter(|port| !same || *port != 0).or(default);
    }
    container
}
