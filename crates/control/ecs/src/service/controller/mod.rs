//! Does each service have the tasks that it should? And where is its deployment?
//!
//! The controller keeps a roster of each service's tasks in memory, change by change. A pass looks at the roster and the
//! service's rows, lets `planning::deployment` decide, and commits the decision with a check that the rows are the same still.
//! Placement happens inside that transaction, on what is reserved then.

mod act;
mod decide;
mod decision;
mod hooks;
mod lead;
mod member;
mod observe;
mod rebalance;
mod sets;
mod start;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use estiva_model::Timestamp;
use estiva_planning::deployment::{FailureCounts, FailureKind, Roster};
use estiva_reconcile::{Controller, Pass};
use estiva_store::{Change, Row, Snapshot};

use super::rollout_table::Deployment;
use super::table::{ServiceRow, ServiceStatus};
use crate::alarm::AlarmStates;
use crate::task::placement::Placer;
use crate::task::table::{BY_FAILURE, TaskRow, failure_value};

pub(super) use start::{eligible, launch};

/// Keeps services' promises. One of a store.
pub(crate) struct ServiceController {
    placer: Arc<Placer>,
    healthy_after: Duration,
    alarms: Arc<dyn AlarmStates>,
    /// By service.
    rosters: BTreeMap<String, Roster>,
    /// Services whose tasks found no room: nothing of these is tried until there is more of it.
    blocked: BTreeMap<String, Blocked>,
    /// DAEMONs whose placement constraints look at other tasks, which may come and go at any time.
    attentive: BTreeSet<String>,
    /// Services whose tasks may be spread unevenly, and where there may be too few of them.
    uneven: BTreeMap<String, Suspects>,
    /// By service and deployment, what the images of containers stand for, as the first tasks found out.
    digests: BTreeMap<String, BTreeMap<String, ImageDigests>>,
    /// By the key of the task that a hook runs, the service.
    hook_tasks: BTreeMap<String, String>,
}

/// By container, the digest that its image stands for.
type ImageDigests = BTreeMap<String, String>;

/// Tasks that found no room.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Blocked {
    /// The ids of their deployments.
    deployments: BTreeSet<String>,
    awaits: Awaits,
}

/// What may let a service go on that found no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Awaits {
    /// More of anything on a container instance.
    Room,
    /// Also tasks that start: its placement constraints look at them.
    Tasks,
}

/// Container instances on which, or in whose availability zones, a service may have too few tasks.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Suspects {
    All,
    /// Their keys.
    Instances(BTreeSet<String>),
}

impl ServiceController {
    pub fn new(placer: Arc<Placer>, healthy_after: Duration, alarms: Arc<dyn AlarmStates>) -> Self {
        Self {
            placer,
            healthy_after,
            alarms,
            rosters: BTreeMap::new(),
            blocked: BTreeMap::new(),
            attentive: BTreeSet::new(),
            uneven: BTreeMap::new(),
            digests: BTreeMap::new(),
            hook_tasks: BTreeMap::new(),
        }
    }
}

impl Controller for ServiceController {
    type Key = String;

    fn name(&self) -> &'static str {
        "services"
    }

    fn load(&mut self, view: &Snapshot, now: Timestamp) -> Vec<String> {
        self.rosters.clear();
        self.blocked.clear();
        self.attentive.clear();
        self.uneven.clear();
        self.digests.clear();
        self.hook_tasks.clear();
        let is_live = |row: &Arc<ServiceRow>| row.status != ServiceStatus::Inactive;
        let services: Vec<String> = view.scan::<ServiceRow>("").filter(is_live).map(|row| row.key()).collect();
        for service in &services {
            self.rosters.insert(service.clone(), Roster::default());
            self.uneven.insert(service.clone(), Suspects::All);
            self.note_attention(view, service);
        }
        for task in view.scan::<TaskRow>("").filter(|task| task.deployment.is_some()) {
            self.load_task(view, &task, now);
        }
        services
    }

    fn observe(&mut self, view: &Snapshot, change: &Change, now: Timestamp) -> Vec<String> {
        self.placer.keep_up(view);
        self.take_in(view, change, now)
    }

    fn reconcile(&mut self, view: &Snapshot, key: &String, now: Timestamp) -> Pass {
        match self.decide(view, key, now) {
            Some(decision) => decision.into_pass(view, &self.placer, now),
            None => Pass::default(),
        }
    }
}

/// Tasks that failed a deployment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Failures {
    all: FailureCounts,
    forgiven: usize,
}

impl Failures {
    /// Those that count: none was healthy since.
    pub fn total(self) -> usize {
        self.all.total().saturating_sub(self.forgiven)
    }
}

/// How many tasks of a deployment have failed. O(log n).
pub(super) fn failures(view: &Snapshot, deployment: &Deployment) -> Failures {
    let count = |kind| view.index_count::<TaskRow>(BY_FAILURE, &failure_value(&deployment.id, kind));
    let all =
        FailureCounts { never_ran: count(FailureKind::NeverRan), never_healthy: count(FailureKind::NeverHealthy) };
    Failures { all, forgiven: deployment.forgiven }
}
