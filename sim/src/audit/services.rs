//! The services' part of the books: which tasks each has, how healthy they are, and whether its scheduler kept its bounds.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use estiva_ecs::container_instance::table::ConnectionRow;
use estiva_ecs::service::rollout_table::{RolloutRow, ServiceDeploymentRow};
use estiva_ecs::service::table::{GROUP_PREFIX, ServiceRevisionRow, ServiceRow, ServiceStatus, child_key};
use estiva_ecs::task::table::{TaskRow, TaskStatusRow};
use estiva_ecs::task_definition::table::{TaskDefinitionRow, revision_key};
use estiva_planning::lifecycle::{DesiredStatus, HealthStatus, StopCode, TaskState, TaskStatus};
use estiva_store::{Change, Snapshot};

use super::{Rows, reread};
use crate::plane::HEALTHY_AFTER;
use crate::world::World;

/// What all transactions have come to, as far as services go.
#[derive(Default)]
pub struct Services {
    /// By key.
    pub services: Rows<ServiceRow>,
    /// By the service's key.
    pub rollouts: Rows<RolloutRow>,
    /// By key.
    pub deployments: Rows<ServiceDeploymentRow>,
    /// By key.
    pub definitions: Rows<TaskDefinitionRow>,
    revisions: Rows<ServiceRevisionRow>,
    /// By the container instance's key.
    pub connections: Rows<ConnectionRow>,
    /// Tasks that have not ended, by the service's key.
    members: BTreeMap<String, BTreeSet<String>>,
    /// Since when a task runs, in time since the run began: what no step of the clock changes.
    running_since: BTreeMap<String, Duration>,
}

/// What one transaction does to services' tasks.
#[derive(Default)]
pub(super) struct Moves {
    /// Services that a task was started for.
    started: BTreeSet<String>,
    /// Healthy tasks that a scheduler stops, by service.
    healthy_stopped: BTreeMap<String, usize>,
}

/// The tasks' rows.
#[derive(Clone, Copy)]
pub(super) struct Tasks<'a> {
    pub rows: &'a Rows<TaskRow>,
    pub statuses: &'a Rows<TaskStatusRow>,
}

/// The key of the service that a task is of.
pub fn service_of(task: &TaskRow) -> Option<String> {
    task.deployment.as_ref()?;
    let name = task.group.strip_prefix(GROUP_PREFIX)?;
    Some(task.scope.key(&[&task.cluster, name]))
}

impl Services {
    /// What a transaction is about to do, while the books still show what was before it.
    pub(super) fn foresee(&self, tasks: Tasks<'_>, transaction: &[Change], now: Duration) -> Moves {
        let mut moves = Moves::default();
        for change in transaction {
            let Some(task) = change.row::<TaskRow>() else { continue };
            let (before, Some(after)) = (task.before, task.after) else { continue };
            let Some(service) = service_of(&after) else { continue };
            let Some(before) = before else {
                moves.started.insert(service);
                continue;
            };
            let is_stopped = before.desired_status == DesiredStatus::Running
                && after.desired_status == DesiredStatus::Stopped
                && after.stop_code == Some(StopCode::ServiceSchedulerInitiated);
            if is_stopped && self.is_healthy(tasks, &change.key, now) && self.is_connected(&before) {
                *moves.healthy_stopped.entry(service).or_default() += 1;
            }
        }
        moves
    }

    /// Takes a change in.
    pub(super) fn take(&mut self, tasks: Tasks<'_>, change: &Change, now: Duration) {
        let key = change.key.to_string();
        if let Some(row) = change.row::<ServiceRow>() {
            super::replace(&mut self.services, key, row.after);
        } else if let Some(row) = change.row::<RolloutRow>() {
            super::replace(&mut self.rollouts, key, row.after);
        } else if let Some(row) = change.row::<ServiceDeploymentRow>() {
            super::replace(&mut self.deployments, key, row.after);
        } else if let Some(row) = change.row::<ServiceRevisionRow>() {
            super::replace(&mut self.revisions, key, row.after);
        } else if let Some(row) = change.row::<TaskDefinitionRow>() {
            super::replace(&mut self.definitions, key, row.after);
        } else if let Some(row) = change.row::<ConnectionRow>() {
            super::replace(&mut self.connections, key, row.after);
        } else if change.row::<TaskStatusRow>().is_some() || change.row::<TaskRow>().is_some() {
            self.follow(tasks, &key, now);
        }
    }

    /// Brings the books up to date with a task.
    pub(super) fn follow(&mut self, tasks: Tasks<'_>, key: &str, now: Duration) {
        let status = tasks.statuses.get(key).map(|row| row.state.last_status);
        if status.is_some_and(|status| status >= TaskStatus::Running) {
            self.running_since.entry(key.to_owned()).or_insert(now);
        }
        let Some(service) = tasks.rows.get(key).and_then(|row| service_of(row)) else { return };
        let members = self.members.entry(service).or_default();
        if status.is_some_and(|status| status != TaskStatus::Stopped) {
            members.insert(key.to_owned());
        } else {
            members.remove(key);
        }
    }

    /// Whether the schedulers kept their bounds in a transaction that the books now show.
    pub(super) fn check(&self, tasks: Tasks<'_>, moves: &Moves, now: Duration, world: &World) {
        for (key, service) in &self.services {
            let started = moves.started.contains(key);
            let stopped = moves.healthy_stopped.get(key).copied().unwrap_or(0);
            if (started || stopped > 0)
                && let Err(why) = self.keeps_bounds(tasks, key, service, started, stopped, now)
            {
                world.violated(&format!("service {}: {why}", service.name));
            }
        }
    }

