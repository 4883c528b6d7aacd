//! Which services a change is about.

use std::collections::btree_map::Range;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use estiva_model::Timestamp;
use estiva_planning::deployment::{Roster, Settled};
use estiva_planning::lifecycle::TaskStatus;
use estiva_store::{Change, Snapshot};

use super::member::service_key;
use super::{Awaits, Blocked, ServiceController, Suspects, start};
use crate::container_instance::table::{
    ConnectionRow, ContainerInstanceRow, ContainerInstanceStatus, FARGATE_ATTRIBUTE, ReservationRow,
};
use crate::service::revision::find_revision;
use crate::service::rollout_table::{Deployment, RolloutRow, ServiceDeploymentRow};
use crate::service::table::ServiceRow;
use crate::task::protection::TaskProtectionRow;
use crate::task::table::{BY_CONTAINER_INSTANCE, TaskRow, TaskStatusRow};

/// From so many on all container instances are looked at.
const SUSPECTS_MAX: usize = 64;

impl ServiceController {
    /// Takes a change in; gives the services to look at.
    pub(super) fn take_in(&mut self, view: &Snapshot, change: &Change, now: Timestamp) -> Vec<String> {
        if let Some(task) = change.row::<TaskRow>() {
            let Some(task) = task.after.or(task.before) else { return Vec::new() };
            let of_hook = self.hook_tasks.get(&*change.key).cloned();
            return of_hook.or_else(|| self.refresh(view, &task, now)).into_iter().collect();
        }
        if let Some(status) = change.row::<TaskStatusRow>() {
            let is_over = status.after.is_none_or(|row| row.state.last_status == TaskStatus::Stopped);
            let of_hook = is_over.then(|| self.hook_tasks.remove(&*change.key)).flatten();
            let task = view.get::<TaskRow>(&change.key);
            let of_task = task.and_then(|task| self.refresh(view, &task, now));
            return of_hook.into_iter().chain(of_task).collect();
        }
        if change.row::<TaskProtectionRow>().is_some() {
            let task = view.get::<TaskRow>(&change.key);
            return task.and_then(|task| self.refresh(view, &task, now)).into_iter().collect();
        }
        if let Some(service) = change.row::<ServiceRow>() {
            let key = change.key.to_string();
            let grace = |row: &Option<Arc<ServiceRow>>| row.as_ref()?.settings.health_check_grace_period_seconds;
            self.rosters.entry(key.clone()).or_default();
            if grace(&service.before) != grace(&service.after) {
                self.look_again_at_unhealthy(view, &key, now);
            }
            self.blocked.remove(&key);
            self.uneven.insert(key.clone(), Suspects::All);
            self.note_attention(view, &key);
            return vec![key];
        }
        if let Some(rollout) = change.row::<RolloutRow>() {
            self.note_attention(view, &change.key);
            self.note_attempts(view, &change.key, rollout.before.as_deref(), rollout.after.as_deref());
            return vec![change.key.to_string()];
        }
        if let Some(deployment) = change.row::<ServiceDeploymentRow>() {
            return deployment.after.map(|row| row.service.clone()).into_iter().collect();
        }
        self.take_in_capacity(view, change, now)
    }

    /// Whoever has found no room waits for what changes later. That a row still says so is no attempt: there may be room since.
    fn note_attempts(
        &mut self,
        view: &Snapshot,
        service: &str,
        before: Option<&RolloutRow>,
        after: Option<&RolloutRow>,
    ) {
        let mut deployments = self.blocked.remove(service).map(|it| it.deployments).unwrap_or_default();
        let Some(after) = after else { return };
        let attempts_before = |id: &str| before.and_then(|row| row.deployment(id)).map_or(0, |it| it.attempts);
        deployments.retain(|id| after.deployment(id).is_some_and(|it| it.unplaced > 0));
        let has_tried = |it: &&Deployment| it.unplaced > 0 && it.attempts != attempts_before(&it.id);
        deployments.extend(after.deployments.iter().filter(has_tried).map(|it| it.id.clone()));
        if !deployments.is_empty() {
            self.blocked.insert(service.to_owned(), Blocked { deployments, awaits: awaited(view, after) });
        }
    }

