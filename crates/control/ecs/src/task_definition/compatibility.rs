//! Which launch types a task definition is fit for.

use estiva_api_ecs::Error;
use estiva_api_ecs::types as api;

use super::fargate;

/// The launch types that the definition is fit for; an error if it requires one that it is not fit for.
pub(super) fn of(
    definition: &api::TaskDefinition,
    cpu: Option<i64>,
    memory: Option<i64>,
) -> Result<Vec<api::Compatibility>, Error> {
    let required = definition.requires_compatibilities.as_deref().unwrap_or_default();
    let fargate = fargate::check(definition, cpu, memory);
    let is_fargate = fargate.is_ok();
    if required.contains(&api::Compatibility::Fargate) {
        fargate.map_err(Error::client_exception)?;
        fargate::check_execution_role(definition).map_err(Error::client_exception)?;
    }
    let external = check_external(definition);
    let is_external = external.is_ok();
    if required.contains(&api::Compatibility::External) {
        external.map_err(Error::client_exception)?;
    }
    if !is_fargate && definition.ephemeral_storage.is_some() {
        return Err(Error::client_exception("Tasks using the EC2 launch type do not support EphemeralStorage"));
    }
    let all = [
        (is_external, api::Compatibility::External),
        (true, api::Compatibility::Ec2),
        (is_fargate, api::Compatibility::Fargate),
    ];
    Ok(all.into_iter().filter(|(fits, _)| *fits).map(|(_, compatibility)| compatibility).collect())
}

fn check_external(definition: &api::TaskDefinition) -> Result<(), &'static str> {
    if definition.network_mode == Some(api::NetworkMode::Awsvpc) {
        return Err("Network mode awsvpc is not supported for EXTERNAL tasks.");
    }
    if definition.volumes.iter().flatten().any(|volume| volume.efs_volume_configuration.is_some()) {
        return Err("EFS volumes are not supported for EXTERNAL tasks.");
    }
    Ok(())
}
