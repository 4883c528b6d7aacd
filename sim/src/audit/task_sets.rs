//! Task sets: none is started beyond its scale.

use std::collections::BTreeSet;

use estiva_ecs::container_instance::table::ContainerInstanceStatus;
use estiva_ecs::service::rollout_table::{Deployment, DeploymentStatus};
use estiva_ecs::service::table::ServiceRow;
use estiva_ecs::task::table::TaskRow;
use estiva_planning::lifecycle::DesiredStatus;

use super::Audit;
use super::doings::Doings;
use super::services::service_of;

/// Whether the sets of which a transaction starts tasks keep to their scale.
pub(super) fn check(books: &Audit, doings: &Doings) -> Vec<String> {
    let of = |task: &TaskRow| Some((service_of(task)?, task.deployment.clone()?));
    let started: BTreeSet<(String, String)> = doings.started.iter().filter_map(|task| of(task)).collect();
    started.iter().filter_map(|(service, set)| wrong_with(books, service, set)).collect()
}

fn wrong_with(books: &Audit, key: &str, id: &str) -> Option<String> {
    let service = books.services.services.get(key).filter(|row| row.is_external)?;
    let Some(set) = books.services.rollouts.get(key).and_then(|rollout| rollout.deployment(id)) else {
        return Some(format!("service {}: a task of {id} is started, which is no task set", service.name));
    };
    let wanted = wanted(service, set);
    let good = books.services.members(key).filter(|task| counts(books, task, id)).count();
    (good > wanted).then(|| format!("service {}: a start makes {good} tasks of {id}, of {wanted}", service.name))
}

/// Whether a task is one of those that the set is to have: not one that is to be replaced.
fn counts(books: &Audit, key: &str, set: &str) -> bool {
    let stays = |task: &TaskRow| {
        let instance = books.instances.get(&task.container_instance_key());
        instance.is_some_and(|row| row.status == ContainerInstanceStatus::Active)
    };
    let is_own =
        |task: &TaskRow| task.deployment.as_deref() == Some(set) && task.desired_status == DesiredStatus::Running;
    books.tasks.get(key).is_some_and(|task| is_own(task) && stays(task)) && !books.is_unhealthy(key)
}

/// How many tasks a set is to have: its part of the service's count, rounded up.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a handful")]
pub fn wanted(service: &ServiceRow, set: &Deployment) -> usize {
    let scale = set.task_set.as_ref().map_or(0.0, |state| state.scale);
    let is_going = set.status == DeploymentStatus::Draining;
    if is_going { 0 } else { (f64::from(service.desired_count) * scale / 100.0).ceil() as usize }
}
