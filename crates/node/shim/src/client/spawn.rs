//! Starting a task's shim, and telling whether it lives.

use std::{
    ffi::OsStr,
    io,
    path::{Path, PathBuf},
    process::Stdio,
};

use tokio::process::Command;

use super::ClientError;
use crate::{
    layout::{ShimProcess, TaskDir, write_durably},
    spec::{TaskSpec, validate_task},
};

/// How much of the shim's log an error quotes.
const REASON_BYTES_MAX: usize = 2048;

/// Whether a task's shim is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Liveness {
    /// Its process exists.
    Alive,
    /// It has been, and is no more: shut down, killed, or the machine rebooted.
    Gone,
    /// It never came to listen.
    NeverStarted,
}

/// Writes `task` to `dir/task.json` and starts the shim `exe shim --dir dir`, which detaches: it is nobody's child
/// but init's and survives the caller. It listens when this returns.
///
/// A service manager must not kill it along with the agent (systemd: `KillMode=process`).
///
/// # Errors
/// [`ClientError::NotStarted`] with the end of the shim's log.
pub async fn spawn(exe: &Path, dir: &Path, task: &TaskSpec) -> Result<(), ClientError> {
    validate_task(task)?;
    let files = TaskDir::new(dir);
    let task_file = files.task_file();
    let text = serde_json::to_vec_pretty(task).map_err(|source| format_error(&task_file, source))?;
    blocking(move || {
        std::fs::create_dir_all(files.containers()).map_err(|source| file_error(&files.containers(), source))?;
        write_durably(&task_file, &text).map_err(|source| file_error(&task_file, source))
    })
    .await?;
    // The process that is started here ends as soon as the shim listens, or has failed to.
    let ended = Command::new(exe)
        .args([OsStr::new("shim"), OsStr::new("--dir"), dir.as_os_str()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .await
        .map_err(|source| ClientError::Spawn { exe: exe.to_owned(), source })?;
    if ended.success() {
        return Ok(());
    }
    let log = tokio::fs::read(TaskDir::new(dir).log_file()).await.unwrap_or_default();
    let tail = String::from_utf8_lossy(&log[log.len().saturating_sub(REASON_BYTES_MAX)..]);
    Err(ClientError::NotStarted { reason: format!("{ended}: {}", tail.trim()) })
}

/// Whether the shim of the task in `dir` is there; one that hangs counts as alive. A `shim.json` that cannot be read is
/// no answer: then the process table is asked.
pub fn liveness(dir: &Path) -> Liveness {
    let files = TaskDir::new(dir);
    match recorded(&files) {
        Recorded::Nothing => Liveness::NeverStarted,
        _ if shims_of(&files).is_empty() => Liveness::Gone,
        _ => Liveness::Alive,
    }
}

/// What `shim.json` says.
enum Recorded {
    Nothing,
    Broken,
    Process(ShimProcess),
}

fn recorded(files: &TaskDir) -> Recorded {
    match std::fs::read(files.process_file()) {
        Ok(text) => serde_json::from_slice(&text).map_or(Recorded::Broken, Recorded::Process),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Recorded::Nothing,
        Err(_) => Recorded::Broken,
    }
}

/// The processes that are the task's shim now: one, or none. A file that names a shim of another directory, as in a copy
/// of the directory, names a stranger.
pub(super) fn shims_of(files: &TaskDir) -> Vec<ShimProcess> {
    match recorded(files) {
        Recorded::Process(process) if process.is_alive() && process.serves(files.path()) => vec![process],
        Recorded::Process(_) => Vec::new(),
        Recorded::Nothing | Recorded::Broken => {
            ShimProcess::all().into_iter().filter(|(_, dir)| dir == files.path()).map(|(process, _)| process).collect()
        }
    }
}

/// Runs what blocks where it may.
pub(super) async fn blocking<T, F>(work: F) -> Result<T, ClientError>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T, ClientError> + Send + 'static,
{
    tokio::task::spawn_blocking(work).await.map_err(|_| ClientError::Closed)?
}

pub(super) fn file_error(path: &Path, source: io::Error) -> ClientError {
    ClientError::File { path: PathBuf::from(path), source }
}

pub(super) fn format_error(path: &Path, source: serde_json::Error) -> ClientError {
    ClientError::Format { path: PathBuf::from(path), source }
}
