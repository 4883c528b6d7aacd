//! Checks on container definitions, each by itself.

use std::collections::BTreeSet;

use estiva_api_ecs::Error;
use estiva_api_ecs::types as api;

use super::field_error::field_error;
use super::{health_check, linux_parameters, logging, network, secret};
use crate::name;

/// ECS's quota.
const CONTAINERS_MAX: usize = 10;
/// Docker's least memory, in MiB: ECS takes 4, and 6 since Docker 20.10.
const MEMORY_MIN: i32 = 4;
/// Seconds between restarts that a restart policy may ask for.
const RESTART_ATTEMPT_PERIOD: std::ops::RangeInclusive<i32> = 60..=1800;
const IGNORED_EXIT_CODES_MAX: usize = 50;
/// Seconds that a dependency's start may take at least.
const START_TIMEOUT_MIN: i32 = 2;

/// What the task definition says that container definitions depend on.
pub(super) struct Surroundings {
    pub network_mode: api::NetworkMode,
    /// The task has a limit of CPU units of its own.
    pub task_cpu: Option<i64>,
    /// The task has a memory limit of its own.
    pub task_memory: Option<i64>,
    /// Somebody may read secrets for the task.
    pub has_execution_role: bool,
}

/// Checks the container definitions of one task definition.
pub(super) fn check(containers: &[api::ContainerDefinition], around: &Surroundings) -> Result<(), Error> {
    let refuse = |text: String| Err(Error::client_exception(text));
    if containers.is_empty() {
        return refuse("Container list cannot be empty.".to_owned());
    }
    if containers.len() > CONTAINERS_MAX {
        return refuse("Too many containers.".to_owned());
    }
    let mut names = BTreeSet::new();
    for (place, container) in containers.iter().enumerate() {
        let name = container.name.as_deref().unwrap_or_default();
        if name.is_empty() {
            return refuse("Container.name should not be null or empty.".to_owned());
        }
        if !name::is_legal(name) {
            return refuse(format!(
                "Invalid 'containerDefinitions[{place}].name': 1 to 255 letters, digits, hyphens and underscores."
            ));
        }
        if !names.insert(name) {
            return refuse("Container names must be unique within a task definition".to_owned());
        }
        check_one(place, container, around)?;
    }
    if !containers.iter().any(|container| container.essential != Some(false)) {
        return refuse("Task definition doesn't have any essential container".to_owned());
    }
    check_cpu(containers, around.task_cpu)?;
    network::check_host_ports(containers, around.network_mode)
}

fn check_one(place: usize, container: &api::ContainerDefinition, around: &Surroundings) -> Result<(), Error> {
    if container.image.as_deref().unwrap_or_default().is_empty() {
        return Err(Error::client_exception("Container.image should not be null or empty."));
    }
    let name = container.name.as_deref().unwrap_or_default();
    check_sizes(name, container, around.task_memory).map_err(Error::client_exception)?;
    check_timeouts(place, container)?;
    if let Some(directory) = container.working_directory.as_deref()
        && !directory.is_empty()
        && !directory.starts_with('/')
    {
        return Err(field_error(place, "workingDirectory", "must be an absolute path"));
    }
    if !is_legal_environment(container.environment.as_deref().unwrap_or_default()) {
        let text = "a name must not be empty nor hold '=', and nothing a NUL character";
        return Err(field_error(place, "environment", text));
    }
    if let Some(policy) = &container.restart_policy {
        check_restart_policy(place, name, policy)?;
    }
    for requirement in container.resource_requirements.iter().flatten() {
        let value = requirement.value.as_deref().unwrap_or_default();
        let is_number = value.parse::<u32>().is_ok_and(|count| count > 0);
        if value.is_empty() || requirement.r#type == api::ResourceType::Gpu && !is_number {
            return Err(field_error(
                place,
                "resourceRequirements",
                "value must be a number of GPUs, or an accelerator",
            ));
        }
    }
    network::check(place, container, around.network_mode)?;
    linux_parameters::check(place, container)?;
    health_check::check(place, container)?;
    secret::check(place, container, around.has_execution_role)?;
    container.log_configuration.as_ref().map_or(Ok(()), |configuration| logging::check(place, configuration))
}

