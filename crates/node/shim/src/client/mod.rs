//! The agent's side: spawn a shim, connect to it, command it, hear its events, and clean up after one that was killed.
//!
//! ```no_run
//! # use estiva_shim::{client, spec::{ContainerSpec, TaskSpec}};
//! # async fn example(dir: &std::path::Path, task: TaskSpec, container: ContainerSpec) -> Result<(), client::ClientError> {
//! client::spawn(&std::env::current_exe().unwrap(), dir, &task).await?; // first time only
//! let (shim, mut events) = client::connect(&task.socket).await?;       // also after a restart of the agent
//! shim.create(&container).await?;
//! shim.start(&container.name).await?;
//! while let Some(event) = events.next().await { /* … */ }
//! # Ok(()) }
//! ```

mod connection;
mod exec;
mod orphans;
mod spawn;
mod sweep;

use std::{path::PathBuf, time::Duration};

use tokio::sync::{mpsc, oneshot};

pub use self::{
    connection::connect,
    exec::{ExecStreams, exec},
    orphans::{Orphans, kill_orphans},
    spawn::{Liveness, liveness, spawn},
    sweep::{Swept, sweep},
};
use crate::{
    protocol::{Answer, Command, Event, Failure},
    spec::{ContainerSpec, InvalidSpec},
    spool::Position,
    status::{ContainerState, TaskState},
};

