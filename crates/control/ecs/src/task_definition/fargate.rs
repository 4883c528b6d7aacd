//! What Fargate runs: its sizes, and the settings that it does not take (Amazon ECS Developer Guide, "Task definition
//! differences for Fargate").

use estiva_api_ecs::types as api;

/// Fargate's sizes: CPU units, and MiB of memory from, to, in steps of (AWS Fargate, "task CPU and memory").
const SIZES: [(i64, i64, i64, i64); 6] = [
    (512, 1024, 4096, 1024),
    (1024, 2048, 8192, 1024),
    (2048, 4096, 16_384, 1024),
    (4096, 8192, 30_720, 1024),
    (8192, 16_384, 61_440, 4096),
    (16_384, 32_768, 122_880, 8192),
];
/// The smallest size has three memories that follow no step.
const SMALLEST: (i64, [i64; 3]) = (256, [512, 1024, 2048]);
/// Seconds that a container may take to start or to stop.
const TIMEOUT_MAX: i32 = 120;
const STOP_TIMEOUT_MIN: i32 = 2;
/// The one capability that may be added.
const CAPABILITY: &str = "SYS_PTRACE";

/// Why a definition that asks for Fargate cannot have it, whatever its containers are.
pub(super) fn check_required(
    network_mode: api::NetworkMode,
    cpu: Option<i64>,
    memory: Option<i64>,
) -> Result<(), &'static str> {
    if network_mode != api::NetworkMode::Awsvpc {
        return Err("Fargate only supports network mode ‘awsvpc’.");
    }
    if cpu.is_none() {
        return Err("Fargate requires that 'cpu' be defined at the task level.");
    }
    if memory.is_none() {
        return Err("Fargate requires that 'memory' be defined at the task level.");
    }
    Ok(())
}

/// Why the definition, with these CPU units and this memory in MiB, is not fit for Fargate.
pub(super) fn check(definition: &api::TaskDefinition, cpu: Option<i64>, memory: Option<i64>) -> Result<(), String> {
    check_required(definition.network_mode.unwrap_or(api::NetworkMode::Bridge), cpu, memory)?;
    let (cpu, memory) = (cpu.unwrap_or(0), memory.unwrap_or(0));
    if !is_size((cpu, memory)) {
        return Err(no_size((cpu, memory)));
    }
    check_task(definition)?;
    let containers = definition.container_definitions.iter().flatten();
    containers.enumerate().try_for_each(|(place, container)| check_container(place, container))
}

/// AWS's agent writes awslogs with the task's execution role on Fargate, where there is no instance that has one.
pub(super) fn check_execution_role(definition: &api::TaskDefinition) -> Result<(), &'static str> {
    let driver = |container: &api::ContainerDefinition| container.log_configuration.as_ref().map(|it| it.log_driver);
    let mut containers = definition.container_definitions.iter().flatten();
    if definition.execution_role_arn.is_none() && containers.any(|it| driver(it) == Some(api::LogDriver::Awslogs)) {
        return Err("Fargate requires task definition to have execution role ARN to support log driver awslogs.");
    }
    Ok(())
}

/// What ECS says of a size that Fargate does not have.
pub(crate) fn no_size((cpu, memory): (i64, i64)) -> String {
    format!(
        "No Fargate configuration exists for given values: {cpu} CPU, {memory} memory. See the Amazon ECS documentation for the \
        valid values."
    )
}

/// Whether Fargate has the size: CPU units, and MiB of memory.
pub(crate) fn is_size((cpu, memory): (i64, i64)) -> bool {
    let regular = |(units, from, to, step): &(i64, i64, i64, i64)| {
        cpu == *units && (*from..=*to).contains(&memory) && (memory - from) % step == 0
    };
    cpu == SMALLEST.0 && SMALLEST.1.contains(&memory) || SIZES.iter().any(regular)
}

fn check_task(definition: &api::TaskDefinition) -> Result<(), String> {
    let constraints = definition.placement_constraints.iter().flatten().count();
    unsupported(constraints > 0, "constraints")?;
    unsupported(definition.ipc_mode.is_some(), "ipcMode")?;
    if definition.pid_mode == Some(api::PidMode::Host) {
        return Err("Tasks using the Fargate launch type do not support pidMode 'host'".to_owned());
    }
    unsupported(definition.inference_accelerators.iter().flatten().next().is_some(), "inferenceAccelerators")?;
    for volume in definition.volumes.iter().flatten() {
        let path = volume.host.as_ref().and_then(|host| host.source_path.as_ref());
        unsupported(path.is_some(), "sourcePath")?;
        unsupported(volume.docker_volume_configuration.is_some(), "dockerVolumeConfiguration")?;
    }
    Ok(())
}

