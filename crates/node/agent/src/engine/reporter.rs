//! Tells the control plane how one task is. Level-triggered: what is told is the newest state, until it is accepted.

use estiva_agent_protocol::task::Task;
use estiva_api_ecs::SubmitTaskStateChange;
use estiva_planning::lifecycle::TaskStatus;
use tokio::sync::watch;
use tracing::{debug, warn};

use super::host::Host;
use super::record::KnownTask;
use super::report;
use super::task_dir::TaskDir;
use crate::aside::aside;
use crate::backoff::Backoff;
use crate::fail_point;

/// One task's reporter.
pub(super) struct Reporter {
    client: estiva_wire::client::Client,
    task_arn: String,
    cluster_arn: String,
    dir: TaskDir,
    known: watch::Receiver<KnownTask>,
    admitted: watch::Receiver<bool>,
}

impl Reporter {
    /// `None` for a node without a control plane.
    pub fn new(host: &Host, task: &Task, dir: TaskDir, known: watch::Receiver<KnownTask>) -> Option<Self> {
        let control_plane = host.control_plane.as_ref()?;
        Some(Self {
            client: control_plane.client.clone(),
            task_arn: task.arn.clone(),
            cluster_arn: task.task_cluster_arn.clone(),
            dir,
            known,
            admitted: host.admitted.subscribe(),
        })
    }

    /// Returns once the task's end was accepted, or once nobody can change its state any more.
    pub async fn run(mut self) {
        // An agent over a copy of the node's directory, as of a machine that was cloned, does not find the node's containers, and
        // would report their end. It has no session, as the node has one.
        if self.admitted.wait_for(|admitted| *admitted).await.is_err() {
            return;
        }
        let mut reported = self.dir.reported();
        loop {
            let known = self.known.borrow_and_update().clone();
            if reported.is_none_or(|version| known.version > version)
                && let Some(request) = report::of(&self.task_arn, &self.cluster_arn, &known)
            {
                // A newer state takes the place of one that is still being told.
                tokio::select! {
                    biased;
                    () = submit(&self.client, &request) => {}
                    changed = self.known.changed() => match changed {
                        Ok(()) => continue,
                        Err(_) => submit(&self.client, &request).await,
                    },
                }
                fail_point::reach(if known.status == TaskStatus::Stopped {
                    "end-reported"
                } else {
                    "running-reported"
                });
                reported = Some(known.version);
                if let Err(error) = aside(|| self.dir.set_reported(known.version)) {
                    debug!(
                        task = self.task_arn,
                        error = &error as &dyn std::error::Error,
                        "the report may be made again after a restart"
                    );
                }
            }
            if known.status == TaskStatus::Stopped {
                return;
            }
            if self.known.changed().await.is_err() {
                return;
            }
        }
    }
}

/// Tries until the control plane answers. What it refuses is not told again: it knows better.
async fn submit(client: &estiva_wire::client::Client, request: &estiva_api_ecs::types::SubmitTaskStateChangeRequest) {
    let mut backoff = Backoff::default();
    loop {
        match client.call::<SubmitTaskStateChange>(request).await {
            Ok(_) => return,
            Err(error) if error.is_retryable() => {
                debug!(error = &error as &dyn std::error::Error, "a task's state was not reported yet");
            }
            // It has said nothing of the task: were this the end, nobody else would ever tell it.
            Err(error) if error.is_unauthenticated() => {
                warn!(error = &error as &dyn std::error::Error, "the control plane does not know the node by its key");
            }
            Err(error) => {
                let task = request.task.as_deref().unwrap_or_default();
                warn!(task, error = &error as &dyn std::error::Error, "the control plane refused a task's state");
                return;
            }
        }
        backoff.wait().await;
    }
}
