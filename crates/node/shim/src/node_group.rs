//! The control group above all of a node's tasks: it makes a node as small as the machine that it stands for.

use std::fs;
use std::io;
use std::path::PathBuf;

use crate::cgroup::Cgroup;

const PERIOD_US: u64 = 100_000;

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

/// Writes a setting in the hierarchy that has it.
fn write(group: &Cgroup, file: &str, value: &str) -> io::Result<()> {
    let path: Option<PathBuf> = group.dirs().iter().map(|dir| dir.join(file)).find(|path| path.exists());
    let path = path.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("cgroups have no {file}")))?;
    fs::write(&path, value).map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}
