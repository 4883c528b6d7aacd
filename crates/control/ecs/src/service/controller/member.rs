//! A task's rows as a roster has them.

use std::time::Duration;

use estiva_api_ecs::types as api;
use estiva_model::Timestamp;
use estiva_planning::deployment::{Member, Phase, Settled, Turn};
use estiva_planning::lifecycle::{DesiredStatus, HealthStatus, TaskState, TaskStatus};
use estiva_store::{Row, Snapshot};

use super::{ImageDigests, ServiceController};
use crate::container_instance::table::{ContainerInstanceRow, ContainerInstanceStatus};
use crate::service::table::{ServiceRevisionRow, ServiceRow};
use crate::task::describe::{is_checked, task_health};
use crate::task::leaving;
use crate::task::protection::TaskProtectionRow;
use crate::task::table::{TaskRow, TaskStatusRow};
use crate::task_definition::table::{TaskDefinitionRow, revision_key};

impl ServiceController {
    /// Brings the roster up to date with a task of a service about which there is news; gives the service's key.
    pub(super) fn refresh(&mut self, view: &Snapshot, task: &TaskRow, now: Timestamp) -> Option<String> {
        let service = service_key(task)?;
        let key = task.key();
        let before = self.rosters.entry(service.clone()).or_default().get(&key).cloned();
        let after = self.take_in_task(view, task, &service, now);
        let roster = self.rosters.entry(service.clone()).or_default();
        let had_failed = before.as_ref().is_some_and(|member| member.has_failed);
        if after.has_failed && !had_failed {
            roster.note(after.deployment, Turn::Failed, now);
        }
        if after.is_healthy && before.is_none_or(|member| member.phase != Phase::Healthy) {
            roster.note(after.deployment, Turn::BecameHealthy, now);
        }
        Some(service)
    }

    /// The same for a task that was there before the controller: what happened to it happened when its rows say so.
    pub(super) fn load_task(&mut self, view: &Snapshot, task: &TaskRow, now: Timestamp) {
        let Some(service) = service_key(task) else { return };
        let after = self.take_in_task(view, task, &service, now);
        let Some(status) = view.get::<TaskStatusRow>(&task.key()) else { return };
        let state = &status.state;
        let roster = self.rosters.entry(service).or_default();
        if after.has_failed {
            let failed_at = state.stopped_at.or(state.stopping_at).unwrap_or(now);
            roster.note(after.deployment, Turn::Failed, failed_at.min(now));
        }
        if after.is_healthy {
            let healthy_at = healthy_since(view, task, state, self.healthy_after).unwrap_or(now);
            roster.note(after.deployment, Turn::BecameHealthy, healthy_at.min(now));
        }
    }

    fn take_in_task<'a>(&mut self, view: &Snapshot, task: &'a TaskRow, service: &str, now: Timestamp) -> Standing<'a> {
        let key = task.key();
        let roster = self.rosters.entry(service.to_owned()).or_default();
        let current = view.get::<TaskRow>(&key);
        let has_failed = current.as_ref().is_some_and(|task| task.failure.is_some());
        let standing = |is_healthy| Standing {
            deployment: task.deployment.as_deref().unwrap_or_default(),
            has_failed,
            is_healthy,
        };
        let state = view.get::<TaskStatusRow>(&key).filter(|row| row.state.last_status != TaskStatus::Stopped);
        let Some((task, status)) = current.zip(state) else {
            roster.remove(&key);
            return standing(false);
        };
        let before = roster.get(&key).map(|member| (member.phase, member.settles_as));
        let grace = grace(view, service);
        let (phase, settles_as) = settle(view, &task, &status.state, before, self.healthy_after, grace, now);
        let protection = view.get::<TaskProtectionRow>(&key);
        let member = Member {
            deployment: task.deployment.clone().unwrap_or_default(),
            instance: task.container_instance_key(),
            phase,
            is_leaving: is_leaving(view, &task),
            is_stopping: task.desired_status == DesiredStatus::Stopped,
            settles_as,
            protected_until: protection.map(|row| row.expires_at),
            has_failed,
        };
        roster.put(&key, member);
        self.note_digests(service, &task, &status.state);
        standing(phase == Phase::Healthy)
    }
}

/// What a task means for its deployment.
struct Standing<'a> {
    deployment: &'a str,
    has_failed: bool,
    is_healthy: bool,
}

/// Since when a task that is healthy is, as far as its rows tell.
fn healthy_since(view: &Snapshot, task: &TaskRow, state: &TaskState, healthy_after: Duration) -> Option<Timestamp> {
    let definition = view.get::<TaskDefinitionRow>(&revision_key(&task.scope, &task.family, task.revision));
    if definition.is_some_and(|row| is_checked(&row.definition)) {
        let mut moments = state.timeline.iter().rev();
        return moments.find(|moment| moment.status == HealthStatus::Healthy.as_str()).map(|moment| moment.at);
    }
    state.started_at.map(|started_at| started_at.plus(healthy_after))
}

