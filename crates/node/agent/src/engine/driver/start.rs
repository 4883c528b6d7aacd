//! From a record to a shim that answers, with the task's containers ready to be created.

use std::sync::Arc;
use std::time::Duration;

use estiva_model::Timestamp;
use estiva_planning::lifecycle::{DesiredStatus, TaskStatus};
use estiva_shim::client::{self, Client, Liveness};
use estiva_shim::spec::TaskSpec;
use estiva_shim::status::Status;
use tokio::time::Instant;

use super::{Driver, Live};
use crate::aside::aside;
use crate::engine::failure::StartFailure;
use crate::engine::prepare::{self, Prepared};
use crate::fail_point;

impl Driver {
    /// Images, network, shim: whatever of them is there already is used again.
    pub(super) async fn open(&mut self) -> Result<Live, StartFailure> {
        let liveness = if self.record.shim_spawned { client::liveness(&self.dir) } else { Liveness::NeverStarted };
        let prepared = match liveness {
            Liveness::Gone => return Err(StartFailure::ShimGone),
            // Started, and then the machine lost what the shim had noted.
            Liveness::NeverStarted if self.record.known.status == TaskStatus::Running => {
                return Err(StartFailure::ShimGone);
            }
            Liveness::Alive if self.record.known.status == TaskStatus::Running => None,
            _ => Some(self.prepare(liveness).await?),
        };
        let (client, events) = client::connect(&self.shim().socket).await.map_err(StartFailure::shim)?;
        match prepared {
            Some(prepared) => {
                self.pending = prepared.containers;
                for failure in prepared.failures {
                    self.go_on_without(failure)?;
                }
                self.start_logs().await?;
            }
            None => {
                for container in &self.record.task.containers {
                    self.shippers.resume(&self.record, container, &self.dir);
                }
            }
        }
        self.look(&client).await;
        Ok(Live { client, events })
    }

    /// Takes over what the shim has.
    pub(super) async fn look(&mut self, client: &Client) {
        // A shim that does not answer closes the connection too, which is heard of there.
        let Ok(states) = self.answer(client.state()).await else { return };
        self.shippers.connected(states.tells_of_logs.then(|| client.clone()));
        for state in states.containers {
            match state.status {
                Status::Running { started_at_ms, .. } => self.found_running(client, &state.name, started_at_ms),
                Status::Stopped(exit) => self.container_exited(client, &state.name, &exit).await,
                // Its start is still to come, or, when the task is to end, its end.
                Status::Created { .. } => drop(self.created.insert(state.name)),
            }
        }
    }

    fn found_running(&mut self, client: &Client, name: &str, started_at_ms: u64) {
        self.pending.retain(|spec| spec.name != name);
        let now_ms = u64::try_from(Timestamp::now().as_millis()).unwrap_or(0);
        let ago = Duration::from_millis(now_ms.saturating_sub(started_at_ms));
        let started = Instant::now().checked_sub(ago).unwrap_or_else(Instant::now);
        self.container_started(client, name, started);
    }

    async fn prepare(&mut self, liveness: Liveness) -> Result<Prepared, StartFailure> {
        self.record.known.pull_started_at.get_or_insert_with(Timestamp::now);
        let mut stop = self.desired.clone();
        // Only the pull is cut short: it is long, and leaves nothing that the clean-up could miss.
        let images = tokio::select! {
            biased;
            _ = stop.wait_for(|desired| *desired == DesiredStatus::Stopped) => return Err(StartFailure::StopRequested),
            images = prepare::images(&self.host, &self.record) => images?,
        };
        for failure in images.failures {
            self.go_on_without(failure)?;
        }
        let images = images.found;
        self.record.known.pull_stopped_at.get_or_insert_with(Timestamp::now);
        fail_point::reach("images-pulled");
        for (container, image) in self.record.known.containers.iter_mut().zip(&images) {
            container.image_digest = image.as_ref().map(|image| image.digest.clone());
        }
        // A shim that is alive was started with the network that is noted. It has mounts of its own, and would not see a
        // network namespace that is bound later.
        if liveness == Liveness::NeverStarted || self.record.network.is_none() {
            let network = prepare::network(&self.host, &self.record).await?;
            fail_point::reach("network-made");
            for container in &mut self.record.known.containers {
                let ports = self.record.task.containers.iter().find(|it| it.name == container.name);
                container.network_bindings = network.bindings_of(ports.map_or(&[], |it| &it.port_mappings));
            }
            self.record.network = Some(network);
            self.record.shim_spawned = true;
            // Neither network nor shim outlives the machine.
            self.record.save_until_reboot(&self.dir).map_err(StartFailure::record)?;
            fail_point::reach("network-noted");
        }
        // What is mounted for the task must be there before its shim, which sees no later mount of the host's.
        prepare::storage(&self.record.task, &self.dir).await?;
        fail_point::reach("storage-made");
        let prepared = aside(|| prepare::containers(&self.host, &self.record, &self.dir, &images))?;
        if liveness == Liveness::NeverStarted {
            self.spawn_shim().await?;
            fail_point::reach("shim-spawned");
        }
        Ok(prepared)
    }

    /// What the task's shim is told. Where its things are follows from the node and the task's id alone, so that they are
    /// found again whatever became of the file that the shim reads.
    pub(super) fn shim(&self) -> TaskSpec {
        TaskSpec {
            task_id: self.record.id().to_owned(),
            socket: self.host.shim_socket(self.record.id()),
            runtime_dir: self.host.run_dir.join("shim").join(self.record.id()),
            cgroup: format!("{}/{}", self.host.cgroup, self.record.id()),
            shared_pid_namespace: self.record.task.pid_mode.as_deref() == Some("task"),
            shared_ipc_namespace: self.record.task.ipc_mode.as_deref() == Some("task"),
            resources: prepare::task_resources(&self.record.task, self.host.task_pids),
        }
    }

    async fn spawn_shim(&mut self) -> Result<(), StartFailure> {
        let (host, dir, spec) = (Arc::clone(&self.host), self.dir.clone(), self.shim());
        self.answer(client::spawn(&host.exe, &dir, &spec)).await.map_err(StartFailure::shim)
    }

    async fn start_logs(&mut self) -> Result<(), StartFailure> {
        let task = Arc::clone(&self.record.task);
        for container in &task.containers {
            if self.record.known.has_failed(&container.name) {
                continue;
            }
            let started = self.shippers.start(&self.record, container, &self.dir).await;
            if let Err(error) = started {
                self.go_on_without(StartFailure::logs(&container.name, &error))?;
            }
        }
        Ok(())
    }
}
