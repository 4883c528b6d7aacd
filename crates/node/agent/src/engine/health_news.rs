//! Which tasks' health is not what was last told.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

/// ARNs of tasks, each once.
#[derive(Debug, Default)]
pub(crate) struct HealthNews {
    tasks: Mutex<BTreeSet<String>>,
    notify: Notify,
}

impl HealthNews {
    /// The health of one of the task's containers has changed.
    pub fn add(&self, task_arn: &str) {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).insert(task_arn.to_owned());
        self.notify.notify_one();
    }

    /// Waits for news, and takes them.
    pub async fn take(&self) -> BTreeSet<String> {
        loop {
            let tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
            if !tasks.is_empty() {
                return tasks;
            }
            self.notify.notified().await;
        }
    }
}
