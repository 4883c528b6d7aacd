//! Checks on container definitions.

use std::collections::BTreeSet;

use estiva_api_ecs::Error;
use estiva_api_ecs::types as api;

use super::logging;
use crate::name;

/// ECS's quota.
const CONTAINERS_MAX: usize = 10;
/// Docker's least memory, in MiB: ECS takes 4, and 6 since Docker 20.10.
const MEMORY_MIN: i32 = 4;
/// Seconds that Fargate waits at most before it kills.
const FARGATE_STOP_TIMEOUT: std::ops::RangeInclusive<i32> = 2..=120;

/// What the task definition says that container definitions depend on.
pub(super) struct Surroundings {
    pub network_mode: api::NetworkMode,
    pub fargate: bool,
    /// The task has a memory limit of its own.
    pub task_memory: Option<i64>,
}

/// Checks the container definitions of one task definition.
pub(super) fn check(containers: &[api::ContainerDefinition], around: &Surroundings) -> Result<(), Error> {
    if containers.is_empty() {
        return Err(refuse("Container list cannot be empty."));
    }
    if containers.len() > CONTAINERS_MAX {
        return Err(refuse(format!("A task definition can have at most {CONTAINERS_MAX} containers.")));
    }
    let mut names = BTreeSet::new();
    for (place, container) in containers.iter().enumerate() {
        let name = container.name.as_deref().unwrap_or_default();
        if !name::is_legal(name) {
            return Err(refuse(format!(
                "Invalid 'containerDefinitions[{place}].name': 1 to 255 letters, digits, hyphens and underscores."
            )));
        }
        if !names.insert(name) {
            return Err(refuse(format!("containerDefinitions[{place}].name: the name {name} is given twice")));
        }
        check_one(place, container, around)?;
    }
    if !containers.iter().any(|container| container.essential != Some(false)) {
        return Err(refuse("A task definition must have at least one essential container."));
    }
    check_host_ports(containers, around)
}

fn check_one(place: usize, container: &api::ContainerDefinition, around: &Surroundings) -> Result<(), Error> {
    let field = |name: &str, text: &str| refuse(format!("containerDefinitions[{place}].{name}: {text}"));
    if container.image.as_deref().unwrap_or_default().is_empty() {
        return Err(field("image", "Container.image should not be null or empty."));
    }
    check_sizes(container, around).map_err(|text| {
        refuse(format!("Invalid setting for container '{}'. {text}", container.name.as_deref().unwrap_or_default()))
    })?;
    if let Some(timeout) = container.stop_timeout
        && (timeout < 0 || around.fargate && !FARGATE_STOP_TIMEOUT.contains(&timeout))
    {
        return Err(field("stopTimeout", "must be 2 to 120 seconds on Fargate, and not negative elsewhere"));
    }
    if let Some(directory) = container.working_directory.as_deref()
        && !directory.is_empty()
        && !directory.starts_with('/')
    {
        return Err(field("workingDirectory", "must be an absolute path"));
    }
    if around.fargate && container.privileged == Some(true) {
        return Err(field("privileged", "is not supported on Fargate"));
    }
    for entry in container.environment.iter().flatten() {
        let name = entry.name.as_deref().unwrap_or_default();
        if name.is_empty() || name.contains(['=', '\0']) || entry.value.as_deref().unwrap_or_default().contains('\0') {
            return Err(field("environment", "a name must not be empty nor hold '=', and nothing a NUL character"));
        }
    }
    for mapping in container.port_mappings.iter().flatten() {
        check_port(mapping, around).map_err(|text| field("portMappings", &text))?;
    }
    for tmpfs in container.linux_parameters.iter().flat_map(|linux| linux.tmpfs.iter().flatten()) {
        if !tmpfs.container_path.starts_with('/') || tmpfs.size <= 0 {
            return Err(field("linuxParameters.tmpfs", "containerPath must be absolute, and size above 0"));
        }
    }
    container
        .log_configuration
        .as_ref()
        .map_or(Ok(()), |configuration| logging::check(place, configuration, around.fargate))
}

fn check_sizes(container: &api::ContainerDefinition, around: &Surroundings) -> Result<(), String> {
    for (name, value, least) in [
        ("cpu", container.cpu, 0),
        ("memory", container.memory, MEMORY_MIN),
        ("memoryReservation", container.memory_reservation, MEMORY_MIN),
    ] {
        if value.is_some_and(|value| value < least) {
            return Err(format!("{name} must be at least {least}."));
        }
    }
    match (container.memory, container.memory_reservation, around.task_memory) {
        (None, None, None) => Err("At least one of 'memory' or 'memoryReservation' must be specified.".to_owned()),
        (Some(memory), Some(reservation), _) if reservation > memory => {
            Err("The 'memoryReservation' must be less than or equal to 'memory'.".to_owned())
        }
        (Some(memory), _, Some(task)) if i64::from(memory) > task => {
            Err("The 'memory' must not be more than the task's.".to_owned())
        }
        _ => Ok(()),
    }
}

fn check_port(mapping: &api::PortMapping, around: &Surroundings) -> Result<(), String> {
    let port = |port: Option<i32>, least: i32| port.is_none_or(|port| (least..=65_535).contains(&port));
    if mapping.container_port.is_none() || !port(mapping.container_port, 1) {
        return Err("containerPort must be from 1 to 65535".to_owned());
    }
    if !port(mapping.host_port, 0) {
        return Err("hostPort must be from 0 to 65535".to_owned());
    }
    let same = mapping.host_port.is_none_or(|host| host == 0 || Some(host) == mapping.container_port);
    match around.network_mode {
        api::NetworkMode::None => Err("are not allowed in networkMode none".to_owned()),
        api::NetworkMode::Awsvpc | api::NetworkMode::Host if !same => Err(format!(
            "When networkMode={}, the host ports and container ports in port mappings must match.",
            around.network_mode.as_str()
        )),
        _ => Ok(()),
    }
}

/// In one task a host port, and in a shared namespace a container port, can be there only once.
fn check_host_ports(containers: &[api::ContainerDefinition], around: &Surroundings) -> Result<(), Error> {
    let mut taken = BTreeSet::new();
    for (place, container) in containers.iter().enumerate() {
        for mapping in container.port_mappings.iter().flatten() {
            let shared = around.network_mode != api::NetworkMode::Bridge;
            let port = if shared { mapping.container_port } else { mapping.host_port.filter(|port| *port != 0) };
            let udp = mapping.protocol == Some(api::TransportProtocol::Udp);
            if let Some(port) = port
                && !taken.insert((port, udp))
            {
                return Err(refuse(format!(
                    "containerDefinitions[{place}].portMappings: host port {port} is mapped twice"
                )));
            }
        }
    }
    Ok(())
}

fn refuse(text: impl Into<String>) -> Error {
    Error::client_exception(text)
}
