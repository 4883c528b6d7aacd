//! A decision, and how it is carried out: one transaction, on rows that are still as they were when it was made.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use estiva_model::{Ambient, Timestamp};
use estiva_planning::deployment::{FailureKind, Roster};
use estiva_planning::lifecycle::{DesiredStatus, StopCode};
use estiva_reconcile::{Pass, Step};
use estiva_store::{Conflict, Revision, Row, Snapshot, Tx};

use super::decide::is_unhealthy;
use super::{hooks, start};
use crate::service::deployment;
use crate::service::describe::find_revision;
use crate::service::event::Kind;
use crate::service::hook;
use crate::service::rollout_table::{RolloutRow, ServiceDeploymentRow};
use crate::service::table::{ServiceRevisionRow, ServiceRow, ServiceStatus, child_key};
use crate::task::end::{self, Stop};
use crate::task::table::TaskRow;

/// ECS tells of so many tasks in one event.
const TASKS_AN_EVENT: usize = 10;

/// Tasks to start.
pub(super) struct Start {
    /// The id of their deployment.
    pub deployment: String,
    pub count: usize,
    /// The keys of the only container instances that will do, if not all will.
    pub only_on: Option<BTreeSet<String>>,
}

/// A task to stop.
struct TaskStop {
    key: String,
    reason: String,
    failure: Option<FailureKind>,
}

/// What to do for a service.
pub(super) struct Decision {
    pub service: Arc<ServiceRow>,
    /// The rows as they are to be.
    pub rollout: RolloutRow,
    pub under_way: Option<ServiceDeploymentRow>,
    pub starts: Vec<Start>,
    /// Where extra tasks are to be started.
    pub only_on: Option<BTreeSet<String>>,
    /// The places, in the deployment's hooks, of those whose tasks are to be started.
    pub hook_starts: Vec<usize>,
    /// The keys of the tasks of hooks that nothing waits for any more, and why.
    pub hook_stops: Vec<(String, &'static str)>,
    /// The service has ended.
    pub is_gone: bool,
    /// A revision, and what its images stand for.
    pub resolved: Option<(Arc<ServiceRevisionRow>, BTreeMap<String, String>)>,
    /// What was said and is over.
    pub over: Vec<Kind>,
    stops: Vec<TaskStop>,
    events: Vec<(Kind, String)>,
    again_at: Option<Timestamp>,
    rollout_before: RolloutRow,
    under_way_before: Option<ServiceDeploymentRow>,
    /// One that has ended with this decision.
    ended: Option<ServiceDeploymentRow>,
}

impl Decision {
    pub fn new(view: &Snapshot, service: Arc<ServiceRow>) -> Self {
        let rollout = deployment::rollout(view, &service);
        let id = rollout.under_way.as_ref();
        let under_way = id.and_then(|id| view.get::<ServiceDeploymentRow>(&child_key(&service.key(), id)));
        let under_way = under_way.map(|row| (*row).clone());
        Self {
            service,
            rollout_before: rollout.clone(),
            under_way_before: under_way.clone(),
            rollout,
            under_way,
            starts: Vec::new(),
            only_on: None,
            hook_starts: Vec::new(),
            hook_stops: Vec::new(),
            is_gone: false,
            resolved: None,
            over: Vec::new(),
            stops: Vec::new(),
            events: Vec::new(),
            again_at: None,
            ended: None,
        }
    }

    pub fn revision(&self, view: &Snapshot, deployment: &str) -> Option<Arc<ServiceRevisionRow>> {
        find_revision(view, &self.service, &self.rollout.deployment(deployment)?.revision)
    }

    /// Looks again at this time at the latest.
    pub fn look_again(&mut self, at: Option<Timestamp>) {
        self.again_at = match (self.again_at, at) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
    }

    pub fn say(&mut self, kind: Kind, message: impl Into<String>) {
        self.events.push((kind, message.into()));
    }

    pub fn stop(&mut self, roster: &Roster, key: &str, deployment: &str) {
        let (reason, failure) = if is_unhealthy(roster, key) {
            let id = key.rsplit('/').next().unwrap_or_default();
            self.say(Kind::Happening, format!("(task {id}) failed container health checks."));
            ("Task failed container health checks".to_owned(), Some(FailureKind::NeverHealthy))
        } else {
            (format!("Scaling activity initiated by (deployment {deployment})"), None)
        };
        self.stops.push(TaskStop { key: key.to_owned(), reason, failure });
    }

    /// The deployment under way has ended as its row says.
    pub fn end_deployment(&mut self) {
        self.ended = self.under_way.take();
        self.rollout.under_way = None;
    }

    fn is_idle(&self) -> bool {
        self.starts.is_empty()
            && self.stops.is_empty()
            && self.events.is_empty()
            && self.hook_starts.is_empty()
            && self.hook_stops.is_empty()
            && !self.is_gone
            && self.resolved.is_none()
            && self.ended.is_none()
            && self.rollout == self.rollout_before
            && self.under_way == self.under_way_before
    }

