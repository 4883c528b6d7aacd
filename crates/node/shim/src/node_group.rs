//! The control group above all of a node's tasks: it makes a node as small as the machine that it stands for.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cgroup::Cgroup;

const PERIOD_US: u64 = 100_000;
/// How long killed processes may take to go.
const DEATH_WAIT_MAX: Duration = Duration::from_secs(5);
/// How many files all processes of a user together may watch with epoll.
const EPOLL_WATCHES: &str = "/proc/sys/fs/epoll/max_user_watches";
/// What the groups of all nodes of a machine are called by, of whichever installation: they share its process ids.
const PREFIX: &str = "estiva-";

/// What all tasks of a node together may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeLimits {
    /// CPU units: 1024 are a core. More than the machine has is no limit.
    pub cpu_units: u64,
    /// Memory, in bytes.
    pub memory_bytes: u64,
}

/// Makes the group at `path`, absolute from the roots of the hierarchies, and limits it. Tasks that are in it stay.
///
/// # Errors
/// The kernel lacks a controller, or refuses: on cgroup v1, memory cannot be limited to less than what is in use.
pub fn limit(path: &str, limits: NodeLimits) -> io::Result<()> {
    let group = Cgroup::new(path)?;
    group.create()?;
    let quota_us = limits.cpu_units * PERIOD_US / 1024;
    let memory = limits.memory_bytes.to_string();
    let settings = if group.is_unified() {
        vec![("cpu.max", format!("{quota_us} {PERIOD_US}")), ("memory.max", memory)]
    } else {
        vec![
            ("cpu.cfs_period_us", PERIOD_US.to_string()),
            ("cpu.cfs_quota_us", quota_us.to_string()),
            ("memory.limit_in_bytes", memory),
        ]
    };
    settings.into_iter().try_for_each(|(file, value)| write(&group, file, &value))
}

/// How many processes and threads all tasks of the machine together may have: three quarters of what the kernel has. What is
/// left is enough for the shims, the agents, `estiva up`, and a shell of whoever has to clear things up.
pub fn machine_pids() -> io::Result<u64> {
    let read = |name: &str| -> io::Result<u64> {
        let text = fs::read_to_string(format!("/proc/sys/kernel/{name}"))?;
        text.trim().parse().map_err(io::Error::other)
    };
    Ok(read("pid_max")?.min(read("threads-max")?) / 4 * 3)
}

/// Takes the bound from the watches of epoll. Containers run as the user that the machine's own services run as, and the count
/// is the user's: a task with a twenty-fifth of the machine's memory could take every watch, and no service would get a new
/// connection. A task pays for each with its own memory, which bounds them without that.
///
/// # Errors
/// The kernel refuses, as in a container whose `/proc/sys` can only be read.
pub fn free_epoll_watches() -> io::Result<()> {
    raise(EPOLL_WATCHES.as_ref(), i64::MAX)
}

fn raise(parameter: &Path, to: i64) -> io::Result<()> {
    let now: i64 = fs::read_to_string(parameter)?.trim().parse().map_err(io::Error::other)?;
    if now < to { fs::write(parameter, to.to_string()) } else { Ok(()) }
}

/// Makes the group of a node and divides [`machine_pids`] evenly among the nodes' groups that there are. A node that has more
/// than its new share keeps it, and gets no further one.
///
/// # Errors
/// The kernel has no pids controller, or refuses.
pub fn share_pids(path: &str) -> io::Result<()> {
    Cgroup::new(path)?.create()?;
    let all = machine_pids()?;
    let nodes: Vec<String> =
        Cgroup::new("/")?.children()?.into_iter().filter(|name| name.starts_with(PREFIX)).collect();
    let share = (all / u64::try_from(nodes.len()).unwrap_or(u64::MAX).max(1)).to_string();
    for node in nodes {
        match write(&Cgroup::new(&format!("/{node}"))?, "pids.max", &share) {
            // Another installation has taken it away meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound && node != path.trim_start_matches('/') => {}
            other => other?,
        }
    }
    Ok(())
}

/// Kills everything in the group and removes it; fine when there is none.
///
/// # Errors
/// [`io::ErrorKind::TimedOut`] when a process outlives SIGKILL by seconds.
pub fn remove(path: &str) -> io::Result<()> {
    Cgroup::new(path)?.kill_and_remove(DEATH_WAIT_MAX)
}

/// Writes a setting in the hierarchy that has it.
fn write(group: &Cgroup, file: &str, value: &str) -> io::Result<()> {
    let path: Option<PathBuf> = group.dirs().iter().map(|dir| dir.join(file)).find(|path| path.exists());
    let path = path.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("cgroups have no {file}")))?;
    fs::write(&path, value).map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_raised_and_never_lowered() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("parameter");
        for (before, after) in [("5\n", "7"), ("7\n", "7\n"), ("8\n", "8\n")] {
            fs::write(&file, before).unwrap();
            raise(&file, 7).unwrap();
            assert_eq!(fs::read_to_string(&file).unwrap(), after);
        }
        assert!(raise(&dir.path().join("none"), 7).is_err());
    }
}
