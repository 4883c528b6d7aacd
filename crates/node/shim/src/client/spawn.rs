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

/// Whether the shim of the task in `dir` is there; one that hangs counts as alive.
///
/// # Errors
/// `shim.json` cannot be read.
pub fn liveness(dir: &Path) -> Result<Liveness, ClientError> {
    Ok(match shim_process(&TaskDir::new(dir))? {
        None => Liveness::NeverStarted,
        Some(process) if process.is_alive() => Liveness::Alive,
        Some(_) => Liveness::Gone,
    })
}

/// The process that the shim recorded.
pub(super) fn shim_process(files: &TaskDir) -> Result<Option<ShimProcess>, ClientError> {
    let path = files.process_file();
    match std::fs::read(&path) {
        Ok(text) => Ok(Some(serde_json::from_slice(&text).map_err(|source| format_error(&path, source))?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(file_error(&path, source)),
    }
}

/// The spec that the agent wrote.
pub(super) async fn read_task(files: &TaskDir) -> Result<TaskSpec, ClientError> {
    let path = files.task_file();
    let text = tokio::fs::read(&path).await.map_err(|source| file_error(&path, source))?;
    serde_json::from_slice(&text).map_err(|source| format_error(&path, source))
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