impl ServiceController {
    /// The first task of a deployment that knows what an image stands for decides for those after it.
    fn note_digests(&mut self, service: &str, task: &TaskRow, state: &TaskState) {
        let Some(deployment) = &task.deployment else { return };
        for container in &state.containers {
            if let Some(digest) = &container.image_digest {
                let of_service = self.digests.entry(service.to_owned()).or_default();
                let known = of_service.entry(deployment.clone()).or_default();
                known.entry(container.name.clone()).or_insert_with(|| digest.clone());
            }
        }
    }

    /// What a deployment's images stand for, as far as its revision does not know it yet and wants to be consistent.
    pub(super) fn new_digests(
        &self,
        view: &Snapshot,
        service: &ServiceRow,
        deployment: &str,
        revision: &ServiceRevisionRow,
    ) -> Option<ImageDigests> {
        let found = self.digests.get(&service.key())?.get(deployment)?;
        if found.keys().all(|name| revision.image_digests.contains_key(name)) {
            return None;
        }
        let definition =
            view.get::<TaskDefinitionRow>(&revision_key(&service.scope, &revision.family, revision.revision))?;
        let containers = definition.definition.container_definitions.iter().flatten();
        let consistent = containers.filter(|it| it.version_consistency != Some(api::VersionConsistency::Disabled));
        let mut digests = revision.image_digests.clone();
        for name in consistent.filter_map(|container| container.name.as_ref()) {
            if let Some(digest) = found.get(name) {
                digests.entry(name.clone()).or_insert_with(|| digest.clone());
            }
        }
        (digests != revision.image_digests).then_some(digests)
    }
}

/// The key of the service that a task is of.
pub(super) fn service_key(task: &TaskRow) -> Option<String> {
    task.deployment.as_ref()?;
    let name = task.group.strip_prefix(crate::service::table::GROUP_PREFIX)?;
    Some(task.scope.key(&[&task.cluster, name]))
}

fn is_leaving(view: &Snapshot, task: &TaskRow) -> bool {
    let instance = view.get::<ContainerInstanceRow>(&task.container_instance_key());
    instance.is_none_or(|instance| instance.status != ContainerInstanceStatus::Active)
}

fn grace(view: &Snapshot, service: &str) -> Duration {
    let seconds = view.get::<ServiceRow>(service).and_then(|row| row.settings.health_check_grace_period_seconds);
    Duration::from_secs(seconds.and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or(0))
}

/// How far a task is, and what time makes of it. What was settled by time stays: the system's clock may have been set.
fn settle(
    view: &Snapshot,
    task: &TaskRow,
    state: &TaskState,
    before: Option<(Phase, Settled)>,
    healthy_after: Duration,
    grace: Duration,
    now: Timestamp,
) -> (Phase, Settled) {
    let Some(started_at) = state.started_at else { return (Phase::Pending, Settled::Healthy) };
    let definition = view.get::<TaskDefinitionRow>(&revision_key(&task.scope, &task.family, task.revision));
    let definition = definition.as_ref().map(|row| &row.definition);
    // It is on its way out, however long its other containers take: what it is now, it stays.
    if let Some(left_at) = leaving::since(task, definition, state) {
        let was_healthy = || {
            if definition.is_some_and(is_checked) {
                task_health(definition, Some(state)) == HealthStatus::Healthy
            } else {
                started_at.plus(healthy_after) <= left_at
            }
        };
        return match before {
            Some((phase @ (Phase::Healthy | Phase::Unhealthy), settled)) => (phase, settled),
            None if was_healthy() => (Phase::Healthy, Settled::Healthy),
            _ => (Phase::Settling(None), Settled::Healthy),
        };
    }
    // Whoever was seen to begin has begun now, whatever the time of the report.
    let since = if before.is_some_and(|(phase, _)| phase == Phase::Pending) { now } else { started_at.min(now) };
    let wait = |after: Duration, settled: Settled, phase: Phase| match before {
        Some((Phase::Settling(Some(at)), known)) if known == settled => (Phase::Settling(Some(at)), settled),
        Some((known, _)) if known == phase => (phase, settled),
        _ if since.plus(after) <= now => (phase, settled),
        _ => (Phase::Settling(Some(since.plus(after))), settled),
    };
    if !definition.is_some_and(is_checked) {
        return wait(healthy_after, Settled::Healthy, Phase::Healthy);
    }
    match task_health(definition, Some(state)) {
        HealthStatus::Healthy => (Phase::Healthy, Settled::Healthy),
        HealthStatus::Unknown => (Phase::Settling(None), Settled::Healthy),
        HealthStatus::Unhealthy => wait(grace, Settled::Unhealthy, Phase::Unhealthy),
    }
}
