//! Where a task may go: the connected container instances of the cluster, or, for Fargate, of the scope.

use std::sync::Arc;

use estiva_api_ecs::types as api;
use estiva_planning::placement::{Candidate, Demand, Lack, STRATEGIES_MAX, Strategies, place};
use estiva_store::{Row, Snapshot};
use rand::Rng;

use super::constraint::Constraints;
use super::eni;
use super::launch::Launch;
use super::table::{BY_PLACED_GROUP, TaskRow, placed_group_value};
use crate::container_instance::in_status;
use crate::container_instance::table::{
    BY_FARGATE, ConnectionRow, ContainerInstanceRow, ContainerInstanceStatus, ReservationRow,
};
use crate::failure::failure;

/// Where the tasks of a launch go, and why the rest of them goes nowhere.
pub(crate) struct Placed {
    /// One instance a placed task.
    pub instances: Vec<Arc<ContainerInstanceRow>>,
    /// If a task was not placed: why each instance could not take it.
    pub lacking: Vec<(Arc<ContainerInstanceRow>, Lack)>,
}

impl Placed {
    /// What the answer to RunTask says of what was not placed.
    pub fn failures(&self) -> impl Iterator<Item = api::Failure> {
        self.lacking.iter().map(|(row, lack)| failure(row.arn(), lack.reason()))
    }
}

/// Places `count` tasks. `None` if there is no instance at all.
pub(crate) fn choose(
    view: &Snapshot,
    launch: &Launch,
    constraints: &Constraints,
    strategies: &Strategies,
    count: usize,
    rng: &mut impl Rng,
) -> Option<Placed> {
    let scope = &launch.scope;
    let sites: Vec<_> = if launch.is_fargate() {
        view.index(BY_FARGATE, &scope.key(&[])).map(|row| Site::new(view, launch, row)).collect()
    } else {
        let active = in_status(view, scope, &launch.cluster, ContainerInstanceStatus::Active);
        active.map(|row| Site::new(view, launch, row)).collect()
    };
    if sites.is_empty() {
        return None;
    }
    let candidates: Vec<_> = sites.iter().map(|site| site.candidate(view, launch, constraints, strategies)).collect();
    let placement = place(&demand(launch, constraints), count, strategies, &candidates, rng);
    let row = |index: usize| Arc::clone(&sites[index].row);
    Some(Placed {
        instances: placement.chosen.into_iter().map(row).collect(),
        lacking: placement.lacking.into_iter().map(|(index, lack)| (row(index), lack)).collect(),
    })
}

/// Why a task cannot be on the instance that its caller chose for it.
pub(crate) fn refusal(view: &Snapshot, launch: &Launch, row: Arc<ContainerInstanceRow>) -> Option<Lack> {
    let (constraints, site) = (Constraints::default(), Site::new(view, launch, row));
    let candidate = site.candidate(view, launch, &constraints, &Strategies::default());
    candidate.lack(&demand(launch, &constraints))
}

fn demand(launch: &Launch, constraints: &Constraints) -> Demand {
    Demand { resources: launch.demand.clone(), distinct_instance: constraints.distinct_instance }
}

/// What keeps tasks of the launch from an instance, whatever room it has.
pub(crate) fn standing_refusal(
    view: &Snapshot,
    launch: &Launch,
    constraints: &Constraints,
    row: &Arc<ContainerInstanceRow>,
) -> Option<Lack> {
    Site::new(view, launch, Arc::clone(row)).refusal(view, launch, constraints)
}

/// An instance that has tasks, as the choice of those that go first sees it.
pub(crate) struct Standing {
    row: Arc<ContainerInstanceRow>,
    reservation: Option<Arc<ReservationRow>>,
}

impl Standing {
    pub fn new(view: &Snapshot, row: &Arc<ContainerInstanceRow>) -> Self {
        Self { row: Arc::clone(row), reservation: view.get(&row.key()) }
    }

    pub fn candidate(&self, strategies: &Strategies) -> Candidate<'_> {
        Candidate {
            remaining: self.reservation.as_ref().map_or(&self.row.registered, |reservation| &reservation.remaining),
            group_tasks: 0,
            addresses: None,
            refused: None,
            spread: spread(&self.row, strategies),
        }
    }
}

/// The instance's values of the attributes that are spread over.
fn spread<'a>(row: &'a ContainerInstanceRow, strategies: &Strategies) -> [Option<&'a str>; STRATEGIES_MAX] {
    let mut spread = [None; STRATEGIES_MAX];
    for (value, name) in spread.iter_mut().zip(strategies.attributes()) {
        *value = row.attribute(name);
    }
    spread
}

/// What the store has of a container instance.
struct Site {
    row: Arc<ContainerInstanceRow>,
    /// Absent once it is deregistered.
    reservation: Option<Arc<ReservationRow>>,
    connected: bool,
    group_tasks: usize,
}

impl Site {
    fn new(view: &Snapshot, launch: &Launch, row: Arc<ContainerInstanceRow>) -> Self {
        let key = row.key();
        Self {
            reservation: view.get(&key),
            connected: view.get::<ConnectionRow>(&key).is_some_and(|connection| connection.connected),
            group_tasks: view.index_count::<TaskRow>(BY_PLACED_GROUP, &placed_group_value(&row, &launch.group)),
            row,
        }
    }

    fn candidate(
        &self,
        view: &Snapshot,
        launch: &Launch,
        constraints: &Constraints,
        strategies: &Strategies,
    ) -> Candidate<'_> {
        Candidate {
            remaining: self.reservation.as_ref().map_or(&self.row.registered, |reservation| &reservation.remaining),
            group_tasks: self.group_tasks,
            addresses: launch.needs_address().then(|| eni::left(view, &self.row)),
            refused: self.refusal(view, launch, constraints),
            spread: spread(&self.row, strategies),
        }
    }

    /// What keeps tasks of the launch from it, whatever room it has.
    fn refusal(&self, view: &Snapshot, launch: &Launch, constraints: &Constraints) -> Option<Lack> {
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
