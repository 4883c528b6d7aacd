//! Where tasks go, and their making there: the connected container instances of the cluster, or, for Fargate, of the scope.

mod kept;
mod ranked;
mod site;

use std::sync::{Arc, Mutex, MutexGuard};

use estiva_api_ecs::types as api;
use estiva_model::Ambient;
use estiva_planning::placement::{Candidate, Demand, Lack, Strategies, closest};
use estiva_store::{Row, Snapshot, Tx};

use super::constraint::Constraints;
use super::launch::Launch;
use super::table::TaskRow;
use crate::container_instance::table::{ContainerInstanceRow, ReservationRow};
use crate::failure::failure;
use kept::KeptRankings;
use ranked::Ranked;
use site::{Site, spread};

/// As ECS says it where Fargate has no room.
const NO_FARGATE_CAPACITY: &str =
    "Capacity is unavailable at this time. Please try again later or in a different availability zone";

/// Why each instance could not take a task.
pub(crate) type Lacking = Vec<(Arc<ContainerInstanceRow>, Lack)>;

/// The tasks of a launch that were made.
#[derive(Default)]
pub(crate) struct Made {
    pub tasks: Vec<Arc<TaskRow>>,
    /// If a task was not made: of each instance that it could have been on, if there is one.
    pub lacking: Lacking,
}

/// Equal tasks, and where their owner wants them.
pub(crate) struct Placeable<'a> {
    pub launch: &'a Launch,
    pub constraints: &'a Constraints,
    pub strategies: &'a Strategies,
}

impl Placeable<'_> {
    fn demand(&self) -> Demand {
        demand(self.launch, self.constraints)
    }
}

/// Places tasks, and keeps what it has found out for the next ones of their kind. One of a store.
pub(crate) struct Placer {
    /// The time and chance that tasks are made with.
    pub ambient: Ambient,
    kept: Mutex<KeptRankings>,
}

impl Placer {
    pub fn new(ambient: Ambient) -> Self {
        Self { ambient, kept: Mutex::default() }
    }

    /// Makes `count` tasks, as far as there is room for them. `None` if there is no instance at all.
    pub fn make(&self, tx: &mut Tx<'_>, what: &Placeable<'_>, count: usize) -> Option<Made> {
        if site::count(tx, what.launch) == 0 {
            return None;
        }
        if what.constraints.are_of_the_moment() {
            let mut ranked = Ranked::new(tx, what, &mut self.ambient.rng());
            return Some(self.fill(tx, what, count, &mut ranked).0);
        }
        let mut kept = self.kept();
        let ranked = kept.ranked(tx, what, &mut self.ambient.rng());
        let (made, chosen) = self.fill(tx, what, count, ranked);
        kept.note(chosen);
        Some(made)
    }

    /// The store has changed. Kept rankings hold on to all that was when they were made, so they must not fall far behind.
    pub fn keep_up(&self, view: &Snapshot) {
        self.kept().keep_up(view);
    }

    /// The tasks that were made, and the keys of the instances that they were for.
    fn fill(&self, tx: &mut Tx<'_>, what: &Placeable<'_>, count: usize, ranked: &mut Ranked) -> (Made, Vec<String>) {
        let rng = &mut self.ambient.rng();
        let (mut made, mut chosen) = (Made::default(), Vec::new());
        while made.tasks.len() < count && made.lacking.is_empty() {
            let row = match ranked.place(rng) {
                Ok(row) => row,
                Err(lacking) => {
                    made.lacking = lacking;
                    break;
                }
            };
            match what.launch.put(tx, &row, &self.ambient) {
                Some(task) => made.tasks.push(task),
                None => made.lacking.push((Arc::clone(&row), Lack::NetworkInterface)),
            }
            // The next one may be kept from here by this one.
            if what.constraints.look_at_tasks() {
                ranked.look_again(tx, what, &row.key(), rng);
            }
            chosen.push(row.key());
        }
        (made, chosen)
    }

    fn kept(&self) -> MutexGuard<'_, KeptRankings> {
        self.kept.lock().unwrap_or_else(|poisoned| {
            // Whoever panicked may have left a ranking half changed.
            let mut kept = poisoned.into_inner();
            *kept = KeptRankings::default();
            self.kept.clear_poison();
            kept
        })
    }
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
    let what = Placeable { launch, constraints: &constraints, strategies: &Strategies::default() };
    site.candidate(view, &what).lack(&demand(launch, &constraints))
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