/// Whether a program can be given these variables.
pub(crate) fn is_legal_environment(entries: &[api::KeyValuePair]) -> bool {
    entries.iter().all(|entry| {
        let name = entry.name.as_deref().unwrap_or_default();
        let value = entry.value.as_deref().unwrap_or_default();
        !name.is_empty() && !name.contains(['=', '\0']) && !value.contains('\0')
    })
}

/// A task that has a limit of CPU units of its own shares them out to its containers.
fn check_cpu(containers: &[api::ContainerDefinition], task_cpu: Option<i64>) -> Result<(), Error> {
    let sum: i64 = containers.iter().filter_map(|container| container.cpu).map(i64::from).sum();
    if task_cpu.is_some_and(|most| sum > most) {
        return Err(Error::client_exception(
            "The sum of all container 'cpu' values cannot be greater than the value of the task 'cpu'.",
        ));
    }
    Ok(())
}

/// Checks what the container `name` asks for against the memory of its task, if that has a limit of its own.
pub(crate) fn check_sizes(
    name: &str,
    container: &api::ContainerDefinition,
    task_memory: Option<i64>,
) -> Result<(), String> {
    let invalid = |text: String| Err(format!("Invalid setting for container '{name}'. {text}"));
    for (field, value, least) in [
        ("cpu", container.cpu, 0),
        ("memory", container.memory, MEMORY_MIN),
        ("memoryReservation", container.memory_reservation, MEMORY_MIN),
    ] {
        if value.is_some_and(|value| value < least) {
            return invalid(format!("{field} must be at least {least}."));
        }
    }
    match (container.memory, container.memory_reservation, task_memory) {
        (None, None, None) => invalid("At least one of 'memory' or 'memoryReservation' must be specified.".to_owned()),
        (Some(memory), Some(reservation), _) if reservation > memory => {
            invalid("'memory' must be greater than or equal to 'memoryReservation'.".to_owned())
        }
        (Some(memory), _, Some(task)) if i64::from(memory) > task => {
            Err(format!("The 'memory' setting for container '{name}' is greater than for the task."))
        }
        (_, Some(reservation), Some(task)) if i64::from(reservation) > task => {
            Err(format!("The 'memoryReservation' setting for container '{name}' is greater than for the task."))
        }
        _ => Ok(()),
    }
}

fn check_timeouts(place: usize, container: &api::ContainerDefinition) -> Result<(), Error> {
    if container.stop_timeout.is_some_and(|timeout| timeout < 0) {
        return Err(field_error(place, "stopTimeout", "must not be negative"));
    }
    if container.start_timeout.is_some_and(|timeout| timeout < START_TIMEOUT_MIN) {
        let name = container.name.as_deref().unwrap_or_default();
        let text =
            format!("Granular start timeout on container '{name}' must be at least {START_TIMEOUT_MIN} seconds.");
        return Err(Error::client_exception(text));
    }
    Ok(())
}

fn check_restart_policy(place: usize, name: &str, policy: &api::ContainerRestartPolicy) -> Result<(), Error> {
    if policy.restart_attempt_period.is_some_and(|period| !RESTART_ATTEMPT_PERIOD.contains(&period)) {
        let (from, to) = (RESTART_ATTEMPT_PERIOD.start(), RESTART_ATTEMPT_PERIOD.end());
        return Err(Error::client_exception(format!(
            "the 'restartAttemptPeriod' setting for container '{name}' must be between {from} and {to}"
        )));
    }
    if policy.ignored_exit_codes.as_ref().is_some_and(|codes| codes.len() > IGNORED_EXIT_CODES_MAX) {
        let text = format!("at most {IGNORED_EXIT_CODES_MAX} ignoredExitCodes are allowed");
        return Err(field_error(place, "restartPolicy", text));
    }
    Ok(())
}
