//! The providers that every account has, and how providers are referred to.

use estiva_api_ecs::types as api;

use crate::scope::Scope;

/// In the order of their names.
pub(super) const RESERVED: [&str; 2] = ["FARGATE", "FARGATE_SPOT"];

/// Whether the provider is one of Fargate's.
pub fn is_fargate(name: &str) -> bool {
    RESERVED.contains(&name)
}

/// The name that a name or an ARN means.
pub fn name_of<'a>(scope: &Scope, reference: &'a str) -> Option<&'a str> {
    scope.name_in("capacity-provider", reference)
}

pub(super) fn shown(scope: &Scope, name: &str) -> api::CapacityProvider {
    let kind =
        if name == "FARGATE" { api::CapacityProviderType::Fargate } else { api::CapacityProviderType::FargateSpot };
    api::CapacityProvider {
        capacity_provider_arn: Some(arn(scope, name)),
        name: Some(name.to_owned()),
        status: Some(api::CapacityProviderStatus::Active),
        tags: Some(Vec::new()),
        r#type: Some(kind),
        ..api::CapacityProvider::default()
    }
}

pub(super) fn arn(scope: &Scope, name: &str) -> String {
    scope.arn(format!("capacity-provider/{name}"))
}
