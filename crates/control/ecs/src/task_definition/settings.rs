//! Checks on what a task definition says of the task as a whole.

use std::ops::RangeInclusive;

use estiva_api_ecs::Error;
use estiva_api_ecs::types as api;

use crate::container_instance::parse_expression;
use crate::task::CONSTRAINTS_MAX;

/// GiB (API reference, EphemeralStorage).
const EPHEMERAL_STORAGE: RangeInclusive<i32> = 21..=200;

/// Checks everything but containers and volumes.
pub(super) fn check(request: &api::RegisterTaskDefinitionRequest) -> Result<(), Error> {
    let refuse = |text: String| Err(Error::client_exception(text));
    let constraints = request.placement_constraints.as_deref().unwrap_or_default();
    if constraints.len() > CONSTRAINTS_MAX {
        return refuse(format!("placementConstraints: at most {CONSTRAINTS_MAX} are allowed."));
    }
    for (place, constraint) in constraints.iter().enumerate() {
        if constraint.r#type.is_none() {
            return refuse(format!("placementConstraints[{place}].type must be memberOf."));
        }
        let parsed = parse_expression(constraint.expression.as_deref().unwrap_or_default());
        parsed
            .map_err(|error| Error::client_exception(format!("placementConstraints[{place}]: {}", error.message())))?;
    }
    if request.inference_accelerators.iter().flatten().next().is_some() {
        return refuse("Unsupported field 'inferenceAccelerators'".to_owned());
    }
    match request.ephemeral_storage.as_ref().map(|storage| storage.size_in_gi_b) {
        Some(size) if size < *EPHEMERAL_STORAGE.start() => {
            return refuse(format!("EphemeralStorage size should be at least {}", EPHEMERAL_STORAGE.start()));
        }
        Some(size) if size > *EPHEMERAL_STORAGE.end() => {
            return refuse(format!("EphemeralStorage size should be at most {}", EPHEMERAL_STORAGE.end()));
        }
        _ => {}
    }
    if let Some(proxy) = &request.proxy_configuration {
        let is_proxy = |container: &api::ContainerDefinition| container.name.as_deref() == Some(&proxy.container_name);
        if !request.container_definitions.iter().any(is_proxy) {
            return refuse(format!("Proxy container [{}] does not exist", proxy.container_name));
        }
        if request.network_mode != Some(api::NetworkMode::Awsvpc) {
            return refuse("APPMESH proxy configuration is only supported in networkMode=awsvpc".to_owned());
        }
    }
    check_firelens(&request.container_definitions)
}

/// One container routes the logs of those that want it.
fn check_firelens(containers: &[api::ContainerDefinition]) -> Result<(), Error> {
    let routers = containers.iter().filter(|container| container.firelens_configuration.is_some()).count();
    let routed = |container: &api::ContainerDefinition| {
        container.log_configuration.as_ref().is_some_and(|logs| logs.log_driver == api::LogDriver::Awsfirelens)
    };
    match routers {
        0 if containers.iter().any(routed) => Err(Error::client_exception(
            "When awsfirelens log driver is specified in log configuration, a firelens configuration object must be specified",
        )),
        0 | 1 => Ok(()),
        _ => Err(Error::client_exception("Only one container can have a 'firelensConfiguration'.")),
    }
}
