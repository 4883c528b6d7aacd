//! The end of a task: what its shim left, and what it held.

use std::collections::BTreeMap;
use std::time::Duration;

use estiva_model::Timestamp;
use estiva_planning::lifecycle::{ContainerStatus, TaskStatus};
use estiva_shim::client::{self, Client, ClientError, Liveness};
use tracing::warn;

use super::{Driver, Live};
use crate::engine::failure::StartFailure;
use crate::engine::prepare;
use crate::fail_point;

/// A step of the clean-up that fails is tried again after this long.
const CLEANUP_RETRY: Duration = Duration::from_secs(1);

impl Driver {
    pub(super) async fn reconnect(&self) -> Option<Live> {
        if self.hung || client::liveness(&self.dir) != Liveness::Alive {
            return None;
        }
        let (client, events) = client::connect(&self.shim().socket).await.ok()?;
        Some(Live { client, events })
    }

    /// The shim is gone, or must go: its containers have nobody to hear of their end, so they end.
    pub(super) async fn adopt_orphans(&mut self, why: &str) {
        let exits = match client::kill_orphans(&self.dir, &self.shim()).await {
            Ok(orphans) => orphans.exits,
            Err(error) => {
                warn!(
                    task = self.record.id(),
                    error = &error as &dyn std::error::Error,
                    "cannot end what a killed shim left"
                );
                BTreeMap::new()
            }
        };
        for name in self.container_names() {
            match exits.get(&name) {
                Some(Some(exit)) => self.container_stopped(&name, Some(exit), None),
                _ => self.container_stopped(&name, None, Some(why.to_owned())),
            }
        }
    }

    /// Takes away everything but the task's directory. Tries until it is done: a leak would be for ever.
    pub(super) async fn clean_up(&mut self) {
        loop {
            match self.try_clean_up().await {
                Ok(()) => return,
                Err(error) => {
                    warn!(task = self.record.id(), %error, "clean-up will be tried again");
                    tokio::time::sleep(CLEANUP_RETRY).await;
                }
            }
        }
    }

    async fn try_clean_up(&mut self) -> Result<(), StartFailure> {
        if self.record.shim_spawned {
            if let Some(live) = self.reconnect().await
                && let Err(error) = dismiss(&live.client).await
            {
                let error: &dyn std::error::Error = &error;
                warn!(task = self.record.id(), error, "the task's shim does not clear up; it is killed");
            }
            client::kill_orphans(&self.dir, &self.shim()).await.map_err(StartFailure::shim)?;
        }
        prepare::release(&self.host, &self.record.task, &self.dir).await
    }

    pub(super) fn end(&mut self) {
        self.record.known.execution_stopped_at.get_or_insert_with(Timestamp::now);
        for name in self.container_names() {
            self.set_container(&name, ContainerStatus::Stopped);
        }
        self.record.known.status = TaskStatus::Stopped;
        fail_point::reach("all-released");
        self.publish();
        fail_point::reach("end-kept");
    }
}

/// Lets the shim take away what it has, and end.
async fn dismiss(client: &Client) -> Result<(), ClientError> {
    Driver::last_answer(client.kill_all()).await?;
    for state in Driver::last_answer(client.state()).await?.containers {
        Driver::last_answer(client.delete(&state.name)).await?;
    }
    fail_point::reach("containers-deleted");
    Driver::last_answer(client.shutdown()).await?;
    fail_point::reach("shim-shut-down");
    Ok(())
}
