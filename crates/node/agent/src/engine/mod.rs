//! The task engine: which tasks this node has, each with its driver and its reporter.
//!
//! A task's directory holds everything about it, and each file in it has one writer: `record.json` the driver,
//! `stop` the engine, `reported` the reporter. A task is forgotten once it has ended, its end has been reported, and
//! its last log line has been shipped.

mod credentials;
mod driver;
mod execs;
mod failure;
pub(crate) mod firelens;
mod health;
mod health_news;
mod host;
mod links;
mod mount_point;
mod open_files;
mod prepare;
mod record;
mod registry_auth;
mod remove;
mod report;
mod reporter;
mod storage;
mod task_dir;
mod translate;
mod volume;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use estiva_agent_protocol::task::{Credentials, Task};
use estiva_planning::lifecycle::{DesiredStatus, TaskStatus};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use tracing::{info, warn};

use crate::error::AgentError;
use crate::fail_point;
use driver::Driver;
use failure::StartFailure;
use record::RecordError;
use reporter::Reporter;
use task_dir::TaskDir;

pub(crate) use execs::Execs;
pub(crate) use failure::with_sources;
pub(crate) use host::{ControlPlane, Host, end_all_processes};
pub(crate) use record::{KnownContainer, KnownTask, TaskRecord, id_of};
pub(crate) use translate::{TranslateError, docker_config, docker_name};

/// How many ended tasks are remembered, so that a message that was under way for long does not start one again.
const ENDED_MAX: usize = 4096;

/// The tasks of this node. Clones are the same engine.
#[derive(Clone)]
pub(crate) struct Engine {
    host: Arc<Host>,
    state: Arc<Mutex<State>>,
    /// Held while a task is taken: two that take the same one at once would begin it twice.
    taking: Arc<Mutex<()>>,
}

#[derive(Default)]
struct State {
    tasks: HashMap<String, Handle>,
    /// Tasks by what their containers are called at the node's endpoint.
    endpoints: HashMap<String, String>,
    /// Tasks by what their credentials are called there.
    credentials: HashMap<String, String>,
    ended: VecDeque<String>,
    workers: JoinSet<()>,
}

struct Handle {
    task: Arc<Task>,
    authorization: Arc<str>,
    execs: Execs,
    dir: TaskDir,
    desired: watch::Sender<DesiredStatus>,
    known: watch::Receiver<KnownTask>,
}

/// What a task is called at the node's endpoint.
struct Names {
    endpoints: Vec<String>,
    credentials: Option<String>,
}

impl Names {
    fn of(record: &TaskRecord) -> Self {
        // Records of earlier versions may lack some.
        let is_name = |id: &String| !id.is_empty();
        let endpoints = record.known.containers.iter().map(|it| it.endpoint_id.clone()).filter(is_name).collect();
        Self { endpoints, credentials: record.credentials_id.clone().filter(is_name) }
    }
}

/// A task as it is at this moment.
#[derive(Clone)]
pub(crate) struct TaskView {
    /// What was asked for.
    pub task: Arc<Task>,
    /// What is wanted of it now.
    pub desired: DesiredStatus,
    /// How far it is.
    pub known: KnownTask,
    /// What a task with the host's network shows to get its credentials.
    pub authorization: Arc<str>,
    /// Its directory.
    pub dir: PathBuf,
    /// Where its shim listens.
    pub socket: PathBuf,
    /// Its cgroup; containers have children of it.
    pub cgroup: String,
    /// Its further programs.
    pub execs: Execs,
}

/// Why a task cannot be taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AcceptError {
    /// The id cannot be a directory's name.
    #[error("'{0}' is not the ARN of a task")]
    Arn(String),
    /// That it has to stop could not be kept on disk.
    #[error(transparent)]
    Record(#[from] RecordError),
}

impl Engine {
    /// Takes back every task whose record is on disk, and clears away what belongs to none.
    pub async fn restore(host: Arc<Host>) -> Result<Self, AgentError> {
        let engine = Self { host, state: Arc::default(), taking: Arc::default() };
        let (mut records, mut known) = (Vec::new(), BTreeSet::new());
        for dir in TaskDir::all(&engine.host.tasks_dir)? {
            match TaskRecord::load(dir.path()) {
                Ok(Some(record)) => records.push((dir, record)),
                Ok(None) => dir.remove()?,
                // Nobody can say what it was: it ends. Its directory goes at the next start.
                Err(error @ RecordError::Malformed { .. }) => {
                    let error: &dyn std::error::Error = &error;
                    warn!(dir = %dir.path().display(), error, "a task's record is broken; what the task ran is ended");
                    dir.set_record_aside()?;
                }
                Err(error) => {
                    let error: &dyn std::error::Error = &error;
                    warn!(dir = %dir.path().display(), error, "a task's record cannot be read; what it left is not touched");
                    known.extend(dir.path().file_name().map(|id| id.to_string_lossy().into_owned()));
                }
            }
        }
        known.extend(records.iter().map(|(_, record)| record.id().to_owned()));
        engine.host.sweep(known).await?;
        engine.host.network.adopt(records.iter().map(|(_, record)| record.id().to_owned())).await?;
        if !records.is_empty() {
            info!(tasks = records.len(), "took back the node's tasks");
        }
        for (dir, record) in records {
            let desired = if dir.is_stop_requested() { DesiredStatus::Stopped } else { DesiredStatus::Running };
            engine.begin(dir, record, desired);
        }
        Ok(engine)
    }

