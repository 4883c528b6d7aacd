//! Services once no more faults happen: each has as many healthy tasks of its PRIMARY deployment as are wanted and no others, or
//! an event says why not, or as many of each task set as its scale says; its deployments have ended; and of those that were deleted
//! nothing is left.

use std::collections::BTreeMap;

use estiva_api_ecs::types as api;
use estiva_ecs::container_instance::table::ContainerInstanceStatus as Status;
use estiva_ecs::service::rollout_table::{Deployment, DeploymentStatus, Rollout, RolloutRow};
use estiva_ecs::service::table::{ServiceRow, ServiceStatus, child_key};
use estiva_planning::deployment::Bounds;
use estiva_planning::lifecycle::DesiredStatus;
use estiva_planning::placement::Resources;

use crate::agent::short;
use crate::audit::sites::Wish;
use crate::audit::{Audit, task_sets};

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
            if service.is_external {
                return wrong_sets(audit, key, service, rollout).map(|why| format!("{why}; told: {:?}", rollout.told));
            }
            if holds_up(audit, key, rollout) {
                return Some("a hook holds up its deployment".to_owned());
            }
            let why = match wrong_tasks(audit, key, service, rollout) {
                Some(_) if is_excused(audit, service, rollout) => return None,
                Some(why) => why,
                None => wrong_deployment(rollout)?,
            };
            Some(format!("{why}; told: {:?}", rollout.told))
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
    let wanted = if service.is_daemon {
        daemons(audit, service, rollout)
    } else {
        usize::try_from(service.desired_count).unwrap_or(0)
    };
    (healthy != wanted).then(|| format!("it has {healthy} healthy tasks, not {wanted}"))
}

/// How many container instances are to have a task of a DAEMON: those that are ACTIVE and connected, and meet its constraints.
fn daemons(audit: &Audit, service: &ServiceRow, rollout: &RolloutRow) -> usize {
    let Some(primary) = rollout.primary() else { return 0 };
    let count = with_wish(audit, service, rollout, primary, |wish| {
        // Its own task is no other one.
        let is_member_of = |constraint: &&api::PlacementConstraint| constraint.expression.is_some();
        let constraints: Vec<_> = wish.constraints.iter().filter(is_member_of).cloned().collect();
        let wish = Wish { constraints: &constraints, ..*wish };
        audit.instances.iter().filter(|(key, row)| audit.standing_refusal(&wish, key, row).is_none()).count()
    });
    count.unwrap_or(0)
}

fn holds_up(audit: &Audit, key: &str, rollout: &RolloutRow) -> bool {
    let row = rollout.under_way.as_ref().and_then(|id| audit.services.deployments.get(&child_key(key, id)));
    row.is_some_and(|row| row.hooks.iter().any(|hook| hook.status.is_open()))
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
    rollout.primary().is_some_and(|primary| is_full_for(audit, service, rollout, primary))
}

/// The same for a task set's tasks, or those of another deployment.
fn is_full_for(audit: &Audit, service: &ServiceRow, rollout: &RolloutRow, deployment: &Deployment) -> bool {
    let group = service.group();
    let has_one = |key: &str| service.is_daemon && audit.holders(key).any(|task| task.group == group);
    let is_full = with_wish(audit, service, rollout, deployment, |wish| {
        audit.instances.iter().all(|(key, row)| has_one(key) || audit.refusal(wish, key, row).is_some())
    });
    is_full.unwrap_or(false)
}

/// Asks something about what a deployment's tasks ask for.
fn with_wish<T>(
    audit: &Audit,
    service: &ServiceRow,
    rollout: &RolloutRow,
    deployment: &Deployment,
    ask: impl FnOnce(&Wish<'_>) -> T,
) -> Option<T> {
    let definition = &audit.definition_of(&rollout.service, &deployment.revision)?.definition;
    let compatibilities = definition.requires_compatibilities.as_deref().unwrap_or_default();
    Some(ask(&Wish {
        group: &service.group(),
        demand: &demand(definition),
        is_fargate: compatibilities.contains(&api::Compatibility::Fargate),
        needs_address: definition.network_mode == Some(api::NetworkMode::Awsvpc),
        constraints: service.settings.placement_constraints.as_deref().unwrap_or_default(),
        ending: &[],
    }))
}

/// What a task of one container takes.
fn demand(definition: &api::TaskDefinition) -> Resources {
    let own = |size: Option<&String>| size.and_then(|text| text.parse().ok());
    let has_address = definition.network_mode == Some(api::NetworkMode::Awsvpc);
    let mut demand = Resources::default();
    for container in definition.container_definitions.iter().flatten() {
        demand.cpu += i64::from(container.cpu.unwrap_or(0));
        demand.memory += i64::from(container.memory.unwrap_or(0));
        let ports = container.port_mappings.iter().flatten().filter_map(|port| port.host_port);
        demand.tcp_ports.extend(ports.filter(|_| !has_address).filter_map(|port| u16::try_from(port).ok()));
    }
    demand.cpu = own(definition.cpu.as_ref()).unwrap_or(demand.cpu);
    demand.memory = own(definition.memory.as_ref()).unwrap_or(demand.memory);
    demand
}

/// Each task set has as many healthy tasks as its scale says, or there is no room for them.
fn wrong_sets(audit: &Audit, key: &str, service: &ServiceRow, rollout: &RolloutRow) -> Option<String> {
    let mut tasks: BTreeMap<&str, usize> = BTreeMap::new();
    for task in audit.services.members(key) {
        let row = audit.tasks.get(task)?;
        if row.desired_status == DesiredStatus::Stopped || !audit.is_healthy(task) {
            return Some(format!("{} is not healthy", short(task)));
        }
        *tasks.entry(row.deployment.as_deref().unwrap_or_default()).or_default() += 1;
    }
    if let Some(stray) = tasks.keys().find(|id| rollout.deployment(id).is_none()) {
        return Some(format!("it has tasks of {stray}, which is no task set"));
    }
    if rollout.deployments.iter().filter(|set| set.status == DeploymentStatus::Primary).count() > 1 {
        return Some("two task sets are PRIMARY".to_owned());
    }
    rollout.deployments.iter().find_map(|set| {
        let (has, wanted) = (tasks.get(set.id.as_str()).copied().unwrap_or(0), task_sets::wanted(service, set));
        let is_stable = set.task_set.as_ref().is_some_and(|state| state.is_stable);
        if set.status == DeploymentStatus::Draining {
            return Some(format!("{} is DRAINING", set.id));
        }
        let is_excused = has < wanted && is_full_for(audit, service, rollout, set);
        if has != wanted && !is_excused {
            return Some(format!("{} has {has} healthy tasks, not {wanted}", set.id));
        }
        (is_stable != (has == wanted)).then(|| format!("{} has {has} of {wanted}, stable: {is_stable}", set.id))
    })
}
