//! Ending what runs on a node and belongs to no task that it knows: its tasks' directory was removed, or a record is broken.

use std::{collections::BTreeSet, path::Path};

use super::{
    ClientError,
    orphans::{DEATH_WAIT_MAX, remove_cgroup},
    spawn::{blocking, file_error},
};
use crate::{
    cgroup::Cgroup,
    layout::{self, ShimProcess},
};

/// What was swept away.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Shims that were killed.
    pub shims: usize,
    /// Tasks' cgroups that were emptied and removed.
    pub groups: usize,
}

/// Kills the shims of tasks in `tasks_dir`, and what is in the groups below `cgroup`, whose ids are not in `known`. Asks the
/// kernel what there is, and no file.
///
/// # Errors
/// [`ClientError::Unkillable`] when a process outlives SIGKILL by seconds.
pub async fn sweep(tasks_dir: &Path, cgroup: &str, known: BTreeSet<String>) -> Result<Swept, ClientError> {
    let (tasks_dir, cgroup) = (tasks_dir.to_owned(), cgroup.to_owned());
    blocking(move || {
        let mut swept = Swept::default();
        let group = Cgroup::new(&cgroup).map_err(|source| file_error(Path::new(&cgroup), source))?;
        let ids = group.children().map_err(|source| file_error(Path::new(&cgroup), source))?;
        for (shim, dir) in ShimProcess::all() {
            let id = dir.file_name().map(|id| id.to_string_lossy().into_owned()).unwrap_or_default();
            if dir.parent() == Some(tasks_dir.as_path()) && !known.contains(&id) {
                layout::kill(&shim, DEATH_WAIT_MAX).map_err(|source| file_error(&dir, source))?;
                swept.shims += 1;
            }
        }
        for id in ids.difference(&known) {
            remove_cgroup(&format!("{cgroup}/{id}"))?;
            swept.groups += 1;
        }
        Ok(swept)
    })
    .await
}