    /// Takes a task to run, or to stop. Durable when it returns; a task that is known already is not taken twice, and one that
    /// the disk does not take has ended. Blocks.
    pub fn accept(&self, task: Task) -> Result<(), AcceptError> {
        let _taking = self.taking.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(credentials) = &task.role_credentials {
            self.host.credentials.put(&task.arn, credentials.clone());
        }
        let stop = task.desired_status == DesiredStatus::Stopped.as_str();
        if let Some(dir) = self.dir_of_known(&task.arn) {
            if stop {
                self.stop(&task.arn, &dir)?;
            }
            return Ok(());
        }
        if self.state().ended.contains(&task.arn) {
            return Ok(());
        }
        let id = record::id_of(&task.arn);
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if !(1..=128).contains(&id.len()) || !id.bytes().all(legal) {
            return Err(AcceptError::Arn(task.arn));
        }
        let dir = TaskDir::of(&self.host.tasks_dir, id);
        let mut record = TaskRecord::new(task, || estiva_model::hex_id(&mut rand::rng(), 64));
        if stop {
            record.known.refuse("the node does not have the task");
        }
        // What runs without a record, a restarted agent would not know: the task ends, and whoever wanted it hears why.
        if let Err(error) = dir.create().and_then(|()| record.save(dir.path())) {
            let reason = StartFailure::record(error).to_string();
            warn!(task = record.id(), reason, "a task was not taken");
            record.known.refuse(&reason);
        }
        fail_point::reach("task-kept");
        self.begin(dir, record, if stop { DesiredStatus::Stopped } else { DesiredStatus::Running });
        Ok(())
    }

    /// The control plane has a session with this agent: what becomes of the node's tasks is this agent's to tell.
    pub fn admitted(&self) {
        self.host.admitted.send_replace(true);
    }

    /// Pulls an image that no task needs yet: its digest, or why it cannot be had.
    pub async fn pull(&self, image: &str) -> Result<String, String> {
        let pulled = self.host.images.ensure(image, self.host.pull_policy, None, &estiva_image::Silent).await;
        pulled.map(|image| image.digest).map_err(|error| format!("CannotPullContainerError: {}", with_sources(&error)))
    }

    /// Takes fresh credentials of a task's role.
    pub fn renew_credentials(&self, task_arn: &str, credentials: Credentials) {
        if self.state().tasks.contains_key(task_arn) {
            self.host.credentials.put(task_arn, credentials);
        }
    }

    /// Stops a task if it is known. Durable when it returns without an error. Blocks.
    pub fn stop_known(&self, arn: &str) -> Result<(), RecordError> {
        self.dir_of_known(arn).map_or(Ok(()), |dir| self.stop(arn, &dir))
    }

    /// Stops every task and returns, once they have ended, how many there were. Without a control plane: with one, each
    /// waits until its end has been reported. Blocks at first.
    ///
    /// # Errors
    /// [`AgentError::Unended`] when a task takes longer than its containers and a shim that hangs may take.
    pub async fn stop_all(&self) -> Result<usize, AgentError> {
        let (tasks, stop_max) = {
            let state = self.state();
            (state.tasks.len(), state.tasks.values().map(|handle| driver::stop_max(&handle.task)).max())
        };
        self.tell_all_to_stop();
        let deadline = Instant::now() + stop_max.unwrap_or_default();
        let mut workers = std::mem::take(&mut self.state().workers);
        loop {
            match timeout_at(deadline, workers.join_next()).await {
                Ok(Some(_)) => {}
                Ok(None) => return Ok(tasks),
                Err(_) => return Err(AgentError::Unended(workers.len())),
            }
        }
    }

    /// Stops every task and returns once all have ended and what they held is free, reported or not.
    pub async fn end_all(&self) {
        let engine = self.clone();
        // It panics with the runtime's end alone.
        let _ = tokio::task::spawn_blocking(move || engine.tell_all_to_stop()).await;
        let known: Vec<_> = self.state().tasks.values().map(|handle| handle.known.clone()).collect();
        for mut known in known {
            // A driver that is gone holds nothing.
            let _ = known.wait_for(|known| known.status == TaskStatus::Stopped).await;
        }
    }

    fn tell_all_to_stop(&self) {
        let arns: Vec<String> = self.state().tasks.keys().cloned().collect();
        for arn in &arns {
            if let Err(error) = self.stop_known(arn) {
                warn!(arn, error = &error as &dyn std::error::Error, "the task will be stopped, but not after a crash");
            }
        }
    }

