//! How a decision is carried out: in one transaction, on rows that are still as they were when it was made.

use std::sync::Arc;

use estiva_model::{Ambient, Timestamp};
use estiva_planning::lifecycle::{DesiredStatus, StopCode};
use estiva_reconcile::{Pass, Step};
use estiva_store::{Conflict, Revision, Row, Snapshot, Tx};

use super::decision::{Decision, TaskStop};
use super::{hooks, start};
use crate::service::hook;
use crate::service::rollout_table::{RolloutRow, ServiceDeploymentRow};
use crate::service::table::{ServiceRevisionRow, ServiceRow, ServiceStatus, child_key};
use crate::task::end::{self, Stop};
use crate::task::placement::Placer;
use crate::task::protection::TaskProtectionRow;
use crate::task::table::TaskRow;

impl Decision {
    pub fn into_pass(self, view: &Snapshot, placer: &Arc<Placer>, now: Timestamp) -> Pass {
        let again_at = self.again_at;
        if self.is_idle() {
            return Pass { step: None, again_at };
        }
        let seen = Seen::of(view, &self.service, self.rollout_before.under_way.as_deref());
        let placer = Arc::clone(placer);
        let step: Step = Box::new(move |tx| {
            seen.expect(tx)?;
            self.carry_out(tx, &placer, now);
            Ok(())
        });
        Pass { step: Some(step), again_at }
    }

    fn carry_out(mut self, tx: &mut Tx<'_>, placer: &Placer, now: Timestamp) {
        let ambient = &placer.ambient;
        for kind in std::mem::take(&mut self.over) {
            self.rollout.is_over(kind);
        }
        if let Some((revision, image_digests)) = self.resolved.take() {
            tx.put(ServiceRevisionRow { image_digests, ..(*revision).clone() });
        }
        // Why comes before what.
        for (kind, message) in std::mem::take(&mut self.events) {
            self.rollout.tell(tx, kind, &message, ambient);
        }
        let mut stops = std::mem::take(&mut self.stops);
        stops.retain(|stop| !stop.spares_protected || !is_protected(tx, &stop.key, now));
        self.stop_tasks(tx, stops, ambient);
        let has_tried = !self.starts.is_empty();
        for it in std::mem::take(&mut self.starts) {
            start::start(tx, &self.service, &mut self.rollout, &it, placer);
        }
        for (task, why) in std::mem::take(&mut self.hook_stops) {
            hook::end_tasks(tx, &[task], why, ambient.now());
        }
        let hook_starts = std::mem::take(&mut self.hook_starts);
        if let Some(row) = &mut self.under_way {
            hooks::start_tasks(tx, &self.service, row, &hook_starts, placer);
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
        for TaskStop { key, reason, failure, .. } in stops {
            let task = tx.get::<TaskRow>(&key).filter(|task| task.desired_status == DesiredStatus::Running);
            let Some(task) = task else { continue };
            let task = match failure {
                None => task,
                Some(kind) => tx.put(TaskRow { failure: Some(kind), ..(*task).clone() }),
            };
            end::request(tx, &task, &Stop { code: StopCode::ServiceSchedulerInitiated, reason }, ambient.now());
            stopped.push(task.id.clone());
        }
        self.rollout.tell_of_tasks(tx, "has stopped", "running tasks", &stopped, ambient);
    }
}

fn is_protected(view: &Snapshot, task: &str, now: Timestamp) -> bool {
    view.get::<TaskProtectionRow>(task).is_some_and(|protection| protection.expires_at > now)
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
