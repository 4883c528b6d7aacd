//! The credentials of tasks' roles: in memory alone, newest ones only. After a restart of the agent the control plane sends
//! them again.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use estiva_agent_protocol::task::Credentials;

/// By the task's ARN.
#[derive(Default)]
pub(crate) struct TaskCredentials(Mutex<HashMap<String, Credentials>>);

impl TaskCredentials {
    /// Takes the place of what there was.
    pub fn put(&self, task_arn: &str, credentials: Credentials) {
        self.lock().insert(task_arn.to_owned(), credentials);
    }

    /// The task's, once they have come.
    pub fn get(&self, task_arn: &str) -> Option<Credentials> {
        self.lock().get(task_arn).cloned()
    }

    /// The task has ended.
    pub fn forget(&self, task_arn: &str) {
        self.lock().remove(task_arn);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Credentials>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
