//! Services once no more faults happen: each has as many healthy tasks of its PRIMARY deployment as are wanted and no others, or
//! an event says why not; its deployments have ended; and of those that were deleted nothing is left.

use std::sync::Arc;

use estiva_ecs::container_instance::table::{ContainerInstanceRow, ContainerInstanceStatus as Status};
use estiva_ecs::service::rollout_table::{Rollout, RolloutRow};
use estiva_ecs::service::table::{ServiceRow, ServiceStatus};
use estiva_ecs::task_definition::table::TaskDefinitionRow;
use estiva_planning::deployment::Bounds;
use estiva_planning::lifecycle::DesiredStatus;
use estiva_planning::placement::Resources;

use crate::agent::short;
use crate::audit::Audit;

/// What is not as it is wanted of services.
pub(super) fn wrong(audit: &Audit) -> Vec<String> {
    let mut wrong = Vec::new();
    for (key, service) in &audit.services.services {
        wrong.extend(wrong_with(audit, key, service).map(|what| format!("service {}: {what}", service.name)));
    }
    wrong
}

fn wrong_with(audit: &Audit, key: &str, service: &ServiceRow) -> Option<String> {
    match service.status {
        ServiceStatus::Inactive => {
            let task = audit.services.members(key).next()?;
            Some(format!("it is INACTIVE, and has {}", short(task)))
        }
        ServiceStatus::Draining => Some("it is DRAINING".to_owned()),
        ServiceStatus::Active => {
            let rollout = audit.services.rollouts.get(key)?;
            let why = wrong_tasks(audit, key, service, rollout).or_else(|| wrong_deployment(rollout))?;
            let excuse = is_excused(audit, service, rollout);
            (!excuse).then(|| format!("{why}; told: {:?}", rollout.told))
        }
    }
}

fn wrong_tasks(audit: &Audit, key: &str, service: &ServiceRow, rollout: &RolloutRow) -> Option<String> {
    let primary = rollout.primary().map(|deployment| deployment.id.as_str());
    let mut healthy = 0;
    for task in audit.services.members(key) {
        let row = audit.tasks.get(task)?;
        if row.desired_status == DesiredStatus::Stopped || row.deployment.as_deref() != primary {
            return Some(format!("it has {}, {} of {:?}", short(task), row.desired_status.as_str(), row.deployment));
        }
        if audit.instances.get(&row.container_instance_key()).is_none_or(|it| it.status != Status::Active) {
            return Some(format!("{} is on a container instance that takes leave", short(task)));
        }
        if !audit.is_healthy(task) {
            return Some(format!("{} is not healthy", short(task)));
        }
        healthy += 1;
    }
    let wanted = if service.is_daemon { daemons(audit) } else { usize::try_from(service.desired_count).unwrap_or(0) };
    (healthy != wanted).then(|| format!("it has {healthy} healthy tasks, not {wanted}"))
}

/// How many container instances are to have a task of a DAEMON: those that are ACTIVE and connected.
fn daemons(audit: &Audit) -> usize {
    let takes = |(key, row): &(&String, &Arc<ContainerInstanceRow>)| is_open(audit, key, row);
    audit.instances.iter().filter(takes).count()
}

fn is_open(audit: &Audit, key: &str, row: &ContainerInstanceRow) -> bool {
    row.status == Status::Active && audit.services.connections.get(key).is_some_and(|row| row.connected)
}

fn wrong_deployment(rollout: &RolloutRow) -> Option<String> {
    if let Some(id) = &rollout.under_way {
        return Some(format!("the service deployment {id} has not ended"));
    }
    let open = rollout.deployments.iter().find(|entry| entry.rollout == Rollout::InProgress)?;
    Some(format!("{} is IN_PROGRESS though no service deployment is under way", open.id))
}

/// Whether it is right that a service is not as it is wanted, and it says why.
fn is_excused(audit: &Audit, service: &ServiceRow, rollout: &RolloutRow) -> bool {
    rollout.told.contains_key("unplaced") && is_full(audit, service, rollout)
        || rollout.told.contains_key("stuck") && is_stuck(service)
}

/// The bounds leave no room to start a task and none to stop one.
fn is_stuck(service: &ServiceRow) -> bool {
    let (minimum, maximum) = service.percents();
    let bounds = Bounds::new(usize::try_from(service.desired_count).unwrap_or(0), minimum, maximum);
    bounds.lower >= bounds.upper
}

/// No container instance that could have a task has room for it.
fn is_full(audit: &Audit, service: &ServiceRow, rollout: &RolloutRow) -> bool {
    let definition = rollout.primary().and_then(|primary| audit.definition_of(&rollout.service, &primary.revision));
    let Some(definition) = definition else { return false };
    let demand = demand(definition);
    let is_full = |(key, row): (&String, &Arc<ContainerInstanceRow>)| {
        let has_one = || audit.holders(key).any(|task| task.group == service.group());
        !is_open(audit, key, row)
            || service.is_daemon && has_one()
            || audit.remaining(key).is_none_or(|remaining| !fits(remaining, &demand))
    };
    audit.instances.iter().all(is_full)
}

/// What a task of one container takes.
fn demand(definition: &TaskDefinitionRow) -> Resources {
    let mut demand = Resources::default();
    for container in definition.definition.container_definitions.iter().flatten() {
        demand.cpu += i64::from(container.cpu.unwrap_or(0));
        demand.memory += i64::from(container.memory.unwrap_or(0));
        let ports = container.port_mappings.iter().flatten().filter_map(|port| port.host_port);
        demand.tcp_ports.extend(ports.filter_map(|port| u16::try_from(port).ok()));
    }
    demand
}

fn fits(free: &Resources, demand: &Resources) -> bool {
    free.cpu >= demand.cpu
        && free.memory >= demand.memory
        && free.task_slots.is_none_or(|slots| slots > 0)
        && free.has_ports_for(demand)
}
