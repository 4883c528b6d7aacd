//! Overrides: what RunTask and StartTask say of tasks in place of their definition.

use std::collections::BTreeSet;

use estiva_api_ecs::Error;
use estiva_api_ecs::types as api;

use crate::error::invalid;
use crate::task_definition::size::{cpu_units, mebibytes};
use crate::task_definition::{check_container_sizes, is_fargate_size, is_legal_environment, no_fargate_size};

/// Characters of the overrides as JSON.
const CHARS_MAX: usize = 8192;

/// The overrides, checked against the task definition. Their sizes are plain numbers then, as those of a definition are kept.
pub(super) fn checked(
    definition: &api::TaskDefinition,
    overrides: api::TaskOverride,
    launch_type: api::LaunchType,
) -> Result<api::TaskOverride, Error> {
    let cpu = size("cpu", overrides.cpu.as_deref(), cpu_units)?;
    let memory = size("memory", overrides.memory.as_deref(), mebibytes)?;
    let role = |role: Option<String>| role.filter(|role| !role.is_empty());
    let overrides = api::TaskOverride {
        cpu,
        memory,
        execution_role_arn: role(overrides.execution_role_arn),
        task_role_arn: role(overrides.task_role_arn),
        ..overrides
    };
    check(definition, &overrides, launch_type)?;
    Ok(overrides)
}

fn size(field: &str, text: Option<&str>, read: fn(&str) -> Option<i64>) -> Result<Option<String>, Error> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    let number =
        read(text).ok_or_else(|| invalid(format!("overrides.{field}: Invalid '{field}' setting for task.")))?;
    Ok(Some(number.to_string()))
}

fn check(
    definition: &api::TaskDefinition,
    overrides: &api::TaskOverride,
    launch_type: api::LaunchType,
) -> Result<(), Error> {
    let json = estiva_schema::json::to_vec(overrides);
    if String::from_utf8_lossy(&json).chars().count() > CHARS_MAX {
        return Err(invalid(format!("Container Overrides length must be at most {CHARS_MAX}")));
    }
    for (field, given) in [
        ("ephemeralStorage", overrides.ephemeral_storage.is_some()),
        ("inferenceAcceleratorOverrides", overrides.inference_accelerator_overrides.iter().flatten().next().is_some()),
    ] {
        if given {
            return Err(invalid(format!("overrides.{field}: Estiva does not support it yet")));
        }
    }
    let (cpu, memory) = task_sizes(definition, overrides);
    let is_sized = overrides.cpu.is_some() || overrides.memory.is_some();
    if launch_type == api::LaunchType::Fargate && is_sized && !cpu.zip(memory).is_some_and(is_fargate_size) {
        return Err(invalid(no_fargate_size((cpu.unwrap_or(0), memory.unwrap_or(0)))));
    }
    check_containers(definition, overrides)?;
    for defined in definition.container_definitions.iter().flatten() {
        let mut own = overrides.container_overrides.iter().flatten();
        check_sizes(defined, own.find(|it| it.name == defined.name), memory, overrides.memory.is_some())?;
    }
    Ok(())
}

/// Checks the containers that are overridden, each by itself.
fn check_containers(definition: &api::TaskDefinition, overrides: &api::TaskOverride) -> Result<(), Error> {
    let is_known =
        |name: &str| definition.container_definitions.iter().flatten().any(|it| it.name.as_deref() == Some(name));
    let mut names = BTreeSet::new();
    for container in overrides.container_overrides.iter().flatten() {
        let name = container.name.as_deref().unwrap_or_default();
        if !is_known(name) {
            let message = format!("Override for container named {name} is not a container in the TaskDefinition.");
            return Err(invalid(message));
        }
        if !names.insert(name) {
            return Err(invalid(format!("overrides.containerOverrides: the container {name} is given twice")));
        }
        check_container(container)?;
    }
    Ok(())
}

/// The task's own CPU units and MiB of memory: overridden, or else as the definition has them.
pub(super) fn task_sizes(
    definition: &api::TaskDefinition,
    overrides: &api::TaskOverride,
) -> (Option<i64>, Option<i64>) {
    let number = |overridden: &Option<String>, defined: &Option<String>| {
        overridden.as_ref().or(defined.as_ref()).and_then(|text| text.parse::<i64>().ok())
    };
    (number(&overrides.cpu, &definition.cpu), number(&overrides.memory, &definition.memory))
}

fn check_container(overrides: &api::ContainerOverride) -> Result<(), Error> {
    let unsupported = [
        ("environmentFiles", overrides.environment_files.iter().flatten().next().is_some()),
        ("resourceRequirements", overrides.resource_requirements.iter().flatten().next().is_some()),
    ];
    if let Some((field, _)) = unsupported.iter().find(|(_, given)| *given) {
        return Err(invalid(format!("overrides.containerOverrides.{field}: Estiva does not support it yet")));
    }
    if !is_legal_environment(overrides.environment.as_deref().unwrap_or_default()) {
        let text = "a name must not be empty nor hold '=', and nothing a NUL character";
        return Err(invalid(format!("overrides.containerOverrides.environment: {text}")));
    }
    Ok(())
}

/// What is refused of a definition is refused here, where anything was overridden: a limit of 0 would be none at all.
fn check_sizes(
    defined: &api::ContainerDefinition,
    own: Option<&api::ContainerOverride>,
    task_memory: Option<i64>,
    is_task_overridden: bool,
) -> Result<(), Error> {
    let (own_cpu, own_memory, own_reservation) =
        own.map_or((None, None, None), |own| (own.cpu, own.memory, own.memory_reservation));
    let is_overridden = own_cpu.is_some() || own_memory.is_some() || own_reservation.is_some();
    if !is_overridden && !is_task_overridden {
        return Ok(());
    }
    let sizes = api::ContainerDefinition {
        cpu: own_cpu.or(defined.cpu),
        memory: own_memory.or(defined.memory),
        memory_reservation: own_reservation.or(defined.memory_reservation),
        ..api::ContainerDefinition::default()
    };
    let name = defined.name.as_deref().unwrap_or_default();
    check_container_sizes(name, &sizes, task_memory).map_err(|text| invalid(format!("overrides: {text}")))
}