    /// ARNs and clusters of the tasks that have not ended.
    pub fn live_tasks(&self) -> Vec<(String, String)> {
        let state = self.state();
        let live = state.tasks.iter().filter(|(_, handle)| handle.known.borrow().status != TaskStatus::Stopped);
        live.map(|(arn, handle)| (arn.clone(), handle.task.task_cluster_arn.clone())).collect()
    }

    /// Every task that has not ended.
    pub fn views(&self) -> Vec<TaskView> {
        let state = self.state();
        let live = state.tasks.values().filter(|handle| handle.known.borrow().status != TaskStatus::Stopped);
        live.map(|handle| self.view(handle)).collect()
    }

    /// The task with this ARN, if it is here.
    pub fn find(&self, arn: &str) -> Option<TaskView> {
        self.state().tasks.get(arn).map(|handle| self.view(handle))
    }

    /// The task with this id, the last part of its ARN.
    pub fn find_by_id(&self, id: &str) -> Option<TaskView> {
        let state = self.state();
        let found = state.tasks.iter().find(|(arn, _)| record::id_of(arn) == id);
        found.map(|(_, handle)| self.view(handle))
    }

    /// The task of the container that `id` names at the node's endpoint.
    pub fn find_by_endpoint(&self, id: &str) -> Option<TaskView> {
        let state = self.state();
        state.tasks.get(state.endpoints.get(id)?).map(|handle| self.view(handle))
    }

    /// The task whose credentials `id` names at the node's endpoint.
    pub fn find_by_credentials(&self, id: &str) -> Option<TaskView> {
        let state = self.state();
        state.tasks.get(state.credentials.get(id)?).map(|handle| self.view(handle))
    }

    fn view(&self, handle: &Handle) -> TaskView {
        TaskView {
            task: Arc::clone(&handle.task),
            desired: *handle.desired.borrow(),
            known: handle.known.borrow().clone(),
            authorization: Arc::clone(&handle.authorization),
            dir: handle.dir.path().to_owned(),
            socket: self.host.shim_socket(record::id_of(&handle.task.arn)),
            cgroup: format!("{}/{}", self.host.cgroup, record::id_of(&handle.task.arn)),
            execs: handle.execs.clone(),
        }
    }

    /// The tasks of which a container's health is not what it was; waits until there are some.
    pub async fn health_changed(&self) -> Vec<TaskView> {
        let arns = self.host.health_news.take().await;
        arns.iter().filter_map(|arn| self.find(arn)).collect()
    }

    fn dir_of_known(&self, arn: &str) -> Option<TaskDir> {
        self.state().tasks.get(arn).map(|handle| handle.dir.clone())
    }

    /// A disk that is full does not keep the task running: it may be the one who has filled it.
    fn stop(&self, arn: &str, dir: &TaskDir) -> Result<(), RecordError> {
        let kept = dir.request_stop();
        fail_point::reach("stop-kept");
        if let Some(handle) = self.state().tasks.get(arn) {
            handle.desired.send_replace(DesiredStatus::Stopped);
        }
        kept
    }

    fn begin(&self, dir: TaskDir, record: TaskRecord, desired: DesiredStatus) {
        let arn = record.task.arn.clone();
        let (desired, desired_receiver) = watch::channel(desired);
        let (known, known_receiver) = watch::channel(record.known.clone());
        let execs = Execs::default();
        let task = Arc::clone(&record.task);
        let authorization = record.authorization.as_str().into();
        let names = Names::of(&record);
        let reporter = Reporter::new(&self.host, &record.task, dir.clone(), known_receiver.clone());
        let driver =
            Driver::new(Arc::clone(&self.host), dir.path().to_owned(), record, desired_receiver, known, execs.clone());
        let mut state = self.state();
        while state.workers.try_join_next().is_some() {}
        let handle = Handle { task, authorization, execs, dir: dir.clone(), desired, known: known_receiver };
        for id in &names.endpoints {
            state.endpoints.insert(id.clone(), arn.clone());
        }
        if let Some(id) = &names.credentials {
            state.credentials.insert(id.clone(), arn.clone());
        }
        state.tasks.insert(arn.clone(), handle);
        let engine = self.clone();
        state.workers.spawn(async move {
            match reporter {
                Some(reporter) => {
                    tokio::join!(driver.run(), reporter.run());
                    engine.forget(&arn, dir, &names).await;
                }
                // Without a control plane nobody has heard of the end: the record stays until somebody has.
                None => driver.run().await,
            }
        });
    }

    async fn forget(&self, arn: &str, dir: TaskDir, names: &Names) {
        if let Ok(Err(error)) = tokio::task::spawn_blocking(move || dir.remove()).await {
            warn!(arn, error = &error as &dyn std::error::Error, "the ended task's directory stays");
        }
        let mut state = self.state();
        state.tasks.remove(arn);
        for id in &names.endpoints {
            state.endpoints.remove(id);
        }
        if let Some(id) = &names.credentials {
            state.credentials.remove(id);
        }
        self.host.credentials.forget(arn);
        state.ended.push_back(arn.to_owned());
        if state.ended.len() > ENDED_MAX {
            state.ended.pop_front();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing between lock and unlock can leave it half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