    /// Another grace period holds for tasks that run already, too.
    fn look_again_at_unhealthy(&mut self, view: &Snapshot, service: &str, now: Timestamp) {
        let members = self.rosters.get(service).into_iter().flat_map(Roster::members);
        let unhealthy = members.filter(|(_, member)| member.settles_as == Settled::Unhealthy);
        for key in unhealthy.map(|(key, _)| key.clone()).collect::<Vec<_>>() {
            if let Some(task) = view.get::<TaskRow>(&key) {
                self.rosters.entry(service.to_owned()).or_default().remove(&key);
                self.refresh(view, &task, now);
            }
        }
    }

    fn take_in_capacity(&mut self, view: &Snapshot, change: &Change, now: Timestamp) -> Vec<String> {
        if let Some(reservation) = change.row::<ReservationRow>() {
            let is_leaving = || {
                let instance = view.get::<ContainerInstanceRow>(&change.key);
                instance.is_some_and(|row| row.status != ContainerInstanceStatus::Active)
            };
            return match (reservation.before, reservation.after) {
                (Some(before), Some(after)) if before.remaining == after.remaining => {
                    self.with_capacity(view, &change.key, false)
                }
                (Some(_), Some(_)) if is_leaving() => daemons_on(view, &change.key),
                (Some(before), Some(after)) => self.with_capacity(view, &change.key, has_more(&before, &after)),
                _ => self.with_capacity(view, &change.key, true),
            };
        }
        if let Some(connection) = change.row::<ConnectionRow>() {
            let was = connection.before.is_some_and(|row| row.connected);
            let is = connection.after.is_some_and(|row| row.connected);
            return if was == is { Vec::new() } else { self.all_of_cluster_or_scope(view, &change.key) };
        }
        if let Some(instance) = change.row::<ContainerInstanceRow>() {
            let status = |row: &Option<Arc<ContainerInstanceRow>>| row.as_ref().map(|row| row.status);
            if status(&instance.before) != status(&instance.after) {
                for task in view.index::<TaskRow>(BY_CONTAINER_INSTANCE, &change.key) {
                    self.refresh(view, &task, now);
                }
            }
            return self.all_of_cluster_or_scope(view, &change.key);
        }
        Vec::new()
    }

    /// Notes whether a service has to hear of other tasks though it waits for nothing.
    pub(super) fn note_attention(&mut self, view: &Snapshot, key: &str) {
        let service = view.get::<ServiceRow>(key).filter(|row| row.is_daemon);
        let rollout = view.get::<RolloutRow>(key).filter(|_| service.is_some());
        if rollout.is_some_and(|rollout| awaited(view, &rollout) == Awaits::Tasks) {
            self.attentive.insert(key.to_owned());
        } else {
            self.attentive.remove(key);
        }
    }

    /// Services that wait for room on a container instance, or look at other tasks on it.
    fn with_capacity(&mut self, view: &Snapshot, instance: &str, has_more: bool) -> Vec<String> {
        if self.blocked.is_empty() && self.attentive.is_empty() {
            return Vec::new();
        }
        let prefix = reach(view, instance);
        let is_woken = |awaits: Awaits| has_more || awaits == Awaits::Tasks;
        let blocked = from(&self.blocked, &prefix).take_while(|(key, _)| key.starts_with(&prefix));
        let attentive = self.attentive.range::<str, _>((Bound::Included(prefix.as_str()), Bound::Unbounded));
        let mut woken: BTreeSet<String> =
            blocked.filter(|(_, it)| is_woken(it.awaits)).map(|(key, _)| key.clone()).collect();
        woken.extend(attentive.take_while(|key| key.starts_with(&prefix)).cloned());
        for key in &woken {
            self.blocked.remove(key);
        }
        woken.into_iter().collect()
    }

