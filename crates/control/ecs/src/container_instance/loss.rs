//! Is a container instance's agent away for too long? Then its services' tasks are wanted elsewhere.
//!
//! Until then its tasks are left alone: they run on, whether or not anybody can see them. Afterwards they are told to end, which
//! they do when the agent comes back, and their services start others: never do both count. What a deployment's hook waits for has
//! failed, and is not run twice. Tasks that nobody's service started stay as they are, as with ECS.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use estiva_model::{Ambient, Timestamp};
use estiva_planning::lifecycle::{DesiredStatus, StopCode, TaskStatus};
use estiva_reconcile::{Controller, Pass, Step};
use estiva_store::{Change, Snapshot};

use super::table::{ConnectionRow, ContainerInstanceRow, ContainerInstanceStatus};
use crate::task::end::{self, Stop};
use crate::task::status_of;
use crate::task::table::{BY_CONTAINER_INSTANCE, TaskRow};

/// Gives up container instances that are away. One of a store.
pub(crate) struct LossController {
    ambient: Ambient,
    lost_after: Duration,
    /// By the instance's key, since when its agent is away.
    away: BTreeMap<String, Timestamp>,
}

impl LossController {
    pub fn new(ambient: Ambient, lost_after: Duration) -> Self {
        Self { ambient, lost_after, away: BTreeMap::new() }
    }
}

impl Controller for LossController {
    type Key = String;

    fn name(&self) -> &'static str {
        "lost nodes"
    }

    fn load(&mut self, view: &Snapshot, now: Timestamp) -> Vec<String> {
        // Since when a row says that an agent is away is of no use: while no control plane was there, none could come back.
        let former = std::mem::take(&mut self.away);
        let away = view.scan::<ConnectionRow>("").filter(|row| !row.connected && is_registered(view, &row.instance));
        let since = |key: &str| former.get(key).copied().unwrap_or(now);
        self.away = away.map(|row| (row.instance.clone(), since(&row.instance))).collect();
        self.away.keys().cloned().collect()
    }

    fn observe(&mut self, view: &Snapshot, change: &Change, now: Timestamp) -> Vec<String> {
        if let Some(instance) = change.row::<ContainerInstanceRow>() {
            if instance.after.is_none_or(|row| row.status == ContainerInstanceStatus::Inactive) {
                self.away.remove(&*change.key);
            }
            return Vec::new();
        }
        let Some(connection) = change.row::<ConnectionRow>() else { return Vec::new() };
        let key = change.key.to_string();
        match connection.after {
            Some(row) if !row.connected && is_registered(view, &key) => {
                self.away.entry(key.clone()).or_insert(now);
                vec![key]
            }
            _ => {
                self.away.remove(&key);
                Vec::new()
            }
        }
    }

    fn reconcile(&mut self, view: &Snapshot, key: &String, now: Timestamp) -> Pass {
        let Some(since) = self.away.get(key) else { return Pass::default() };
        let lost_at = since.plus(self.lost_after);
        if lost_at > now {
            return Pass { step: None, again_at: Some(lost_at) };
        }
        if tasks_of_services(view, key).is_empty() {
            return Pass::default();
        }
        let (key, ambient) = (key.clone(), self.ambient.clone());
        let lost = Stop {
            code: StopCode::InfrastructureHealth,
            reason: format!(
                "The agent of container instance {} was not connected for {} s",
                key.rsplit('/').next().unwrap_or_default(),
                self.lost_after.as_secs()
            ),
        };
        let step: Step = Box::new(move |tx| {
            if tx.get::<ConnectionRow>(&key).is_some_and(|row| row.connected) {
                return Ok(());
            }
            let tasks = tasks_of_services(tx, &key);
            tracing::warn!(
                instance = key,
                tasks = tasks.len(),
                "a node is lost; its services' tasks are started elsewhere"
            );
            for task in tasks {
                end::request(tx, &task, &lost, ambient.now());
            }
            Ok(())
        });
        Pass { step: Some(step), again_at: None }
    }
}

/// Whether it is waited for at all: a deregistered instance has no tasks.
fn is_registered(view: &Snapshot, instance: &str) -> bool {
    let row = view.get::<ContainerInstanceRow>(instance);
    row.is_some_and(|row| row.status != ContainerInstanceStatus::Inactive)
}

/// The tasks of services that are to run on a container instance.
fn tasks_of_services(view: &Snapshot, instance: &str) -> Vec<Arc<TaskRow>> {
    let tasks = view.index::<TaskRow>(BY_CONTAINER_INSTANCE, instance);
    tasks
        .filter(|task| (task.deployment.is_some() || task.is_of_hook) && task.desired_status == DesiredStatus::Running)
        .filter(|task| status_of(view, task) != Some(TaskStatus::Stopped))
        .collect()
}