    fn keeps_bounds(
        &self,
        tasks: Tasks<'_>,
        key: &str,
        service: &ServiceRow,
        started: bool,
        stopped: usize,
        now: Duration,
    ) -> Result<(), String> {
        if service.is_daemon {
            return if started { self.is_one_each(tasks, key) } else { Ok(()) };
        }
        if service.status != ServiceStatus::Active || service.is_external {
            return Ok(());
        }
        let (minimum, maximum) = service.percents();
        let desired = usize::try_from(service.desired_count).unwrap_or(0);
        // Not by the code under test: minimumHealthyPercent is rounded up, maximumPercent down.
        let (lower, upper) = ((desired * minimum).div_ceil(100), desired * maximum / 100);
        let wanted = || self.wanted(tasks, key);
        let all = wanted().count();
        if started && all > upper {
            return Err(format!("a start makes {all} tasks, of {upper} at most ({maximum} % of {desired})"));
        }
        let healthy = wanted().filter(|task| self.is_healthy(tasks, task, now)).count();
        if stopped > 0 && healthy < lower {
            return Err(format!("stops leave {healthy} healthy, of {lower} at least ({minimum} % of {desired})"));
        }
        Ok(())
    }

    fn is_one_each(&self, tasks: Tasks<'_>, key: &str) -> Result<(), String> {
        let mut instances = BTreeSet::new();
        for task in self.members(key).filter_map(|task| tasks.rows.get(task)) {
            if !instances.insert(&task.container_instance) {
                return Err(format!("two tasks of a DAEMON are on {}", task.container_instance));
            }
        }
        Ok(())
    }

    /// Since when a task runs, in time since the run began.
    pub(super) fn running_since(&self, task: &str) -> Option<Duration> {
        self.running_since.get(task).copied()
    }

    /// A service's revision.
    pub(super) fn revision(&self, service: &str, id: &str) -> Option<&ServiceRevisionRow> {
        self.revisions.get(&child_key(service, id)).map(|row| &**row)
    }

    /// The task definition of a service's revision.
    pub(super) fn definition_of(&self, service: &str, revision: &str) -> Option<&TaskDefinitionRow> {
        let revision = self.revision(service, revision)?;
        let scope = &self.services.get(service)?.scope;
        let key = revision_key(scope, &revision.family, revision.revision);
        self.definitions.get(&key).map(|row| &**row)
    }

    /// The tasks of a service that have not ended.
    pub fn members(&self, service: &str) -> impl Iterator<Item = &String> {
        self.members.get(service).into_iter().flatten()
    }

    /// Those of them that are to run.
    fn wanted<'a>(&'a self, tasks: Tasks<'a>, service: &str) -> impl Iterator<Item = &'a String> + use<'a> {
        let members = self.members.get(service).into_iter().flatten();
        members.filter(move |key| tasks.rows.get(*key).is_some_and(|row| row.desired_status == DesiredStatus::Running))
    }

    /// The ARN of the service deployment that is under way.
    pub fn under_way(&self, service: &str) -> Option<String> {
        let row = self.services.get(service)?;
        let id = self.rollouts.get(service)?.under_way.as_ref()?;
        Some(row.scope.arn(format!("service-deployment/{}/{}/{id}", row.cluster, row.name)))
    }

    /// The ACTIVE services, and their keys.
    pub fn active(&self) -> impl Iterator<Item = (&String, &ServiceRow)> {
        let active = self.services.iter().filter(|(_, row)| row.status == ServiceStatus::Active);
        active.map(|(key, row)| (key, &**row))
    }

    /// The ACTIVE service of that name, and its key.
    pub fn named(&self, name: &str) -> Option<(&String, &ServiceRow)> {
        self.active().find(|(_, row)| row.name == name)
    }

    /// Whether a task counts as healthy.
    pub(super) fn is_healthy(&self, tasks: Tasks<'_>, key: &str, now: Duration) -> bool {
        let (Some(row), Some(status)) = (tasks.rows.get(key), tasks.statuses.get(key)) else { return false };
        if status.state.last_status != TaskStatus::Running {
            return false;
        }
        if self.is_checked(row) {
            return has_health(&status.state, HealthStatus::Healthy);
        }
        self.running_since.get(key).is_some_and(|since| now >= *since + HEALTHY_AFTER)
    }

    /// Whether a task runs, and its health checks fail.
    pub(super) fn is_unhealthy(&self, tasks: Tasks<'_>, key: &str) -> bool {
        let (Some(row), Some(status)) = (tasks.rows.get(key), tasks.statuses.get(key)) else { return false };
        let runs = status.state.last_status == TaskStatus::Running;
        runs && self.is_checked(row) && has_health(&status.state, HealthStatus::Unhealthy)
    }

    fn is_checked(&self, task: &TaskRow) -> bool {
        let definition = self.definitions.get(&revision_key(&task.scope, &task.family, task.revision));
        let containers = definition.and_then(|row| row.definition.container_definitions.as_ref());
        containers.into_iter().flatten().any(|container| container.health_check.is_some())
    }

    fn is_connected(&self, task: &TaskRow) -> bool {
        self.connections.get(&task.container_instance_key()).is_some_and(|row| row.connected)
    }

    /// Takes over what a store that was opened again shows.
    pub(super) fn reread(&mut self, world: &World, known: u64, view: &Snapshot) {
        reread(world, known, view, &mut self.services);
        reread(world, known, view, &mut self.rollouts);
        reread(world, known, view, &mut self.deployments);
        reread(world, known, view, &mut self.revisions);
        reread(world, known, view, &mut self.definitions);
        reread(world, known, view, &mut self.connections);
    }
}

fn has_health(state: &TaskState, health: HealthStatus) -> bool {
    state.containers.iter().all(|container| container.health == health)
}
