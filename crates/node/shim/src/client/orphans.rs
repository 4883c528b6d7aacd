//! Cleaning up after a shim that was killed, or that is to be: its containers run on without anybody to hear of their end.

use std::{collections::BTreeMap, fs, io, path::Path, time::Duration};

use super::{
    ClientError,
    spawn::{blocking, file_error, shims_of},
};
use crate::{
    cgroup::Cgroup,
    layout::{self, TaskDir},
    spec::TaskSpec,
    status::Exit,
};

/// How long killed processes may take to go: one in an uninterruptible wait stays until its disk answers.
pub(super) const DEATH_WAIT_MAX: Duration = Duration::from_secs(5);

/// What was left of a task whose shim is gone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Orphans {
    /// Each container that was ever created, and its exit if the shim came to record it.
    pub exits: BTreeMap<String, Option<Exit>>,
}

/// Kills the shim of the task in `dir` (if it lives) and every process in the task's cgroups, removes cgroups, socket
/// and runtime directory, and reads the exits that are on disk. Harmless when repeated. Spools and log files stay.
///
/// Where they are is the caller's to know: a `task.json` that is broken, or was copied from elsewhere, changes nothing.
///
/// # Errors
/// [`ClientError::Unkillable`] when a process outlives SIGKILL by seconds; try again later.
pub async fn kill_orphans(dir: &Path, task: &TaskSpec) -> Result<Orphans, ClientError> {
    let (files, task) = (TaskDir::new(dir), task.clone());
    blocking(move || {
        kill_shim(&files)?;
        remove_cgroup(&task.cgroup)?;
        remove_runtime(&task)?;
        Ok(read_exits(&files))
    })
    .await
}

fn kill_shim(files: &TaskDir) -> Result<(), ClientError> {
    let kill = |process| layout::kill(process, DEATH_WAIT_MAX);
    shims_of(files).iter().try_for_each(kill).map_err(|source| file_error(&files.process_file(), source))
}

pub(super) fn remove_cgroup(path: &str) -> Result<(), ClientError> {
    let cgroup = Cgroup::new(path).map_err(|source| file_error(Path::new(path), source))?;
    cgroup.kill_and_remove(DEATH_WAIT_MAX).map_err(|error| match error.kind() {
        io::ErrorKind::TimedOut => ClientError::Unkillable { cgroup: path.to_owned() },
        _ => file_error(Path::new(path), error),
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

/// An exit that cannot be read counts as none: a task's end does not wait for a file.
fn read_exits(files: &TaskDir) -> Orphans {
    let entries = fs::read_dir(files.containers()).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let exit = |name: &str| serde_json::from_slice(&fs::read(files.exit_file(name)).ok()?).ok();
    Orphans { exits: names.map(|name| (name.clone(), exit(&name))).collect() }
}