    fn all_of_cluster_or_scope(&mut self, view: &Snapshot, instance: &str) -> Vec<String> {
        let prefix = reach(view, instance);
        let of_reach = from(&self.rosters, &prefix).map(|(key, _)| key).take_while(|key| key.starts_with(&prefix));
        let services: Vec<String> = of_reach.cloned().collect();
        for key in &services {
            self.blocked.remove(key);
            self.suspect(key, instance);
        }
        services
    }

    /// Notes that a service may have too few tasks where a container instance is.
    fn suspect(&mut self, service: &str, instance: &str) {
        let suspects = self.uneven.entry(service.to_owned()).or_insert_with(|| Suspects::Instances(BTreeSet::new()));
        if let Suspects::Instances(instances) = suspects {
            instances.insert(instance.to_owned());
            if instances.len() > SUSPECTS_MAX {
                *suspects = Suspects::All;
            }
        }
    }

    /// Notes the task that a hook of a service runs; its end is news for the service.
    pub(super) fn watch_hook(&mut self, view: &Snapshot, task: &str, service: &str) {
        let row = view.get::<TaskRow>(task);
        debug_assert!(row.as_ref().is_none_or(|row| service_key(row).is_none()), "it is no task of the service itself");
        self.hook_tasks.insert(task.to_owned(), service.to_owned());
    }
}

/// What the service with these deployments waits for.
fn awaited(view: &Snapshot, rollout: &RolloutRow) -> Awaits {
    let looks_at_tasks = |service: &ServiceRow| {
        let mut revisions = rollout.deployments.iter().filter_map(|it| find_revision(view, service, &it.revision));
        revisions.any(|revision| start::constraints(view, service, &revision).is_some_and(|it| it.look_at_tasks()))
    };
    match view.get::<ServiceRow>(&rollout.service) {
        Some(service) if looks_at_tasks(&service) => Awaits::Tasks,
        _ => Awaits::Room,
    }
}

/// The front of the keys of the services whose tasks may be placed on a container instance: its cluster's, or, with Fargate
/// capacity, its scope's.
fn reach(view: &Snapshot, instance: &str) -> String {
    let row = view.get::<ContainerInstanceRow>(instance);
    let is_fargate = row.is_some_and(|row| row.attribute(FARGATE_ATTRIBUTE).is_some());
    let cluster = cluster_of(instance);
    if is_fargate { scope_of(cluster) } else { cluster }.to_owned()
}

fn from<'a, V>(map: &'a BTreeMap<String, V>, prefix: &str) -> Range<'a, String, V> {
    map.range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
}

/// The DAEMON services with a task on a container instance: it stays for as long as others do.
fn daemons_on(view: &Snapshot, instance: &str) -> Vec<String> {
    let tasks = view.index::<TaskRow>(BY_CONTAINER_INSTANCE, instance);
    let services: BTreeSet<String> = tasks.filter_map(|task| service_key(&task)).collect();
    let is_daemon = |key: &String| view.get::<ServiceRow>(key).is_some_and(|row| row.is_daemon);
    services.into_iter().filter(is_daemon).collect()
}

fn has_more(before: &ReservationRow, after: &ReservationRow) -> bool {
    let (was, is) = (&before.remaining, &after.remaining);
    is.cpu > was.cpu
        || is.memory > was.memory
        || is.gpus > was.gpus
        || is.task_slots > was.task_slots
        || !was.tcp_ports.is_subset(&is.tcp_ports)
        || !was.udp_ports.is_subset(&is.udp_ports)
        || is.cpu == was.cpu && is.memory == was.memory && after.running_tasks < before.running_tasks
}

/// The front of the keys of a cluster's services and container instances.
fn cluster_of(instance: &str) -> &str {
    instance.rfind('/').map_or(instance, |slash| &instance[..=slash])
}

fn scope_of(cluster: &str) -> &str {
    cluster.trim_end_matches('/').rfind('/').map_or(cluster, |slash| &cluster[..=slash])
}