/// Why something about a shim failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// A file of the task could not be read or written.
    #[error("{path}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file of the task cannot be written as JSON.
    #[error("{path}")]
    Format {
        /// Which.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// The task's spec breaks a rule.
    #[error("the task's spec is invalid")]
    InvalidTask(#[from] InvalidSpec),
    /// The shim's program could not be executed.
    #[error("cannot execute {exe}")]
    Spawn {
        /// The program.
        exe: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The shim ended before it was ready.
    #[error("the shim did not start: {reason}")]
    NotStarted {
        /// The end of its log.
        reason: String,
    },
    /// Nobody listens: the shim has shut down or was killed. See [`liveness`] and [`kill_orphans`].
    #[error("no shim answers at {socket}")]
    Unreachable {
        /// Its socket.
        socket: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The connection ended before the reply came; the command may or may not have been done.
    #[error("the shim closed the connection")]
    Closed,
    /// The shim took too long: it hangs, or was stopped. See [`kill_orphans`].
    #[error("the shim does not answer")]
    NoAnswer,
    /// A request is larger than a frame may be.
    #[error("a request of {bytes} bytes is too large")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// The shim refused, or could not do it.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// Processes of the task are still there after SIGKILL.
    #[error("processes in {cgroup} survive SIGKILL")]
    Unkillable {
        /// The task's cgroup.
        cgroup: String,
    },
}

/// A connection to a shim. Cheap to clone; all clones share the connection, and commands may overlap.
#[derive(Debug, Clone)]
pub struct Client {
    commands: mpsc::Sender<Call>,
}

/// A command on its way, and where its reply goes.
#[derive(Debug)]
struct Call {
    command: Command,
    reply: oneshot::Sender<Result<Answer, ClientError>>,
}

/// A shim's events, in order, from the moment of connecting.
#[derive(Debug)]
pub struct Events(mpsc::UnboundedReceiver<Event>);

impl Events {
    /// The next event; `None` when the connection has ended.
    pub async fn next(&mut self) -> Option<Event> {
        self.0.recv().await
    }
}

impl Client {
    /// Sets a container up: root file system, namespaces, cgroup, standard streams; its program is checked to be
    /// there but not yet executed.
    ///
    /// # Errors
    /// [`ClientError::Failed`] with the kind and the whole reason.
    pub async fn create(&self, spec: &ContainerSpec) -> Result<ContainerState, ClientError> {
        self.container(Command::Create(Box::new(spec.clone()))).await
    }

    /// Executes the program of a created container; it is running when this returns.
    ///
    /// # Errors
    /// [`ClientError::Failed`]; the program cannot be executed → `ProgramNotExecutable`, and the container is stopped.
    pub async fn start(&self, name: &str) -> Result<ContainerState, ClientError> {
        self.container(Command::Start { name: name.to_owned() }).await
    }

    /// Starts a stopped container anew with its files; its log goes on. It is running when this returns.
    ///
    /// # Errors
    /// [`ClientError::Failed`], `WrongState` unless it is stopped and was made restartable.
    pub async fn restart(&self, name: &str) -> Result<ContainerState, ClientError> {
        self.container(Command::Restart { name: name.to_owned() }).await
    }

    /// Sends a signal to the container's first process.
    ///
    /// # Errors
    /// [`ClientError::Failed`], `WrongState` when it is not running.
    pub async fn signal(&self, name: &str, signal: i32) -> Result<(), ClientError> {
        self.done(Command::Signal { name: name.to_owned(), signal }).await
    }

    /// Asks the container to stop, and kills it when it has not within `timeout`. Returns at once; the shim sees it
    /// through even if the agent goes away. Done when already stopped.
    ///
    /// # Errors
    /// [`ClientError::Failed`].
    pub async fn stop(&self, name: &str, signal: Option<i32>, timeout: Duration) -> Result<(), ClientError> {
        let timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        self.done(Command::Stop { name: name.to_owned(), signal, timeout_ms }).await
    }

    /// Kills everything in every container.
    ///
    /// # Errors
    /// [`ClientError::Failed`].
    pub async fn kill_all(&self) -> Result<(), ClientError> {
        self.done(Command::KillAll).await
    }

    /// Removes a container that is stopped or was never started: its mounts, cgroup and run-time state. Output that
    /// is still in its pipes is written first.
    ///
    /// # Errors
    /// [`ClientError::Failed`], `WrongState` when it is running.
    pub async fn delete(&self, name: &str) -> Result<(), ClientError> {
        self.done(Command::Delete { name: name.to_owned() }).await
    }

    /// Sends a signal to a further program that [`exec`] has started.
    ///
    /// # Errors
    /// [`ClientError::Failed`], `NotFound` when it has ended.
    pub async fn signal_exec(&self, container: &str, id: &str, signal: i32) -> Result<(), ClientError> {
        let (container, id) = (container.to_owned(), id.to_owned());
        self.done(Command::SignalExec { container, id, signal }).await
    }

    /// Returns when something was written to the container's spool beyond `position`, or its output has ended. A further
    /// call for the container ends an earlier one. Only for a shim that [`TaskState::tells_of_logs`].
    ///
    /// # Errors
    /// [`ClientError::Closed`].
    pub async fn await_log(&self, name: &str, position: Position) -> Result<(), ClientError> {
        self.done(Command::AwaitLog { name: name.to_owned(), position }).await
    }

    /// Says that segments of the container's spool were deleted. Only for a shim that [`TaskState::tells_of_logs`].
    ///
    /// # Errors
    /// [`ClientError::Failed`], `NotFound` when there is no such container any more.
    pub async fn log_freed(&self, name: &str) -> Result<(), ClientError> {
        self.done(Command::LogFreed { name: name.to_owned() }).await
    }

    /// All containers as they are.
    ///
    /// # Errors
    /// [`ClientError::Closed`].
    pub async fn state(&self) -> Result<TaskState, ClientError> {
        match self.call(Command::State).await? {
            Answer::Task(state) => Ok(state),
            Answer::Done | Answer::Container(_) => Err(ClientError::Closed),
        }
    }

    /// Ends the shim; the task's cgroup, socket and runtime directory are gone when this returns.
    ///
    /// # Errors
    /// [`ClientError::Failed`], `WrongState` while a container is left.
    pub async fn shutdown(&self) -> Result<(), ClientError> {
        self.done(Command::Shutdown).await
    }

    async fn container(&self, command: Command) -> Result<ContainerState, ClientError> {
        match self.call(command).await? {
            Answer::Container(state) => Ok(state),
            Answer::Done | Answer::Task(_) => Err(ClientError::Closed),
        }
    }

    async fn done(&self, command: Command) -> Result<(), ClientError> {
        self.call(command).await.map(drop)
    }

    async fn call(&self, command: Command) -> Result<Answer, ClientError> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(Call { command, reply }).await.map_err(|_| ClientError::Closed)?;
        answer.await.map_err(|_| ClientError::Closed)?
    }
}
