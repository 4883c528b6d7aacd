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

/// Why the definition, with these CPU units and this memory in MiB, is not fit for Fargate.
pub(super) fn check(definition: &api::TaskDefinition, cpu: Option<i64>, memory: Option<i64>) -> Result<(), String> {
    if definition.network_mode != Some(api::NetworkMode::Awsvpc) {
        return Err("Fargate only supports network mode 'awsvpc'.".to_owned());
    }
    let (Some(cpu), Some(memory)) = (cpu, memory) else {
        return Err("Fargate requires task definition to have 'cpu' and 'memory'.".to_owned());
    };
    if !is_size((cpu, memory)) {
        return Err("No Fargate configuration exists for given values.".to_owned());
    }
    check_task(definition)?;
    for (place, container) in definition.container_definitions.iter().flatten().enumerate() {
        if let Some((field, text)) = unfit(container) {
            return Err(format!("containerDefinitions[{place}].{field}: {text}"));
        }
    }
    Ok(())
}

/// Whether Fargate has the size: CPU units, and MiB of memory.
pub(crate) fn is_size((cpu, memory): (i64, i64)) -> bool {
    let regular = |(units, from, to, step): &(i64, i64, i64, i64)| {
        cpu == *units && (*from..=*to).contains(&memory) && (memory - from) % step == 0
    };
    cpu == SMALLEST.0 && SMALLEST.1.contains(&memory) || SIZES.iter().any(regular)
}

fn check_task(definition: &api::TaskDefinition) -> Result<(), String> {
    let refuse = |given: bool, text: &str| if given { Err(text.to_owned()) } else { Ok(()) };
    let constraints = definition.placement_constraints.iter().flatten().count();
    refuse(constraints > 0, "Fargate does not support placementConstraints.")?;
    refuse(definition.ipc_mode.is_some(), "Fargate does not support ipcMode.")?;
    refuse(definition.pid_mode == Some(api::PidMode::Host), "Fargate only supports pidMode 'task'.")?;
    refuse(
        definition.inference_accelerators.iter().flatten().next().is_some(),
        "Fargate does not support inferenceAccelerators.",
    )?;
    for volume in definition.volumes.iter().flatten() {
        let path = volume.host.as_ref().and_then(|host| host.source_path.as_ref());
        refuse(path.is_some(), "Fargate compatible task definitions do not support sourcePath.")?;
        refuse(volume.docker_volume_configuration.is_some(), "Fargate does not support Docker volumes.")?;
    }
    Ok(())
}

/// The first setting of a container that Fargate does not take, and why.
fn unfit(container: &api::ContainerDefinition) -> Option<(&'static str, &'static str)> {
    let linux = container.linux_parameters.as_ref();
    let stop = container.stop_timeout.is_some_and(|timeout| !(STOP_TIMEOUT_MIN..=TIMEOUT_MAX).contains(&timeout));
    let added = linux.and_then(|linux| linux.capabilities.as_ref()).and_then(|it| it.add.as_ref());
    let logging = container.log_configuration.as_ref();
    let driver = logging.map(|logging| logging.log_driver);
    let drivers = [api::LogDriver::Awslogs, api::LogDriver::Splunk, api::LogDriver::Awsfirelens];
    let prefix = logging.and_then(|logging| logging.options.as_ref()?.get("awslogs-stream-prefix"));
    let limits = container.ulimits.iter().flatten();
    let other_than_files = limits.into_iter().any(|limit| limit.name != api::UlimitName::Nofile);
    let some = |count: Option<usize>| count.is_some_and(|count| count > 0);
    let unsupported = "is not supported on Fargate";
    let findings = [
        (stop, "stopTimeout", "must be 2 to 120 seconds on Fargate"),
        (container.start_timeout.is_some_and(|it| it > TIMEOUT_MAX), "startTimeout", "at most 120 seconds on Fargate"),
        (container.privileged == Some(true), "privileged", unsupported),
        (some(container.links.as_ref().map(Vec::len)), "links", unsupported),
        (some(container.docker_security_options.as_ref().map(Vec::len)), "dockerSecurityOptions", unsupported),
        (some(container.resource_requirements.as_ref().map(Vec::len)), "resourceRequirements", unsupported),
        (other_than_files, "ulimits", "Fargate supports nofile alone"),
        (linux.is_some_and(|it| some(it.devices.as_ref().map(Vec::len))), "linuxParameters.devices", unsupported),
        (linux.is_some_and(|it| some(it.tmpfs.as_ref().map(Vec::len))), "linuxParameters.tmpfs", unsupported),
        (linux.is_some_and(|it| it.shared_memory_size.is_some()), "linuxParameters.sharedMemorySize", unsupported),
        (linux.is_some_and(|it| it.max_swap.is_some()), "linuxParameters.maxSwap", unsupported),
        (linux.is_some_and(|it| it.swappiness.is_some()), "linuxParameters.swappiness", unsupported),
        (
            added.is_some_and(|added| added.iter().any(|name| name != "SYS_PTRACE")),
            "linuxParameters.capabilities",
            "Fargate adds SYS_PTRACE alone",
        ),
        (
            driver.is_some_and(|driver| !drivers.contains(&driver)),
            "logConfiguration",
            "Fargate supports the log drivers awslogs, splunk and awsfirelens",
        ),
        (
            driver == Some(api::LogDriver::Awslogs) && prefix.is_none_or(String::is_empty),
            "logConfiguration",
            "Log driver awslogs requires options: awslogs-stream-prefix",
        ),
    ];
    findings.into_iter().find(|(found, _, _)| *found).map(|(_, field, text)| (field, text))
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
