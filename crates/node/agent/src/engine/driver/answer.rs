//! Shims that do not answer: a task ends, whatever its shim waits for.
//!
//! A shim is one loop. A container may have found a way to hold it up, or somebody has stopped the process. As long as the
//! task is to run nobody is in a hurry; once it is to stop the shim is killed in the end, with all that the task has.

use std::future::Future;
use std::time::Duration;

use estiva_agent_protocol::task::{Container, Task};
use estiva_planning::lifecycle::{ContainerStatus, DesiredStatus};
use estiva_shim::client::ClientError;
use tokio::time::{Instant, sleep, timeout};
use tracing::warn;

use super::Driver;

/// From SIGTERM to SIGKILL where the task definition does not say: ECS's default.
const STOP_TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);
/// How long after the containers' time to stop a shim may take to answer. It answers within milliseconds; this is for a
/// machine that swaps.
pub(super) const ANSWER_MAX: Duration = Duration::from_secs(10);
/// What a task, and each container that was ended by this, is told to have ended of.
pub(super) const HUNG: &str = "ContainerRuntimeError: the task's shim did not answer after the stop timeout; it was killed with the task's processes";

/// How long the container has from SIGTERM to SIGKILL.
pub(super) fn stop_timeout(container: &Container) -> Duration {
    container.stop_timeout.map_or(STOP_TIMEOUT_DEFAULT, |seconds| Duration::from_secs(seconds.into()))
}

/// How long the task takes to end at most, one container after another, whatever its shim does.
pub(crate) fn stop_max(task: &Task) -> Duration {
    task.containers.iter().map(stop_timeout).sum::<Duration>() + ANSWER_MAX * 3
}

impl Driver {
    /// The shim's answer, however long it takes while the task is to run.
    pub(super) async fn answer<T>(
        &mut self,
        call: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<T, ClientError> {
        let patience = self.record.task.containers.iter().map(stop_timeout).max().unwrap_or_default() + ANSWER_MAX;
        let (mut desired, stopping) = (self.desired.clone(), self.stopping);
        let overdue = async {
            // The engine has gone: the agent is shutting down, and its tasks run on.
            if !stopping && desired.wait_for(|desired| *desired == DesiredStatus::Stopped).await.is_err() {
                std::future::pending::<()>().await;
            }
            sleep(patience).await;
        };
        tokio::select! {
            biased;
            answer = call => answer,
            () = overdue => {
                self.hung = true;
                Err(ClientError::NoAnswer)
            }
        }
    }

    /// As [`Self::answer`], of a task whose containers have ended.
    pub(super) async fn last_answer<T>(call: impl Future<Output = Result<T, ClientError>>) -> Result<T, ClientError> {
        timeout(ANSWER_MAX, call).await.unwrap_or(Err(ClientError::NoAnswer))
    }

    /// When the first of the containers that were told to stop must have ended.
    pub(super) fn stop_deadline(&self) -> Option<Instant> {
        let runs = |name: &str| self.container(name).is_some_and(|it| it.status != ContainerStatus::Stopped);
        self.told.iter().filter(|(name, _)| runs(name)).map(|(_, deadline)| *deadline).min()
    }

    /// Ends the task without its shim.
    pub(super) async fn end_hung(&mut self) {
        warn!(task = self.record.id(), "the task's shim does not answer; killing it with the task's processes");
        self.record.known.reason.get_or_insert_with(|| HUNG.to_owned());
        self.adopt_orphans(HUNG).await;
    }
}
