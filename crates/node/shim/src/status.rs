//! What is known of a task's containers: the answer to `State`, and the record of an exit on disk.

use serde::{Deserialize, Serialize};

/// All containers of a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskState {
    /// The shim's process id.
    pub shim_pid: u32,
    /// It knows [`AwaitLog`](crate::protocol::Command::AwaitLog) and `LogFreed`. Shims of an earlier version close the
    /// connection on commands that they do not know, and say nothing here.
    #[serde(default)]
    pub tells_of_logs: bool,
    /// In the order in which they were created.
    pub containers: Vec<ContainerState>,
}

/// One container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerState {
    /// Its name within the task.
    pub name: String,
    /// Its runtime id.
    pub id: String,
    /// How far it is.
    pub status: Status,
}

/// How far a container is. It moves down this list, until it is restarted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Everything is set up, the program is not yet running.
    Created {
        /// The process that will become the program, as the host numbers it.
        pid: u32,
    },
    /// The program runs.
    Running {
        /// Its process id on the host.
        pid: u32,
        /// When it was started, milliseconds since 1970.
        started_at_ms: u64,
    },
    /// The program has ended; nothing of it is left but its files.
    Stopped(Exit),
}

/// How a container's program ended, as recorded in `TASKDIR/containers/<name>/exit.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// The program's exit code, or 128 + the signal that killed it.
    pub code: i32,
    /// The signal that killed it, if one did.
    pub signal: Option<i32>,
    /// The kernel killed a process of the container for want of memory, and the container ended with 137.
    pub oom: bool,
    /// When the program was started, milliseconds since 1970.
    pub started_at_ms: Option<u64>,
    /// When it ended, milliseconds since 1970.
    pub at_ms: u64,
}
