//! Limits and devices.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Limits on a cgroup; what is `None` is not limited (except [`Resources::pids_limit`]).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resources {
    /// Relative weight, 2 to 262,144, 1,024 is one vCPU (`cpu.shares`; on v2 converted to `cpu.weight`).
    #[serde(default)]
    pub cpu_shares: Option<u64>,
    /// CPU time a period may use, in microseconds.
    #[serde(default)]
    pub cpu_quota_us: Option<i64>,
    /// The period, 1,000 to 1,000,000 microseconds; 100,000 when absent.
    #[serde(default)]
    pub cpu_period_us: Option<u64>,
    /// Hard memory limit.
    #[serde(default)]
    pub memory_limit_bytes: Option<i64>,
    /// Soft memory limit: what the kernel reclaims towards under pressure.
    #[serde(default)]
    pub memory_reservation_bytes: Option<i64>,
    /// Memory and swap together, as Docker's `--memory-swap`; `None` with a memory limit means no swap at all, which
    /// is what ECS does. -1 is unlimited swap.
    #[serde(default)]
    pub memory_swap_bytes: Option<i64>,
    /// How eagerly to swap, 0 to 100 (v1 only: v2 has no such control).
    #[serde(default)]
    pub memory_swappiness: Option<u64>,
    /// Number of processes and threads. `None` on a container is [`Resources::PIDS_LIMIT_DEFAULT`]; -1 is unlimited.
    #[serde(default)]
    pub pids_limit: Option<i64>,
}

impl Resources {
    /// A fork bomb ends here; common servers stay far below.
    pub const PIDS_LIMIT_DEFAULT: i64 = 4096;
}

/// One POSIX resource limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ulimit {
    /// The name as Docker and ECS write it: `nofile`, `nproc`, `core`, …
    pub name: String,
    /// What processes get.
    pub soft: u64,
    /// How far they may raise it.
    pub hard: u64,
}

/// One device of the host inside the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Device {
    /// Path on the host.
    pub host_path: PathBuf,
    /// Path inside.
    pub container_path: PathBuf,
    /// What is allowed: letters of `rwm` (read, write, mknod).
    pub permissions: String,
}
