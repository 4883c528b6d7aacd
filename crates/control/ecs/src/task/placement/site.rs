//! A container instance that tasks could be on, as the store has it.

use std::sync::Arc;

use estiva_planning::placement::{Candidate, Lack, STRATEGIES_MAX, Strategies};
use estiva_store::{Row, Snapshot};

use super::Placeable;
use crate::container_instance::in_status;
use crate::container_instance::table::{
    BY_CLUSTER_STATUS, BY_FARGATE, ConnectionRow, ContainerInstanceRow, ContainerInstanceStatus, FARGATE_ATTRIBUTE,
    ReservationRow,
};
use crate::task::constraint::Constraints;
use crate::task::eni;
use crate::task::launch::Launch;
use crate::task::table::{BY_PLACED_GROUP, TaskRow, placed_group_value};

/// The instances that tasks of the launch could be on, of those that its constraints name if they do.
pub(super) fn rows(view: &Snapshot, what: &Placeable<'_>) -> Vec<Arc<ContainerInstanceRow>> {
    let launch = what.launch;
    if let Some(keys) = &what.constraints.only_on {
        return keys.iter().filter_map(|key| view.get(key)).filter(|row| is_site(launch, row)).collect();
    }
    if launch.is_fargate() {
        return view.index(BY_FARGATE, &launch.scope.key(&[])).collect();
    }
    in_status(view, &launch.scope, &launch.cluster, ContainerInstanceStatus::Active).collect()
}

/// How many instances there are that tasks of the launch could be on.
pub(super) fn count(view: &Snapshot, launch: &Launch) -> usize {
    if launch.is_fargate() {
        return view.index_count::<ContainerInstanceRow>(BY_FARGATE, &launch.scope.key(&[]));
    }
    let value = launch.scope.key(&[&launch.cluster, ContainerInstanceStatus::Active.as_str()]);
    view.index_count::<ContainerInstanceRow>(BY_CLUSTER_STATUS, &value)
}

/// Whether the instance is one of them.
pub(super) fn is_site(launch: &Launch, row: &ContainerInstanceRow) -> bool {
    let is_there =
        if launch.is_fargate() { row.attribute(FARGATE_ATTRIBUTE).is_some() } else { row.cluster == launch.cluster };
    is_there && row.scope == launch.scope && row.status == ContainerInstanceStatus::Active
}

/// The instance's values of the attributes that are spread over.
pub(super) fn spread<'a>(row: &'a ContainerInstanceRow, strategies: &Strategies) -> [Option<&'a str>; STRATEGIES_MAX] {
    let mut spread = [None; STRATEGIES_MAX];
    for (value, name) in spread.iter_mut().zip(strategies.attributes()) {
        *value = row.attribute(name);
    }
    spread
}

pub(super) struct Site {
    pub row: Arc<ContainerInstanceRow>,
    /// Absent once it is deregistered.
    reservation: Option<Arc<ReservationRow>>,
    connected: bool,
    addresses: usize,
    group_tasks: usize,
}

impl Site {
    pub fn new(view: &Snapshot, launch: &Launch, row: Arc<ContainerInstanceRow>) -> Self {
        let key = row.key();
        Self {
            reservation: view.get(&key),
            connected: view.get::<ConnectionRow>(&key).is_some_and(|connection| connection.connected),
            addresses: if launch.has_network_interface() { eni::addresses_left(view, &row) } else { 0 },
            group_tasks: view
                .index_count::<TaskRow>(BY_PLACED_GROUP, &placed_group_value(&key, &launch.cluster, &launch.group)),
            row,
        }
    }

    pub fn candidate(&self, view: &Snapshot, what: &Placeable<'_>) -> Candidate<'_> {
        Candidate {
            remaining: self.reservation.as_ref().map_or(&self.row.registered, |reservation| &reservation.remaining),
            addresses: self.addresses,
            group_tasks: self.group_tasks,
            refused: self.refusal(view, what.launch, what.constraints),
            spread: spread(&self.row, what.strategies),
        }
    }

    /// What keeps tasks of the launch from it, whatever room it has.
    pub fn refusal(&self, view: &Snapshot, launch: &Launch, constraints: &Constraints) -> Option<Lack> {
        if self.reservation.is_none() || self.row.status == ContainerInstanceStatus::Inactive {
            Some(Lack::Inactive)
        } else if !self.connected {
            Some(Lack::Agent)
        } else if !launch.is_of_launch_type(&self.row) {
            Some(Lack::LaunchType)
        } else if launch.lacks_attribute(&self.row) {
            Some(Lack::Attribute)
        } else {
            constraints.refusal(view, &self.row)
        }
    }
}
