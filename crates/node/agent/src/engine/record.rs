//! What the node keeps on disk of a task: what was asked, and how far it is. The task's driver alone writes it.
//!
//! A record is written before the payload that brought the task is acknowledged, and before each step whose effect
//! a restarted agent could not see by looking. Credentials never reach it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use estiva_agent_protocol::task::Task;
use estiva_model::Timestamp;
use estiva_planning::lifecycle::{ContainerStatus, HealthStatus, NetworkBinding, TaskStatus};
use serde::{Deserialize, Serialize};

use super::prepare::PreparedNetwork;
use crate::aside::aside;

/// One task on this node.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct TaskRecord {
    /// As the control plane sent it, without credentials.
    pub task: Arc<Task>,
    /// Names the credentials of the task's role at the node's endpoint, if it has a role.
    #[serde(default)]
    pub credentials_id: Option<String>,
    /// What a task with the host's network shows to get its credentials there.
    #[serde(default)]
    pub authorization: String,
    /// Whether a shim may exist.
    pub shim_spawned: bool,
    /// The task's network, once it is set up.
    pub network: Option<PreparedNetwork>,
    /// How far the task is.
    pub known: KnownTask,
}

/// How far a task is on this node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KnownTask {
    /// Grows with each change that is worth a report.
    pub version: u64,
    /// PENDING, RUNNING or STOPPED.
    pub status: TaskStatus,
    /// Why the task ended, if not by its containers alone.
    pub reason: Option<String>,
    /// In the order of the task definition.
    pub containers: Vec<KnownContainer>,
    /// When the first image's pull began.
    pub pull_started_at: Option<Timestamp>,
    /// When the last image's pull ended.
    pub pull_stopped_at: Option<Timestamp>,
    /// When the last container ended.
    pub execution_stopped_at: Option<Timestamp>,
}

impl KnownTask {
    /// Whether the container could not be started.
    pub fn has_failed(&self, container: &str) -> bool {
        let known = self.containers.iter().find(|it| it.name == container);
        known.is_some_and(|it| it.status == ContainerStatus::Stopped && it.exit_code.is_none())
    }

    /// The task never runs here.
    pub fn refuse(&mut self, reason: &str) {
        self.version += 1;
        self.status = TaskStatus::Stopped;
        self.reason = Some(reason.to_owned());
        for container in &mut self.containers {
            container.status = ContainerStatus::Stopped;
        }
    }
}

/// How far a container is on this node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KnownContainer {
    /// Unique in the task.
    pub name: String,
    /// The runtime's id, unique on the host.
    pub runtime_id: String,
    /// Names the container at the node's endpoint; nobody else knows it.
    #[serde(default)]
    pub endpoint_id: String,
    /// How far.
    pub status: ContainerStatus,
    /// Once it ended.
    pub exit_code: Option<i32>,
    /// Why it did not start, or why it ended.
    pub reason: Option<String>,
    /// The digest of the image's manifest.
    pub image_digest: Option<String>,
    /// Ports as published.
    pub network_bindings: Vec<NetworkBinding>,
    /// When its program was last started.
    #[serde(default)]
    pub started_at: Option<Timestamp>,
    /// When its program ended.
    #[serde(default)]
    pub finished_at: Option<Timestamp>,
    /// How often it was started again.
    #[serde(default)]
    pub restarts: u32,
    /// What its health check last made of it.
    #[serde(default)]
    pub health: HealthStatus,
    /// Since when it is so.
    #[serde(default)]
    pub health_since: Option<Timestamp>,
}

/// Why a record could not be read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecordError {
    /// The file system refused.
    #[error("cannot {operation} {}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On which file.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
    /// The file is not a record.
    #[error("{} is no task record", path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// What serde found.
        source: serde_json::Error,
    },
}

impl RecordError {
    /// Something about a file.
    pub fn io(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { operation, path, source }
    }
}

pub(super) const FILE_NAME: &str = "record.json";

impl TaskRecord {
    /// A task that just arrived.
    pub fn new(mut task: Task, ids: impl Fn() -> String) -> Self {
        let credentials_id = task.role_credentials.take().map(|credentials| credentials.credentials_id.clone());
        task.execution_role_credentials = None;
        let container = |name: &str| KnownContainer {
            name: name.to_owned(),
            runtime_id: ids(),
            endpoint_id: ids().chars().take(32).collect(),
            status: ContainerStatus::Pending,
            exit_code: None,
            reason: None,
            image_digest: None,
            network_bindings: Vec::new(),
            started_at: None,
            finished_at: None,
            restarts: 0,
            health: HealthStatus::Unknown,
            health_since: None,
        };
        let known = KnownTask {
            version: 0,
            status: TaskStatus::Pending,
            reason: None,
            containers: task.containers.iter().map(|it| container(&it.name)).collect(),
            pull_started_at: None,
            pull_stopped_at: None,
            execution_stopped_at: None,
        };
        let authorization = ids();
        Self { task: Arc::new(task), credentials_id, authorization, shim_spawned: false, network: None, known }
    }

