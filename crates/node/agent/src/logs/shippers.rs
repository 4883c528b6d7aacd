//! The shippers of one task.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use estiva_agent_protocol::task::Container;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::warn;

use super::destination::{Destination, LogSetupError};
use super::shipper::Shipper;
use crate::engine::{Host, TaskRecord};

/// The shippers of one task, one for each container whose log driver is awslogs.
pub(crate) struct Shippers {
    host: Arc<Host>,
    containers: BTreeSet<String>,
    closed: watch::Sender<bool>,
    running: JoinSet<()>,
}

impl Shippers {
    /// None yet.
    pub fn new(host: Arc<Host>) -> Self {
        Self { host, containers: BTreeSet::new(), closed: watch::Sender::new(false), running: JoinSet::new() }
    }

    /// Makes the container's log stream and begins to ship its output. A second call for a container does nothing.
    ///
    /// A control plane that cannot be reached is no error: the output waits on disk.
    pub async fn start(&mut self, record: &TaskRecord, container: &Container, dir: &Path) -> Result<(), LogSetupError> {
        let Some(destination) = self.destination(record, container)? else { return Ok(()) };
        if !self.containers.contains(&container.name) {
            match destination.create().await {
                Err(error) if !error.is_retryable() => return Err(LogSetupError::Service(error)),
                _ => self.ship(record, container, dir, destination),
            }
        }
        Ok(())
    }

    /// As [`Self::start`] for a container that was started already: its output is kept whatever becomes of the log group.
    pub fn resume(&mut self, record: &TaskRecord, container: &Container, dir: &Path) {
        match self.destination(record, container) {
            Ok(Some(destination)) if !self.containers.contains(&container.name) => {
                self.ship(record, container, dir, destination);
            }
            Ok(_) => {}
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                warn!(task = record.id(), container = container.name, error, "log lines have nowhere to go");
            }
        }
    }

    /// Nothing writes to the task's spools any more: what is left in them is shipped, and then the shippers end.
    pub fn finish(&mut self, record: &TaskRecord, dir: &Path) {
        for container in &record.task.containers {
            if spool(dir, &container.name).exists() {
                self.resume(record, container, dir);
            }
        }
        self.closed.send_replace(true);
    }

    /// Returns when every shipper has shipped its container's last line.
    pub async fn drained(&mut self) {
        while self.running.join_next().await.is_some() {}
    }

    fn destination(&self, record: &TaskRecord, container: &Container) -> Result<Option<Destination>, LogSetupError> {
        let Some(control_plane) = &self.host.control_plane else { return Ok(None) };
        let known = record.known.containers.iter().find(|it| it.name == container.name);
        let runtime_id = known.map_or("", |it| &it.runtime_id);
        Destination::of(container, record.id(), runtime_id, control_plane)
    }

    fn ship(&mut self, record: &TaskRecord, container: &Container, dir: &Path, destination: Destination) {
        self.containers.insert(container.name.clone());
        let spool = spool(dir, &container.name);
        let shipper = Shipper { task_id: record.id().to_owned(), spool, destination, closed: self.closed.subscribe() };
        self.running.spawn(shipper.run());
    }
}

fn spool(dir: &Path, container: &str) -> std::path::PathBuf {
    dir.join("logs").join(container)
}
