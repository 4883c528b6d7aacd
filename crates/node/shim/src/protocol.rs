//! What goes over a shim's socket: frames of a 32-bit big-endian length and that many bytes of JSON.
//!
//! The client sends [`Request`]s and gets one [`Message::Reply`] for each, with the same id, in any order; events are
//! pushed on every connection from the moment that it is accepted. A client that has lost its connection loses no
//! fact: [`Command::State`] says all.

use serde::{Deserialize, Serialize};

use crate::{
    spec::{ContainerSpec, ExecSpec},
    spool::Position,
    status::{ContainerState, Exit, TaskState},
};

/// Largest frame either side accepts.
pub const FRAME_BYTES_MAX: usize = 4 << 20;
/// Bytes of the length before each frame.
pub const LENGTH_BYTES: usize = 4;

/// One command with the number that its reply will carry.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Request {
    /// Chosen by the client, unique on its connection.
    pub id: u64,
    /// What to do.
    pub command: Command,
}

/// What the agent may ask of a shim.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Set a container up to the point where its program would be executed.
    Create(Box<ContainerSpec>),
    /// Execute the program of a created container.
    Start {
        /// The container.
        name: String,
    },
    /// Execute the program of a stopped container anew, in a new sandbox with the same files; only if it was made so.
    Restart {
        /// The container.
        name: String,
    },
    /// Send a signal to the container's first process.
    Signal {
        /// The container.
        name: String,
        /// The signal's number.
        signal: i32,
    },
    /// Send a signal, and SIGKILL to everything in the container when the time is up.
    Stop {
        /// The container.
        name: String,
        /// The signal's number; the spec's `stop_signal` when absent.
        signal: Option<i32>,
        /// How long to wait before SIGKILL.
        timeout_ms: u64,
    },
    /// SIGKILL to everything in every container.
    KillAll,
    /// Remove a container that is stopped or was never started: mounts, cgroup, run-time state. Its files stay.
    Delete {
        /// The container.
        name: String,
    },
    /// Run a further program in a running container. The reply carries descriptors (`SCM_RIGHTS`): the terminal, or
    /// stdin, stdout and stderr.
    Exec(Box<ExecSpec>),
    /// Send a signal to a further program.
    SignalExec {
        /// The container.
        container: String,
        /// The program's id.
        id: String,
        /// The signal's number.
        signal: i32,
    },
    /// Reply when something was written to the container's spool beyond `position`, or its output has ended; also for a
    /// container that is still to be created. A further request for the container replaces an earlier one, which is answered.
    /// Only for shims that say that they know it: [`TaskState::tells_of_logs`].
    AwaitLog {
        /// The container.
        name: String,
        /// What the reader has read up to.
        position: Position,
    },
    /// Segments of the container's spool were deleted: there may be room again. As for [`Command::AwaitLog`].
    LogFreed {
        /// The container.
        name: String,
    },
    /// What is there.
    State,
    /// End the shim; only when no container is left.
    Shutdown,
}

/// What the shim sends.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Message {
    /// The answer to the request of that id.
    Reply {
        /// The request's id.
        id: u64,
        /// What came of it.
        result: Result<Answer, Failure>,
    },
    /// Something happened.
    Event(Event),
}

/// A command's result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Done.
    Done,
    /// Created or started: the container as it is now.
    Container(ContainerState),
    /// Everything.
    Task(TaskState),
}

/// What happened, in the order in which it happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// The program was executed.
    Started {
        /// The container.
        name: String,
        /// Its process id on the host.
        pid: u32,
        /// Milliseconds since 1970.
        at_ms: u64,
    },
    /// The program ended. The exit is on disk already.
    Exited {
        /// The container.
        name: String,
        /// How.
        exit: Exit,
    },
    /// A further program ended.
    ExecEnded {
        /// The container.
        container: String,
        /// The program's id.
        id: String,
        /// Its exit code, or 128 + the signal that killed it.
        code: i32,
    },
    /// All output of a stopped container has been written to its sink.
    LogEnded {
        /// The container.
        name: String,
        /// Lines dropped in all: by a full non-blocking spool, or because the disk refused them.
        dropped: u64,
    },
}

/// Why a command failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// The kind, to act on.
    pub kind: FailureKind,
    /// The whole reason, to show.
    pub message: String,
}

/// What an agent can tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// No container of that name.
    NotFound,
    /// A container of that name exists.
    AlreadyExists,
    /// Not possible in the container's (or the task's) present state.
    WrongState,
    /// The spec breaks a rule.
    InvalidSpec,
    /// The image's file system has no such user or group.
    UserNotFound,
    /// The program is not there (Docker's exit code 127).
    ProgramNotFound,
    /// The program cannot be executed (Docker's exit code 126).
    ProgramNotExecutable,
    /// The kernel or the runtime refused.
    Runtime,
}