    /// The last part of the task's ARN.
    pub fn id(&self) -> &str {
        id_of(&self.task.arn)
    }

    /// Durable when it returns. The disk may take its time: the runtime's other tasks go on.
    pub fn save(&self, task_dir: &Path) -> Result<(), RecordError> {
        aside(|| self.write(task_dir, true))
    }

    /// Survives this process, but perhaps not the machine: for what is worth nothing once the machine has gone. The disk may
    /// take its time as for [`Self::save`].
    pub fn save_until_reboot(&self, task_dir: &Path) -> Result<(), RecordError> {
        aside(|| self.write(task_dir, false))
    }

    fn write(&self, task_dir: &Path, durable: bool) -> Result<(), RecordError> {
        let path = task_dir.join(FILE_NAME);
        let json = serde_json::to_vec(self).map_err(|source| RecordError::Malformed { path: path.clone(), source })?;
        let temporary = task_dir.join(".record.json.new");
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)
            .map_err(RecordError::io("create", &path))?;
        file.write_all(&json).map_err(RecordError::io("write", &path))?;
        if durable {
            file.sync_data().map_err(RecordError::io("write", &path))?;
        }
        fs::rename(&temporary, &path).map_err(RecordError::io("replace", &path))?;
        if durable {
            let synced = File::open(task_dir).and_then(|dir| dir.sync_all());
            synced.map_err(RecordError::io("write the directory of", &path))?;
        }
        Ok(())
    }

    /// `None` if the directory holds no record: a crash came before the first one was whole.
    pub fn load(task_dir: &Path) -> Result<Option<Self>, RecordError> {
        let path = task_dir.join(FILE_NAME);
        let json = match fs::read(&path) {
            Ok(json) => json,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(RecordError::Io { operation: "read", path, source }),
        };
        serde_json::from_slice(&json).map(Some).map_err(|source| RecordError::Malformed { path, source })
    }
}

/// The last part of a task's ARN.
pub fn id_of(arn: &str) -> &str {
    arn.rsplit('/').next().unwrap_or(arn)
}

#[cfg(test)]
mod tests {
    use estiva_agent_protocol::task::{Container, Credentials};

    use super::*;

    #[test]
    fn a_record_is_read_back_without_credentials() {
        let secret = Credentials { secret_access_key: "very-secret".to_owned().into(), ..Credentials::default() };
        let task = Task {
            arn: "arn:aws:ecs:us-east-1:000000000000:task/default/abc".into(),
            containers: vec![Container { name: "web".into(), ..Container::default() }],
            role_credentials: Some(secret.clone()),
            execution_role_credentials: Some(secret),
            ..Task::default()
        };
        let dir = tempfile::tempdir().unwrap();
        let record = TaskRecord::new(task, || "id".to_owned());
        record.save(dir.path()).unwrap();
        assert!(!fs::read_to_string(dir.path().join(FILE_NAME)).unwrap().contains("very-secret"));
        let read = TaskRecord::load(dir.path()).unwrap().unwrap();
        assert_eq!((read.id(), &read.known), ("abc", &record.known));
    }

    /// A pipe that nobody reads keeps whoever opens it waiting, as a disk does that hangs.
    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_disk_that_hangs_does_not_hold_up_the_runtime() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join(".record.json.new");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let (begun, beginning) = tokio::sync::oneshot::channel();
        let saving = tokio::spawn(async move {
            begun.send(()).unwrap();
            TaskRecord::new(Task::default(), || "id".to_owned()).save(dir.path())
        });
        beginning.await.unwrap();
        let reading = tokio::spawn(async move { fs::read(pipe) });
        let read = tokio::time::timeout(std::time::Duration::from_secs(10), reading).await;
        assert!(!read.expect("it goes on").unwrap().unwrap().is_empty());
        assert!(saving.await.unwrap().is_err(), "a pipe is no disk");
    }

    #[test]
    fn a_directory_without_a_record_is_told_from_a_broken_one() {
        let dir = tempfile::tempdir().unwrap();
        assert!(TaskRecord::load(dir.path()).unwrap().is_none());
        fs::write(dir.path().join(FILE_NAME), "{").unwrap();
        assert!(matches!(TaskRecord::load(dir.path()), Err(RecordError::Malformed { .. })));
    }
}
