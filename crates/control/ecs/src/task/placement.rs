//! Where a task may go: the connected container instances of the cluster, or, for Fargate, of the scope.

use std::sync::Arc;

use estiva_api_ecs::types as api;
use estiva_planning::placement::{Candidate, Demand, place};
use estiva_store::{Row, Snapshot};

use super::constraint::Constraints;
use super::launch::Launch;
use super::table::BY_PLACED_GROUP;
use super::table::{TaskRow, placed_group_value};
use crate::container_instance::in_status;
use crate::container_instance::table::{
    BY_FARGATE, ConnectionRow, ContainerInstanceRow, ContainerInstanceStatus, ReservationRow,
};
use crate::failure::failure;

/// Where the tasks of a launch go, and why the rest of them goes nowhere.
pub(super) struct Placed {
    /// One instance a placed task.
    pub instances: Vec<Arc<ContainerInstanceRow>>,
    /// One for each instance that could not take what was left over.
    pub failures: Vec<api::Failure>,
}

/// Places `count` tasks. `None` if there is no instance at all.
pub(super) fn choose(view: &Snapshot, launch: &Launch, constraints: &Constraints, count: usize) -> Option<Placed> {
    let scope = &launch.scope;
    let instances: Vec<_> = if launch.is_fargate() {
        view.index::<ContainerInstanceRow>(BY_FARGATE, &scope.key(&[])).collect()
    } else {
        let active = in_status(view, scope, &launch.cluster, ContainerInstanceStatus::Active);
        active.filter(|row| row.is_external() == launch.is_external()).collect()
    };
    if instances.is_empty() {
        return None;
    }
    let mut failures = Vec::new();
    let mut candidates = Vec::new();
    for row in &instances {
        let key = row.key();
        let refused = |reason: &str| failure(row.arn(), reason);
        if view.get::<ConnectionRow>(&key).is_none_or(|connection| !connection.connected) {
            failures.push(refused("AGENT"));
        } else if launch.lacks_attribute(row) {
            failures.push(refused("ATTRIBUTE"));
        } else if let Some(reason) = constraints.refusal(view, row) {
            failures.push(refused(reason));
        } else if let Some(reservation) = view.get::<ReservationRow>(&key) {
            candidates.push(Candidate {
                arn: key,
                availability_zone: row.availability_zone(),
                remaining: reservation.remaining.clone(),
                group_tasks: view.index_count::<TaskRow>(BY_PLACED_GROUP, &placed_group_value(row, &launch.group)),
            });
        }
    }
    let demand = Demand { resources: launch.demand.clone(), distinct_instance: constraints.distinct_instance };
    let placement = place(&demand, count, candidates, &mut rand::rng());
    let by_key = |key: &String| instances.iter().find(|row| row.key() == *key);
    if placement.chosen.len() == count {
        failures.clear();
    }
    for (key, lack) in &placement.lacking {
        failures.extend(by_key(key).map(|row| failure(row.arn(), lack.reason())));
    }
    Some(Placed { instances: placement.chosen.iter().filter_map(by_key).cloned().collect(), failures })
}
