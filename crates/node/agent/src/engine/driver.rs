//! Drives one task on this node from its arrival to its end: images, network, shim, containers, and back.
//!
//! One driver runs a task; a slow one never delays another. Every step can be cut short by the wish to stop and by
//! `kill -9`: what a driver finds when it is started again is what it goes on from.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use estiva_model::Timestamp;
use estiva_planning::lifecycle::{ContainerStatus, DesiredStatus, TaskStatus};
use estiva_shim::client::{self, Client, Events, Liveness};
use estiva_shim::protocol::Event;
use estiva_shim::spec::{ContainerSpec, TaskSpec};
use estiva_shim::status::{Exit, Status};
use tokio::sync::watch;
use tracing::{info, warn};

use super::failure::StartFailure;
use super::host::Host;
use super::prepare::{self, Prepared};
use super::record::{KnownTask, TaskRecord};
use crate::logs::Shippers;

/// From SIGTERM to SIGKILL where the task definition does not say: ECS's default.
const STOP_TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);
/// How long a finished task waits for its last log lines to arrive before it is reported STOPPED all the same.
const LOG_DRAIN_MAX: Duration = Duration::from_secs(2);
/// A step of the clean-up that fails is tried again after this long.
const CLEANUP_RETRY: Duration = Duration::from_secs(1);

