//! How many tasks there are.

use estiva_planning::lifecycle::TaskStatus;
use estiva_store::Snapshot;

use crate::task::table::{BY_DEPLOYMENT_STATUS, TaskStatusRow};

/// How many tasks of a deployment are before RUNNING, and RUNNING.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct TaskCounts {
    pub pending: usize,
    pub running: usize,
}

impl TaskCounts {
    pub fn of(view: &Snapshot, deployment: &str) -> Self {
        let count = |status: TaskStatus| {
            view.index_count::<TaskStatusRow>(BY_DEPLOYMENT_STATUS, &format!("{deployment}/{}", status.as_str()))
        };
        let pending = [TaskStatus::Provisioning, TaskStatus::Pending, TaskStatus::Activating];
        Self { pending: pending.into_iter().map(count).sum(), running: count(TaskStatus::Running) }
    }
}

/// A number as the API has it.
pub(super) fn count(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}