    pub fn into_pass(self, view: &Snapshot, ambient: &Ambient) -> Pass {
        let again_at = self.again_at;
        if self.is_idle() {
            return Pass { step: None, again_at };
        }
        let seen = Seen::of(view, &self.service, self.rollout_before.under_way.as_deref());
        let ambient = ambient.clone();
        let step: Step = Box::new(move |tx| {
            seen.expect(tx)?;
            self.carry_out(tx, &ambient);
            Ok(())
        });
        Pass { step: Some(step), again_at }
    }

    fn carry_out(mut self, tx: &mut Tx<'_>, ambient: &Ambient) {
        for kind in std::mem::take(&mut self.over) {
            self.rollout.is_over(kind);
        }
        if let Some((revision, image_digests)) = self.resolved.take() {
            tx.put(ServiceRevisionRow { image_digests, ..(*revision).clone() });
        }
        let stops = std::mem::take(&mut self.stops);
        self.stop_tasks(tx, stops, ambient);
        let has_tried = !self.starts.is_empty();
        for it in std::mem::take(&mut self.starts) {
            start::start(tx, &self.service, &mut self.rollout, &it, ambient);
        }
        for (kind, message) in std::mem::take(&mut self.events) {
            self.rollout.tell(tx, kind, &message, ambient);
        }
        for (task, reason) in &self.hook_stops {
            hook::stop_task(tx, task, reason, ambient);
        }
        let hook_starts = std::mem::take(&mut self.hook_starts);
        if let Some(row) = &mut self.under_way {
            hooks::start_tasks(tx, &self.service, row, &hook_starts, ambient);
        }
        if self.under_way != self.under_way_before
            && let Some(mut row) = self.under_way
        {
            row.updated_at = ambient.now();
            tx.put(row);
        }
        if let Some(mut row) = self.ended {
            row.updated_at = ambient.now();
            tx.put(row);
        }
        if self.is_gone {
            tx.put(ServiceRow {
                status: ServiceStatus::Inactive,
                inactive_since: Some(ambient.now()),
                ..(*self.service).clone()
            });
        }
        // Also when as many found no room as before: the change tells the controller to wait for more room again.
        if has_tried || self.rollout != self.rollout_before {
            tx.put(self.rollout);
        }
    }

    fn stop_tasks(&mut self, tx: &mut Tx<'_>, stops: Vec<TaskStop>, ambient: &Ambient) {
        let mut stopped = Vec::new();
        for TaskStop { key, reason, failure } in stops {
            let task = tx.get::<TaskRow>(&key).filter(|task| task.desired_status == DesiredStatus::Running);
            let Some(task) = task else { continue };
            let task = match failure {
                None => task,
                Some(kind) => tx.put(TaskRow { failure: Some(kind), ..(*task).clone() }),
            };
            end::request(tx, &task, &Stop { code: StopCode::ServiceSchedulerInitiated, reason }, ambient.now());
            stopped.push(task.id.clone());
        }
        for ids in stopped.chunks(TASKS_AN_EVENT) {
            let message = format!("has stopped {} running tasks: {}.", ids.len(), named(ids));
            self.rollout.tell(tx, Kind::Happening, &message, ambient);
        }
    }
}

/// `(task ID) (task ID)`
pub(super) fn named(ids: &[String]) -> String {
    ids.iter().map(|id| format!("(task {id})")).collect::<Vec<_>>().join(" ")
}

/// Tells of tasks that were started.
pub(super) fn tell_started(tx: &mut Tx<'_>, rollout: &mut RolloutRow, ids: &[String], ambient: &Ambient) {
    for ids in ids.chunks(TASKS_AN_EVENT) {
        let message = format!("has started {} tasks: {}.", ids.len(), named(ids));
        rollout.tell(tx, Kind::Happening, &message, ambient);
    }
}

/// The revisions of the rows that a decision was made on.
struct Seen {
    service: String,
    under_way: Option<String>,
    revisions: (Revision, Revision, Revision),
}

impl Seen {
    fn of(view: &Snapshot, service: &ServiceRow, under_way: Option<&str>) -> Self {
        let key = service.key();
        let under_way = under_way.map(|id| child_key(&key, id));
        let of_deployment = under_way.as_ref().map_or(0, |key| view.revision_of::<ServiceDeploymentRow>(key));
        let revisions = (view.revision_of::<ServiceRow>(&key), view.revision_of::<RolloutRow>(&key), of_deployment);
        Self { service: key, under_way, revisions }
    }

    fn expect(&self, tx: &Tx<'_>) -> Result<(), Conflict> {
        tx.expect::<ServiceRow>(&self.service, self.revisions.0)?;
        tx.expect::<RolloutRow>(&self.service, self.revisions.1)?;
        match &self.under_way {
            Some(key) => tx.expect::<ServiceDeploymentRow>(key, self.revisions.2),
            None => Ok(()),
        }
    }
}