fn unsupported(given: bool, field: &str) -> Result<(), String> {
    if given { Err(format!("Fargate compatible task definitions do not support {field}")) } else { Ok(()) }
}

fn check_container(place: usize, container: &api::ContainerDefinition) -> Result<(), String> {
    let refuse = |given: bool, text: &str| if given { Err(text.to_owned()) } else { Ok(()) };
    refuse(
        container.stop_timeout.is_some_and(|timeout| timeout > TIMEOUT_MAX),
        "Tasks using the Fargate launch type must have a container stop timeout of less than 120 seconds.",
    )?;
    refuse(
        container.start_timeout.is_some_and(|timeout| timeout > TIMEOUT_MAX),
        "Tasks using the Fargate launch type must have a container start timeout of less than 120 seconds.",
    )?;
    refuse(container.privileged == Some(true), "Fargate requires that the 'privileged' setting be 'false'")?;
    let some = |count: Option<usize>| count.is_some_and(|count| count > 0);
    unsupported(some(container.links.as_ref().map(Vec::len)), "links")?;
    unsupported(some(container.docker_security_options.as_ref().map(Vec::len)), "dockerSecurityOptions")?;
    refuse(
        container.resource_requirements.iter().flatten().any(|it| it.r#type == api::ResourceType::Gpu),
        "Tasks using the Fargate launch type do not support GPU resource requirements",
    )?;
    unsupported(some(container.resource_requirements.as_ref().map(Vec::len)), "resourceRequirements")?;
    if container.stop_timeout.is_some_and(|timeout| timeout < STOP_TIMEOUT_MIN) {
        return Err(format!("containerDefinitions[{place}].stopTimeout: must be 2 to 120 seconds on Fargate"));
    }
    if container.ulimits.iter().flatten().any(|limit| limit.name != api::UlimitName::Nofile) {
        return Err(format!("containerDefinitions[{place}].ulimits: Fargate supports nofile alone"));
    }
    if let Some(linux) = &container.linux_parameters {
        check_linux(linux)?;
    }
    container.log_configuration.as_ref().map_or(Ok(()), check_logging)
}

fn check_linux(linux: &api::LinuxParameters) -> Result<(), String> {
    let some = |count: Option<usize>| count.is_some_and(|count| count > 0);
    unsupported(some(linux.devices.as_ref().map(Vec::len)), "devices")?;
    unsupported(some(linux.tmpfs.as_ref().map(Vec::len)), "tmpfs")?;
    unsupported(linux.shared_memory_size.is_some(), "sharedMemorySize")?;
    unsupported(linux.max_swap.is_some(), "maxSwap")?;
    unsupported(linux.swappiness.is_some(), "swappiness")?;
    let mut added = linux.capabilities.iter().flat_map(|capabilities| capabilities.add.iter().flatten());
    match added.find(|name| *name != CAPABILITY) {
        Some(name) => Err(format!("{name} is not allowed on Fargate.")),
        None => Ok(()),
    }
}

fn check_logging(logging: &api::LogConfiguration) -> Result<(), String> {
    let driver = logging.log_driver;
    if ![api::LogDriver::Awslogs, api::LogDriver::Splunk, api::LogDriver::Awsfirelens].contains(&driver) {
        return Err(format!(
            "{} is not a valid log driver. Must be one of [awslogs, splunk, awsfirelens]",
            driver.as_str()
        ));
    }
    let prefix = logging.options.as_ref().and_then(|options| options.get("awslogs-stream-prefix"));
    if driver == api::LogDriver::Awslogs && prefix.is_none_or(String::is_empty) {
        return Err(
            "Fargate requires log configuration options to include awslogs-stream-prefix to support log driver awslogs."
                .to_owned(),
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_fargates_sizes_are_fargates() {
        for (cpu, memory) in [(256, 512), (256, 2048), (512, 3072), (4096, 30_720), (8192, 20_480), (16_384, 122_880)] {
            assert!(is_size((cpu, memory)), "{cpu} {memory}");
        }
        for (cpu, memory) in [(256, 3072), (512, 512), (1024, 1024), (4096, 31_744), (8192, 17_408), (300, 512)] {
            assert!(!is_size((cpu, memory)), "{cpu} {memory}");
        }
    }
}
