//! What containers need of each other: dependsOn, volumesFrom, links.

use std::collections::BTreeMap;

use estiva_api_ecs::Error;
use estiva_api_ecs::types as api;

use super::field_error::field_error;

/// Checks that what is needed is there, and that nothing waits for itself.
pub(super) fn check(containers: &[api::ContainerDefinition]) -> Result<(), Error> {
    let by_name: BTreeMap<&str, &api::ContainerDefinition> =
        containers.iter().map(|container| (container.name.as_deref().unwrap_or_default(), container)).collect();
    for (place, container) in containers.iter().enumerate() {
        let own = container.name.as_deref().unwrap_or_default();
        for dependency in container.depends_on.iter().flatten() {
            let other = by_name.get(dependency.container_name.as_str()).filter(|_| dependency.container_name != own);
            let missing =
                || format!("Cannot depend on container + '{}' because it does not exist", dependency.container_name);
            let other = other.ok_or_else(|| Error::client_exception(missing()))?;
            check_condition(dependency, other).map_err(Error::client_exception)?;
        }
        for volumes in container.volumes_from.iter().flatten() {
            let name = volumes.source_container.as_deref().unwrap_or_default();
            if name == own || !by_name.contains_key(name) {
                let text = format!("Invalid 'volumesFrom' setting. Unknown container: '{name}'");
                return Err(Error::client_exception(text));
            }
        }
        for link in container.links.iter().flatten() {
            let name = link.split(':').next().unwrap_or_default();
            if name == own || !by_name.contains_key(name) {
                return Err(field_error(place, "links", format!("there is no other container {name}")));
            }
        }
    }
    match first_cycle(&by_name) {
        Some(name) => Err(Error::client_exception(format!(
            "There is a circular dependency among the containers: {name} waits for itself."
        ))),
        None => Ok(()),
    }
}

fn check_condition(
    dependency: &api::ContainerDependency,
    other: &api::ContainerDefinition,
) -> Result<(), &'static str> {
    match dependency.condition {
        api::ContainerCondition::Healthy if other.health_check.is_none() => {
            Err("A dependency container with HEALTHY condition must have health check configured")
        }
        api::ContainerCondition::Complete | api::ContainerCondition::Success if other.essential != Some(false) => {
            Err("A dependency container with SUCCESS or COMPLETE condition cannot be an essential container")
        }
        _ => Ok(()),
    }
}

/// The name of a container that waits for itself, by whatever it needs. Containers that wait for nothing are taken away
/// until there are none (Kahn's algorithm): those that stay wait for each other.
fn first_cycle<'a>(by_name: &BTreeMap<&'a str, &'a api::ContainerDefinition>) -> Option<&'a str> {
    let mut left = by_name.clone();
    loop {
        let free = left.iter().find(|(_, container)| needs(container).all(|name| !left.contains_key(name)));
        let Some(name) = free.map(|(name, _)| *name) else { return left.keys().next().copied() };
        left.remove(name);
    }
}

fn needs(container: &api::ContainerDefinition) -> impl Iterator<Item = &str> {
    let depends = container.depends_on.iter().flatten().map(|it| it.container_name.as_str());
    let volumes = container.volumes_from.iter().flatten().filter_map(|it| it.source_container.as_deref());
    let links = container.links.iter().flatten().filter_map(|it| it.split(':').next());
    depends.chain(volumes).chain(links)
}
