//! What a pass over one service decides, as it comes together.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use estiva_model::Timestamp;
use estiva_planning::deployment::{FailureKind, Phase, Roster};
use estiva_store::{Row, Snapshot};

use crate::service::event::Kind;
use crate::service::revision::find_revision;
use crate::service::rollout_table::{RolloutRow, ServiceDeploymentRow};
use crate::service::table::{ServiceRevisionRow, ServiceRow, ServiceStatus, child_key};
use crate::service::{deployment, hook};

/// Tasks to start.
pub(super) struct Start {
    /// The id of their deployment.
    pub deployment: String,
    pub count: usize,
    /// The keys of the only container instances that will do, if not all will.
    pub only_on: Option<BTreeSet<String>>,
}

/// A task to stop.
pub(super) struct TaskStop {
    pub key: String,
    pub reason: String,
    pub failure: Option<FailureKind>,
    /// Not if it has come to be protected since this was decided.
    pub spares_protected: bool,
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
    /// The keys of the tasks of hooks that are to end, and why.
    pub hook_stops: Vec<(String, &'static str)>,
    /// The service has ended.
    pub is_gone: bool,
    /// A revision, and what its images stand for.
    pub resolved: Option<(Arc<ServiceRevisionRow>, BTreeMap<String, String>)>,
    /// What was said and is over.
    pub over: Vec<Kind>,
    pub stops: Vec<TaskStop>,
    pub events: Vec<(Kind, String)>,
    pub again_at: Option<Timestamp>,
    /// The rows as they were.
    pub rollout_before: RolloutRow,
    pub under_way_before: Option<ServiceDeploymentRow>,
    /// One that has ended with this decision.
    pub ended: Option<ServiceDeploymentRow>,
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
        let spares_protected = self.service.status == ServiceStatus::Active
            && roster.get(key).is_some_and(|member| member.phase != Phase::Pending);
        self.stops.push(TaskStop { key: key.to_owned(), reason, failure, spares_protected });
    }

    /// The deployment under way has ended as its row says.
    pub fn end_deployment(&mut self) {
        self.ended = self.under_way.take();
        self.rollout.under_way = None;
    }

    /// Gives up the hooks of the deployment under way that have not ended.
    pub fn close_hooks(&mut self) {
        self.hook_starts.clear();
        let tasks = self.under_way.as_mut().map(ServiceDeploymentRow::close_hooks).unwrap_or_default();
        self.hook_stops.extend(tasks.into_iter().map(|task| (task, hook::DEPLOYMENT_ENDED)));
    }

    pub fn is_idle(&self) -> bool {
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
}

pub(super) fn is_unhealthy(roster: &Roster, key: &str) -> bool {
    roster.get(key).is_some_and(|member| member.phase == Phase::Unhealthy)
}
