//! The network configuration of services and task sets.

use estiva_api_ecs::types as api;

/// The configuration with what ECS adds: no security groups, and no public address.
pub(super) fn filled_in(configuration: Option<&api::NetworkConfiguration>) -> Option<api::NetworkConfiguration> {
    let mut configuration = configuration.cloned()?;
    if let Some(awsvpc) = &mut configuration.awsvpc_configuration {
        awsvpc.security_groups.get_or_insert_default();
        awsvpc.assign_public_ip.get_or_insert(api::AssignPublicIp::Disabled);
    }
    Some(configuration)
}
