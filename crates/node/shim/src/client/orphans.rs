//! Cleaning up after a shim that was killed: its containers run on without anybody to hear of their end.

use std::{collections::BTreeMap, fs, io, path::Path, time::Duration};

use super::{
    ClientError,
    spawn::{blocking, file_error, format_error, read_task, shim_process},
};
use crate::{
    cgroup::Cgroup,
    layout::{self, TaskDir},
    spec::TaskSpec,
    status::Exit,
};

/// How long killed processes may take to go: one in an uninterruptible wait stays until its disk answers.
const DEATH_WAIT_MAX: Duration = Duration::from_secs(5);

/// What was left of a task whose shim is gone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Orphans {
    /// Each container that was ever created, and its exit if the shim came to record it.
    pub exits: BTreeMap<String, Option<Exit>>,
}

/// Kills the shim of the task in `dir` (if it lives) and every process in the task's cgroups, removes cgroups, socket
/// and runtime directory, and reads the exits that are on disk. Harmless when repeated. Spools and log files stay.
///
/// # Errors
/// [`ClientError::Unkillable`] when a process outlives SIGKILL by seconds; try again later.
pub async fn kill_orphans(dir: &Path) -> Result<Orphans, ClientError> {
    let files = TaskDir::new(dir);
    let task = read_task(&files).await?;
    blocking(move || {
        kill_shim(&files)?;
        remove_cgroup(&task)?;
        remove_runtime(&task)?;
        read_exits(&files)
    })
    .await
}

fn kill_shim(files: &TaskDir) -> Result<(), ClientError> {
    let Some(process) = shim_process(files)? else { return Ok(()) };
    layout::kill(&process, DEATH_WAIT_MAX).map_err(|source| file_error(&files.process_file(), source))
}

fn remove_cgroup(task: &TaskSpec) -> Result<(), ClientError> {
    let cgroup = Cgroup::new(&task.cgroup).map_err(|source| file_error(Path::new(&task.cgroup), source))?;
    cgroup.kill_and_remove(DEATH_WAIT_MAX).map_err(|error| match error.kind() {
        io::ErrorKind::TimedOut => ClientError::Unkillable { cgroup: task.cgroup.clone() },
        _ => file_error(Path::new(&task.cgroup), error),
    })
}

fn remove_runtime(task: &TaskSpec) -> Result<(), ClientError> {
    let gone = |result: io::Result<()>, path: &Path| match result {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(file_error(path, error)),
        _ => Ok(()),
    };
    gone(fs::remove_file(&task.socket), &task.socket)?;
    gone(fs::remove_dir_all(&task.runtime_dir), &task.runtime_dir)
}

fn read_exits(files: &TaskDir) -> Result<Orphans, ClientError> {
    let dir = files.containers();
    let mut orphans = Orphans::default();
    for entry in fs::read_dir(&dir).map_err(|source| file_error(&dir, source))? {
        let name = entry.map_err(|source| file_error(&dir, source))?.file_name().to_string_lossy().into_owned();
        let path = files.exit_file(&name);
        let exit = match fs::read(&path) {
            Ok(text) => Some(serde_json::from_slice(&text).map_err(|source| format_error(&path, source))?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(source) => return Err(file_error(&path, source)),
        };
        orphans.exits.insert(name, exit);
    }
    Ok(orphans)
}
