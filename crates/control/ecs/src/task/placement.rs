//! Where tasks go, and their making there: the connected container instances of the cluster, or, for Fargate, of the scope.

use std::sync::Arc;

use estiva_api_ecs::types as api;
use estiva_model::Ambient;
use estiva_planning::placement::{Candidate, Demand, Lack, Ranking, STRATEGIES_MAX, Strategies, closest};
use estiva_store::{Row, Snapshot, Tx};
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

/// As ECS says it where Fargate has no room.
const NO_FARGATE_CAPACITY: &str =
    "Capacity is unavailable at this time. Please try again later or in a different availability zone";

/// Why each instance could not take a task.
pub(crate) type Lacking = Vec<(Arc<ContainerInstanceRow>, Lack)>;

/// The tasks of a launch that were made.
#[derive(Default)]
pub(crate) struct Made {
    pub tasks: Vec<Arc<TaskRow>>,
    /// If a task was not made.
    pub lacking: Lacking,
}

/// Makes `count` tasks, as far as there is room for them. `None` if there is no instance at all.
pub(crate) fn make(
    tx: &mut Tx<'_>,
    launch: &Launch,
    constraints: &Constraints,
    strategies: &Strategies,
    count: usize,
    ambient: &Ambient,
) -> Option<Made> {
    let rng = &mut ambient.rng();
    let sites = sites(tx, launch);
    if sites.is_empty() {
        return None;
    }
    let mut ranking = rank(tx, launch, constraints, strategies, &sites, rng);
    let row = |index: usize| Arc::clone(&sites[index].row);
    let mut made = Made::default();
    while made.tasks.len() < count && made.lacking.is_empty() {
        let placement = ranking.place(1, rng);
        made.lacking.extend(placement.lacking.into_iter().map(|(index, lack)| (row(index), lack)));
        for index in placement.chosen {
            match launch.put(tx, &row(index), ambient) {
                Some(task) => made.tasks.push(task),
                None => made.lacking.push((row(index), Lack::NetworkInterface)),
            }
            // The next one may be kept from here by this one.
            if constraints.look_at_tasks() {
                let site = Site::new(tx, launch, row(index));
                ranking.update(index, &site.candidate(tx, launch, constraints, strategies), rng);
            }
        }
    }
    Some(made)
}

/// The instances that tasks of the launch type could be on.
fn sites(view: &Snapshot, launch: &Launch) -> Vec<Site> {
    let site = |row| Site::new(view, launch, row);
    if launch.is_fargate() {
        return view.index(BY_FARGATE, &launch.scope.key(&[])).map(site).collect();
    }
    in_status(view, &launch.scope, &launch.cluster, ContainerInstanceStatus::Active).map(site).collect()
}

fn rank(
    view: &Snapshot,
    launch: &Launch,
    constraints: &Constraints,
    strategies: &Strategies,
    sites: &[Site],
    rng: &mut impl Rng,
) -> Ranking {
    let candidates: Vec<_> = sites.iter().map(|site| site.candidate(view, launch, constraints, strategies)).collect();
    Ranking::new(&demand(launch, constraints), strategies, &candidates, rng)
}

/// What the answer to RunTask says of what was not placed: instance by instance, but of Fargate's capacity no more than that
/// there is none.
pub(super) fn failures(launch: &Launch, lacking: &Lacking) -> Vec<api::Failure> {
    if !launch.is_fargate() {
        return lacking.iter().map(|(row, lack)| failure(row.arn(), lack.reason())).collect();
    }
    let lacks: Vec<_> = lacking.iter().map(|(_, lack)| *lack).enumerate().collect();
    let no_room = |(_, lack): (usize, Lack)| api::Failure {
        arn: None,
        reason: Some(NO_FARGATE_CAPACITY.to_owned()),
        detail: Some(lack.reason().to_owned()),
    };
    closest(&lacks).map(no_room).into_iter().collect()
}

/// Why a task cannot be on the instance that its caller chose for it.
pub(crate) fn refusal(view: &Snapshot, launch: &Launch, row: Arc<ContainerInstanceRow>) -> Option<Lack> {
    let (constraints, site) = (Constraints::default(), Site::new(view, launch, row));
    let candidate = site.candidate(view, launch, &constraints, &Strategies::default());
    candidate.lack(&demand(launch, &constraints))
}

fn demand(launch: &Launch, constraints: &Constraints) -> Demand {
    Demand {
        resources: launch.demand.clone(),
        distinct_instance: constraints.distinct_instance,
        network_interface: launch.has_network_interface(),
    }
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
            addresses: 0,
            group_tasks: 0,
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
    addresses: usize,
    group_tasks: usize,
}

impl Site {
    fn new(view: &Snapshot, launch: &Launch, row: Arc<ContainerInstanceRow>) -> Self {
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

    fn candidate(
        &self,
        view: &Snapshot,
        launch: &Launch,
        constraints: &Constraints,
        strategies: &Strategies,
    ) -> Candidate<'_> {
        Candidate {
            remaining: self.reservation.as_ref().map_or(&self.row.registered, |reservation| &reservation.remaining),
            addresses: self.addresses,
            group_tasks: self.group_tasks,
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
