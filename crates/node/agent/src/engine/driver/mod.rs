//! Drives one task on this node from its arrival to its end: images, network, shim, containers, and back.
//!
//! One driver runs a task; a slow one never delays another. Every step can be cut short by the wish to stop and by
//! `kill -9`: what a driver finds when it is started again is what it goes on from.

mod answer;
mod end;
mod known;
mod start;
mod steps;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use estiva_planning::lifecycle::{DesiredStatus, HealthStatus, TaskStatus};
use estiva_shim::client::{Client, Events};
use estiva_shim::protocol::Event;
use estiva_shim::spec::ContainerSpec;
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tracing::{info, warn};

use super::execs::Execs;
use super::failure::StartFailure;
use super::host::Host;
use super::record::{KnownTask, TaskRecord};
use crate::logs::Shippers;

/// How long a finished task waits for its last log lines to arrive before it is reported STOPPED all the same.
const LOG_DRAIN_MAX: Duration = Duration::from_secs(2);

/// Why containers ended whose shim is gone.
const KILLED: &str = "ContainerRuntimeError: the container's shim was killed";

pub(crate) use answer::stop_max;

/// One task's driver.
pub(super) struct Driver {
    host: Arc<Host>,
    dir: PathBuf,
    record: TaskRecord,
    desired: watch::Receiver<DesiredStatus>,
    known: watch::Sender<KnownTask>,
    execs: Execs,
    shippers: Shippers,
    /// Containers that were not started yet, in the order of the task definition.
    pending: Vec<ContainerSpec>,
    /// Those of them that the shim has made already: for an agent that has ended since.
    created: BTreeSet<String>,
    /// When each container was last started.
    started: BTreeMap<String, Instant>,
    /// The health checks that run.
    monitors: BTreeMap<String, AbortHandle>,
    health: (mpsc::UnboundedSender<HealthNews>, mpsc::UnboundedReceiver<HealthNews>),
    /// Nothing is started any more.
    stopping: bool,
    /// Containers that were told to stop, and when each must have ended.
    told: BTreeMap<String, Instant>,
    /// The shim did not answer in time.
    hung: bool,
}

/// A container's name, and its health.
type HealthNews = (String, HealthStatus);

/// A task whose shim answers.
struct Live {
    client: Client,
    events: Events,
}

impl Driver {
    pub fn new(
        host: Arc<Host>,
        dir: PathBuf,
        record: TaskRecord,
        desired: watch::Receiver<DesiredStatus>,
        known: watch::Sender<KnownTask>,
        execs: Execs,
    ) -> Self {
        let shippers = Shippers::new(Arc::clone(&host));
        Self {
            host,
            dir,
            record,
            desired,
            known,
            execs,
            shippers,
            pending: Vec::new(),
            created: BTreeSet::new(),
            started: BTreeMap::new(),
            monitors: BTreeMap::new(),
            health: mpsc::unbounded_channel(),
            stopping: false,
            told: BTreeMap::new(),
            hung: false,
        }
    }

    /// Returns once the task is STOPPED, cleaned up, and its last log lines are shipped.
    pub async fn run(mut self) {
        let ended = self.record.known.status == TaskStatus::Stopped;
        if !ended && !self.all_stopped() {
            self.live().await;
        }
        self.stop_monitors();
        // A task that the disk did not take has begun nothing.
        if !ended || self.dir.exists() {
            self.clean_up().await;
        }
        self.shippers.finish(&self.record, &self.dir);
        if !ended {
            let drained = tokio::time::timeout(LOG_DRAIN_MAX, self.shippers.drained()).await;
            if drained.is_err() {
                warn!(task = self.record.id(), "log lines are still on their way; they are kept and sent on");
            }
            self.end();
        }
        self.shippers.drained().await;
    }

    async fn live(&mut self) {
        match self.open().await {
            Ok(live) => self.supervise(live).await,
            Err(failure) => {
                self.fail(&failure);
                if self.record.shim_spawned {
                    match self.reconnect().await {
                        Some(live) => self.supervise(live).await,
                        None if self.hung => self.end_hung().await,
                        None => self.adopt_orphans(KILLED).await,
                    }
                }
            }
        }
    }

    /// The task cannot go on: it ends, with this as its reason.
    fn fail(&mut self, failure: &StartFailure) {
        self.stopping = true;
        if matches!(failure, StartFailure::StopRequested) {
            return;
        }
        info!(task = self.record.id(), reason = %failure, "task failed to start");
        self.record.known.reason.get_or_insert_with(|| failure.to_string());
        match failure.container_name() {
            Some(name) => self.container_stopped(name, None, Some(failure.to_string())),
            None => self.publish(),
        }
    }

    /// Until every container has ended.
    async fn supervise(&mut self, mut live: Live) {
        loop {
            if self.hung {
                return self.end_hung().await;
            }
            self.stopping |= *self.desired.borrow() == DesiredStatus::Stopped || self.essential_ended();
            if self.stopping {
                self.forget_pending();
                self.stop_next(&live.client).await;
                if self.hung {
                    continue;
                }
            } else if let Err(failure) = self.start_next(&live.client).await {
                self.fail(&failure);
                continue;
            }
            if self.all_stopped() {
                return;
            }
            let (start_timeout, stop_deadline) = (self.next_start_timeout(), self.stop_deadline());
            tokio::select! {
                event = live.events.next() => {
                    if let Some(event) = event {
                        self.take(&live.client, event).await;
                        continue;
                    }
                    self.execs.lost();
                    let Some(again) = self.reconnect().await else { return self.adopt_orphans(KILLED).await };
                    live = again;
                    self.told.clear();
                    self.look(&live.client).await;
                }
                Some((name, health)) = self.health.1.recv() => self.set_health(&name, health),
                changed = self.desired.changed(), if !self.stopping => {
                    // The engine has gone: the agent is shutting down, and its tasks run on.
                    if changed.is_err() {
                        std::future::pending::<()>().await;
                    }
                }
                () = sleep_until(start_timeout) => {}
                () = sleep_until(stop_deadline) => self.hung = true,
            }
        }
    }

    async fn take(&mut self, client: &Client, event: Event) {
        match event {
            Event::Exited { name, exit } => self.container_exited(client, &name, &exit).await,
            Event::ExecEnded { container, id, code } => self.execs.ended(container, id, code),
            Event::Started { .. } | Event::LogEnded { .. } => {}
        }
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
