//! What a task definition may say and Estiva's nodes do not honour yet: tasks of it are refused by name, for a setting that
//! is passed over in silence is worse than none.

use estiva_api_ecs::Error;
use estiva_api_ecs::types as api;

use super::network;
use crate::error::invalid;

/// Refuses tasks of a definition that asks for what does not exist here.
pub(crate) fn check(definition: &api::TaskDefinition) -> Result<(), Error> {
    let any = |given: bool, field: &str| if given { Err(refusal(field)) } else { Ok(()) };
    for (place, volume) in definition.volumes.iter().flatten().enumerate() {
        let kinds = [
            (volume.efs_volume_configuration.is_some(), "efsVolumeConfiguration"),
            (volume.fsx_windows_file_server_volume_configuration.is_some(), "fsxWindowsFileServerVolumeConfiguration"),
            (volume.s3files_volume_configuration.is_some(), "s3filesVolumeConfiguration"),
            (volume.configured_at_launch == Some(true), "configuredAtLaunch"),
        ];
        if let Some((_, field)) = kinds.iter().find(|(given, _)| *given) {
            return Err(refusal(&format!("volumes[{place}].{field}")));
        }
    }
    any(has(definition.inference_accelerators.as_ref()), "inferenceAccelerators")?;
    any(definition.proxy_configuration.is_some(), "proxyConfiguration")?;
    any(definition.enable_fault_injection == Some(true), "enableFaultInjection")?;
    any(definition.trusted_execution_configuration.is_some(), "trustedExecutionConfiguration")?;
    let platform = definition.runtime_platform.as_ref();
    let family = platform.and_then(|platform| platform.operating_system_family).map(api::OSFamily::as_str);
    any(family.is_some_and(|family| family != "LINUX"), "runtimePlatform.operatingSystemFamily other than LINUX")?;
    let containers = definition.container_definitions.as_deref().unwrap_or_default();
    let is_bridge = definition.network_mode.is_none_or(|mode| mode == api::NetworkMode::Bridge);
    if let Some((one, other, port)) = network::shared_bridge_port(containers).filter(|_| is_bridge) {
        return Err(refusal(&format!(
            "portMappings: containers {one} and {other} publish port {port} of one network (network mode bridge)"
        )));
    }
    definition
        .container_definitions
        .iter()
        .flatten()
        .enumerate()
        .try_for_each(|(place, container)| check_container(place, container))
}

fn check_container(place: usize, container: &api::ContainerDefinition) -> Result<(), Error> {
    let logging = container.log_configuration.as_ref();
    let unsupported = [
        (has(container.secrets.as_ref()), "secrets"),
        (has(container.environment_files.as_ref()), "environmentFiles"),
        (has(container.resource_requirements.as_ref()), "resourceRequirements"),
        (has(container.credential_specs.as_ref()), "credentialSpecs"),
        (
            container.port_mappings.iter().flatten().any(|it| it.container_port_range.is_some()),
            "portMappings.containerPortRange",
        ),
        (logging.is_some_and(|it| has(it.secret_options.as_ref())), "logConfiguration.secretOptions"),
    ];
    match unsupported.iter().find(|(given, _)| *given) {
        Some((_, field)) => Err(refusal(&format!("containerDefinitions[{place}].{field}"))),
        None => Ok(()),
    }
}

fn has<T>(list: Option<&Vec<T>>) -> bool {
    list.is_some_and(|list| !list.is_empty())
}

fn refusal(field: &str) -> Error {
    invalid(format!("{field}: Estiva does not support it yet"))
}