/// One task's driver.
pub(super) struct Driver {
    host: Arc<Host>,
    dir: PathBuf,
    record: TaskRecord,
    desired: watch::Receiver<DesiredStatus>,
    known: watch::Sender<KnownTask>,
    shippers: Shippers,
}

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
    ) -> Self {
        let shippers = Shippers::new(Arc::clone(&host));
        Self { host, dir, record, desired, known, shippers }
    }

    /// Returns once the task is STOPPED, cleaned up, and its last log lines are shipped.
    pub async fn run(mut self) {
        let ended = self.record.known.status == TaskStatus::Stopped;
        if !ended && !self.all_stopped() {
            self.live().await;
        }
        self.clean_up().await;
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
        match self.start().await {
            Ok(live) => self.supervise(live).await,
            Err(StartFailure::StopRequested) => self.stop_what_started().await,
            Err(failure) => {
                info!(task = self.record.id(), reason = %failure, "task failed to start");
                self.record.known.reason.get_or_insert_with(|| failure.to_string());
                match failure.container_name() {
                    Some(name) => self.container_stopped(name, None, Some(failure.to_string())),
                    None => self.publish(),
                }
                self.stop_what_started().await;
            }
        }
    }

    async fn start(&mut self) -> Result<Live, StartFailure> {
        let liveness = if self.record.shim_spawned {
            client::liveness(&self.dir).map_err(StartFailure::shim)?
        } else {
            Liveness::NeverStarted
        };
        let prepared = match liveness {
            Liveness::Gone => return Err(StartFailure::ShimGone),
            // Started, and then the machine lost what the shim had noted.
            Liveness::NeverStarted if self.record.known.status == TaskStatus::Running => {
                return Err(StartFailure::ShimGone);
            }
            Liveness::Alive if self.record.known.status == TaskStatus::Running => None,
            _ => Some(self.prepare(liveness).await?),
        };
        let (client, events) = client::connect(&self.dir).await.map_err(StartFailure::shim)?;
        let live = Live { client, events };
        let states = live.client.state().await.map_err(StartFailure::shim)?;
        let mut there: BTreeMap<String, Status> =
            states.containers.into_iter().map(|state| (state.name, state.status)).collect();
        if let Some(prepared) = prepared {
            self.start_logs().await?;
            for container in &prepared.containers {
                if *self.desired.borrow() == DesiredStatus::Stopped {
                    return Err(StartFailure::StopRequested);
                }
                self.start_container(&live.client, container, there.remove(&container.name)).await?;
            }
            self.set_running()?;
        } else {
            for (name, status) in there {
                if let Status::Stopped(exit) = status {
                    self.container_stopped(&name, Some(&exit), None);
                }
            }
            for container in &self.record.task.containers {
                self.shippers.resume(&self.record, container, &self.dir);
            }
        }
        Ok(live)
    }

    /// Images, shim, network and files; on a restart in the middle, whatever of them is there already is used again.
    async fn prepare(&mut self, liveness: Liveness) -> Result<Prepared, StartFailure> {
        self.record.known.pull_started_at.get_or_insert_with(Timestamp::now);
        let mut stop = self.desired.clone();
        // Only the pull is cut short: it is long, and leaves nothing that the clean-up could miss.
        let images = tokio::select! {
            biased;
            _ = stop.wait_for(|desired| *desired == DesiredStatus::Stopped) => return Err(StartFailure::StopRequested),
            images = prepare::images(&self.host, &self.record.task) => images?,
        };
        self.record.known.pull_stopped_at.get_or_insert_with(Timestamp::now);
        for (container, image) in self.record.known.containers.iter_mut().zip(&images) {
            container.image_digest = Some(image.digest.clone());
        }
        // A shim that is alive was started with the network that is noted. It has mounts of its own, and would not see a
        // network namespace that is bound later.
        if liveness == Liveness::NeverStarted || self.record.network.is_none() {
            let network = prepare::network(&self.host, &self.record.task).await?;
            for container in &mut self.record.known.containers {
                let ports = self.record.task.containers.iter().find(|it| it.name == container.name);
                container.network_bindings = network.bindings_of(ports.map_or(&[], |it| &it.port_mappings));
            }
            self.record.network = Some(network);
            self.record.shim_spawned = true;
            // Neither network nor shim outlives the machine.
            self.record.save_until_reboot(&self.dir).map_err(StartFailure::record)?;
        }
        if liveness == Liveness::NeverStarted {
            self.spawn_shim().await?;
        }
        prepare::containers(&self.host, &self.record, &self.dir, &images)
    }

    async fn spawn_shim(&self) -> Result<(), StartFailure> {
        let spec = TaskSpec {
            task_id: self.record.id().to_owned(),
            socket: self.host.run_dir.join("shim").join(format!("{}.sock", self.record.id())),
            runtime_dir: self.host.run_dir.join("shim").join(self.record.id()),
            cgroup: format!("{}/{}", self.host.cgroup, self.record.id()),
            resources: prepare::task_resources(&self.record.task),
        };
        client::spawn(&self.host.exe, &self.dir, &spec).await.map_err(StartFailure::shim)
    }

    async fn start_logs(&mut self) -> Result<(), StartFailure> {
        for container in &self.record.task.containers {
            let started = self.shippers.start(&self.record, container, &self.dir).await;
            started.map_err(|error| StartFailure::logs(&container.name, &error))?;
        }
        Ok(())
    }

    async fn start_container(
        &mut self,
        client: &Client,
        spec: &ContainerSpec,
        there: Option<Status>,
    ) -> Result<(), StartFailure> {
        let name = &spec.name;
        let refused = |error| StartFailure::container(name, error);
        if there.is_none() {
            client.create(spec).await.map_err(refused)?;
        }
        match there {
            None | Some(Status::Created { .. }) => {
                client.start(name).await.map_err(refused)?;
                self.set_container(name, ContainerStatus::Running);
            }
            Some(Status::Running { .. }) => self.set_container(name, ContainerStatus::Running),
            Some(Status::Stopped(exit)) => self.container_stopped(name, Some(&exit), None),
        }
        Ok(())
    }

    /// Until every container has ended.
    async fn supervise(&mut self, mut live: Live) {
        let mut stopping = false;
        loop {
            if self.all_stopped() {
                return;
            }
            let desired_stopped = *self.desired.borrow() == DesiredStatus::Stopped;
            if !stopping && (desired_stopped || self.essential_ended()) {
                stopping = true;
                self.stop_containers(&live.client).await;
            }
            tokio::select! {
                event = live.events.next() => match event {
                    Some(Event::Exited { name, exit }) => self.container_stopped(&name, Some(&exit), None),
                    Some(_) => {}
                    None => match self.reconnect().await {
                        Some(again) => {
                            live = again;
                            stopping = false;
                        }
                        None => return self.adopt_orphans().await,
                    },
                },
                changed = self.desired.changed(), if !stopping => {
                    // The engine has gone: the agent is shutting down, and its tasks run on.
                    if changed.is_err() {
                        std::future::pending::<()>().await;
                    }
                }
            }
        }
    }

    /// Stops the containers, the last one first.
    async fn stop_containers(&self, client: &Client) {
        for container in self.record.task.containers.iter().rev() {
            let known = self.record.known.containers.iter().find(|it| it.name == container.name);
            if known.is_none_or(|it| it.status != ContainerStatus::Running) {
                continue;
            }
            let timeout = container.stop_timeout.map_or(STOP_TIMEOUT_DEFAULT, |s| Duration::from_secs(s.into()));
            if let Err(error) = client.stop(&container.name, None, timeout).await {
                warn!(
                    task = self.record.id(),
                    container = container.name,
                    error = &error as &dyn std::error::Error,
                    "cannot stop the container"
                );
            }
        }
    }

    /// Ends a task whose start was cut short: by a failure, or by the wish to stop.
    async fn stop_what_started(&mut self) {
        if !self.record.shim_spawned {
            return;
        }
        match self.reconnect().await {
            None => self.adopt_orphans().await,
            Some(live) => {
                let states = live.client.state().await.map(|state| state.containers).unwrap_or_default();
                for state in states {
                    match state.status {
                        Status::Running { .. } => self.set_container(&state.name, ContainerStatus::Running),
                        Status::Stopped(exit) => self.container_stopped(&state.name, Some(&exit), None),
                        Status::Created { .. } => self.container_stopped(&state.name, None, None),
                    }
                }
                for container in &mut self.record.known.containers {
                    if container.status == ContainerStatus::Pending {
                        container.status = ContainerStatus::Stopped;
                    }
                }
                self.stop_containers(&live.client).await;
                Box::pin(self.supervise(live)).await;
            }
        }
    }

    async fn reconnect(&self) -> Option<Live> {
        if client::liveness(&self.dir).ok()? != Liveness::Alive {
            return None;
        }
        let (client, events) = client::connect(&self.dir).await.ok()?;
        Some(Live { client, events })
    }

    /// The shim was killed: its containers have nobody to hear of their end, so they end.
    async fn adopt_orphans(&mut self) {
        let exits = match client::kill_orphans(&self.dir).await {
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
                _ => self.container_stopped(
                    &name,
                    None,
                    Some("ContainerRuntimeError: the container's shim was killed".to_owned()),
                ),
            }
        }
    }

    /// Takes away everything but the task's directory. Tries until it is done: a leak would be for ever.
    async fn clean_up(&mut self) {
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
        if self.record.shim_spawned && self.dir.join("task.json").exists() {
            if let Some(live) = self.reconnect().await {
                live.client.kill_all().await.map_err(StartFailure::shim)?;
                for state in live.client.state().await.map_err(StartFailure::shim)?.containers {
                    live.client.delete(&state.name).await.map_err(StartFailure::shim)?;
                }
                live.client.shutdown().await.map_err(StartFailure::shim)?;
            }
            client::kill_orphans(&self.dir).await.map_err(StartFailure::shim)?;
        }
        prepare::release(&self.host, &self.record.task, &self.dir).await
    }

    fn end(&mut self) {
        self.record.known.execution_stopped_at.get_or_insert_with(Timestamp::now);
        for name in self.container_names() {
            self.set_container(&name, ContainerStatus::Stopped);
        }
        self.record.known.status = TaskStatus::Stopped;
        self.publish();
    }

    fn set_running(&mut self) -> Result<(), StartFailure> {
        self.record.known.status = TaskStatus::Running;
        self.record.known.version += 1;
        self.save()?;
        self.known.send_replace(self.record.known.clone());
        Ok(())
    }

    fn set_container(&mut self, name: &str, status: ContainerStatus) {
        if let Some(container) = self.record.known.containers.iter_mut().find(|it| it.name == name) {
            container.status = container.status.max(status);
        }
    }

    fn container_stopped(&mut self, name: &str, exit: Option<&Exit>, reason: Option<String>) {
        let Some(container) = self.record.known.containers.iter_mut().find(|it| it.name == name) else { return };
        if container.status == ContainerStatus::Stopped {
            return;
        }
        container.status = ContainerStatus::Stopped;
        container.exit_code = exit.map(|exit| exit.code);
        let oom = exit.is_some_and(|exit| exit.oom);
        container.reason =
            reason.or_else(|| oom.then(|| "OutOfMemoryError: Container killed due to memory usage".to_owned()));
        self.publish();
    }

    /// Keeps the state and hands it to the reporter. A disk that refuses must not stop the driver: the state is
    /// reported from memory, and found again from the shim's files after a restart.
    fn publish(&mut self) {
        self.record.known.version += 1;
        if let Err(error) = self.record.save(&self.dir) {
            warn!(task = self.record.id(), error = &error as &dyn std::error::Error, "cannot keep the task's state");
        }
        self.known.send_replace(self.record.known.clone());
    }

    fn save(&self) -> Result<(), StartFailure> {
        self.record.save(&self.dir).map_err(StartFailure::record)
    }

    fn container_names(&self) -> Vec<String> {
        self.record.known.containers.iter().map(|it| it.name.clone()).collect()
    }

    fn all_stopped(&self) -> bool {
        self.record.known.containers.iter().all(|it| it.status == ContainerStatus::Stopped)
    }

    fn essential_ended(&self) -> bool {
        let ended = |name: &str| {
            self.record.known.containers.iter().any(|it| it.name == name && it.status == ContainerStatus::Stopped)
        };
        self.record.task.containers.iter().any(|it| it.essential && ended(&it.name))
    }
}
