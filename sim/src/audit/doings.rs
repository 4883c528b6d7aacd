//! What one transaction does, as far as promises are about it.

use std::sync::Arc;

use estiva_ecs::service::rollout_table::{RolloutRow, ServiceDeploymentRow};
use estiva_ecs::task::table::TaskRow;
use estiva_planning::lifecycle::DesiredStatus;
use estiva_store::Change;

/// The doings of a transaction.
#[derive(Default)]
pub(super) struct Doings {
    /// Tasks that come to be.
    pub started: Vec<Arc<TaskRow>>,
    /// Tasks that are told to end, as they are afterwards.
    pub stopped: Vec<Arc<TaskRow>>,
    /// Service deployments that change: before, and after.
    pub deployments: Vec<(Option<Arc<ServiceDeploymentRow>>, Arc<ServiceDeploymentRow>)>,
    /// Whether tasks are moved to particular container instances.
    pub moves_tasks: bool,
}

impl Doings {
    /// Of a transaction's changes.
    pub fn of(transaction: &[Change]) -> Self {
        let mut doings = Self::default();
        for change in transaction {
            if let Some(task) = change.row::<TaskRow>() {
                doings.take_task(task.before.as_deref(), task.after);
            } else if let Some(row) = change.row::<ServiceDeploymentRow>() {
                doings.deployments.extend(row.after.map(|after| (row.before, after)));
            } else if let Some(rollout) = change.row::<RolloutRow>() {
                doings.moves_tasks |= rollout.after.is_some_and(|row| row.extra > 0);
            }
        }
        doings
    }

    fn take_task(&mut self, before: Option<&TaskRow>, after: Option<Arc<TaskRow>>) {
        let Some(after) = after else { return };
        let to_run = |row: &TaskRow| row.desired_status == DesiredStatus::Running;
        match before {
            None => self.started.push(after),
            Some(before) if to_run(before) && !to_run(&after) => self.stopped.push(after),
            Some(_) => {}
        }
    }
}
