//! The shippers of one task.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use estiva_agent_protocol::task::Container;
use estiva_log_driver::ContainerInfo;
use estiva_shim::client::Client;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::warn;

use super::backend::{Awslogs, Backend, Forwarder};
use super::destination::{Destination, LogSetupError};
use super::multiline::Multiline;
use super::news::News;
use super::shipper::Shipper;
use crate::engine::{Host, TaskRecord, docker_config, docker_name, firelens};

/// The shippers of one task, one for each container whose output goes elsewhere than to a file.
pub(crate) struct Shippers {
    host: Arc<Host>,
    containers: BTreeSet<String>,
    closed: watch::Sender<bool>,
    shim: watch::Sender<Option<Client>>,
    running: JoinSet<()>,
}

impl Shippers {
    /// None yet.
    pub fn new(host: Arc<Host>) -> Self {
        let (closed, shim) = (watch::Sender::new(false), watch::Sender::new(None));
        Self { host, containers: BTreeSet::new(), closed, shim, running: JoinSet::new() }
    }

    /// The connection to ask for news of lines; `None` for a shim that cannot tell, whose spools are looked at instead.
    pub fn connected(&self, shim: Option<Client>) {
        self.shim.send_replace(shim);
    }

    /// Makes sure that there is something to ship to, and begins to ship the container's output. A second call for a container
    /// does nothing.
    pub async fn start(&mut self, record: &TaskRecord, container: &Container, dir: &Path) -> Result<(), LogSetupError> {
        let Some(mut backend) = self.backend(record, container)? else { return Ok(()) };
        if !self.containers.contains(&container.name) {
            backend.prepare().await?;
            self.ship(record, container, dir, backend);
        }
        Ok(())
    }

    /// As [`Self::start`] for a container that was started already: its output is kept whatever becomes of the log group.
    pub fn resume(&mut self, record: &TaskRecord, container: &Container, dir: &Path) {
        match self.backend(record, container) {
            Ok(Some(backend)) if !self.containers.contains(&container.name) => {
                self.ship(record, container, dir, backend);
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

    fn backend(&self, record: &TaskRecord, container: &Container) -> Result<Option<Backend>, LogSetupError> {
        let Some(control_plane) = &self.host.control_plane else { return Ok(None) };
        let (config, host_config) = docker_config(container)?;
        let Some(log) = host_config.log_config else { return Ok(None) };
        let known = record.known.containers.iter().find(|it| it.name == container.name);
        let runtime_id = known.map_or("", |it| &it.runtime_id);
        let (driver, mut options) = (log.driver.as_str(), log.config);
        let blocking = options.get("mode").is_some_and(|mode| mode == "blocking");
        let driver = match driver {
            "awslogs" => {
                let multiline = Multiline::of(&options)?;
                let destination = Destination::of(container, record.id(), runtime_id, control_plane)?;
                let awslogs = |destination| Backend::Awslogs(Box::new(Awslogs { destination, multiline }));
                return Ok(destination.map(awslogs));
            }
            "awsfirelens" => {
                options = firelens::driver_options(container, record.id(), &self.host.run_dir);
                "fluentd"
            }
            other if estiva_log_driver::DRIVERS.contains(&other) => other,
            _ => return Ok(None),
        };
        let created = known.and_then(|it| it.started_at).unwrap_or_default();
        let info = ContainerInfo {
            id: runtime_id.to_owned(),
            name: format!("/{}", docker_name(&record.task, &container.name, runtime_id)),
            image_name: container.image.clone(),
            image_id: known.and_then(|it| it.image_digest.clone()).unwrap_or_default(),
            command: container.entry_point.iter().chain(&container.command).cloned().collect(),
            created_ns: u64::try_from(created.as_millis()).unwrap_or(0).saturating_mul(1_000_000),
            labels: config.labels,
            env: container.environment.iter().map(|(name, value)| format!("{name}={value}")).collect(),
            host_name: nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
            daemon_name: "docker".to_owned(),
        };
        let driver = estiva_log_driver::open(driver, &options, &info)?;
        Ok(Some(Backend::Driver(Box::new(Forwarder::new(driver, blocking)))))
    }

    fn ship(&mut self, record: &TaskRecord, container: &Container, dir: &Path, backend: Backend) {
        self.containers.insert(container.name.clone());
        let spool = spool(dir, &container.name);
        let news = News::new(container.name.clone(), self.shim.subscribe());
        let shipper =
            Shipper { task_id: record.id().to_owned(), spool, backend, closed: self.closed.subscribe(), news };
        self.running.spawn(shipper.run());
    }
}

fn spool(dir: &Path, container: &str) -> std::path::PathBuf {
    dir.join("logs").join(container)
}
