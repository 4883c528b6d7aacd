//! What this node offers: CPU, memory, ports, and the capabilities that placement asks for.

use std::fs;
use std::num::NonZeroUsize;
use std::path::Path;
use std::thread::available_parallelism;

/// What a node offers to tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// CPU units: 1024 are a core.
    pub cpu: i64,
    /// MiB.
    pub memory: i64,
}

/// Host ports that no task gets: ssh, and those that AWS's agent keeps for Docker and itself.
pub const RESERVED_TCP_PORTS: [u16; 5] = [22, 2375, 2376, 51678, 51679];

/// Log drivers, network modes and settings that this agent honours, as attributes without a value. The names are
/// those of AWS's agent, which task definitions ask for in `requiresAttributes`.
pub const CAPABILITIES: [&str; 29] = [
    "com.amazonaws.ecs.capability.docker-remote-api.1.17",
    "com.amazonaws.ecs.capability.docker-remote-api.1.18",
    "com.amazonaws.ecs.capability.docker-remote-api.1.19",
    "com.amazonaws.ecs.capability.docker-remote-api.1.20",
    "com.amazonaws.ecs.capability.docker-remote-api.1.21",
    "com.amazonaws.ecs.capability.docker-remote-api.1.22",
    "com.amazonaws.ecs.capability.logging-driver.awsfirelens",
    "com.amazonaws.ecs.capability.logging-driver.awslogs",
    "com.amazonaws.ecs.capability.logging-driver.fluentd",
    "com.amazonaws.ecs.capability.logging-driver.gelf",
    "com.amazonaws.ecs.capability.logging-driver.journald",
    "com.amazonaws.ecs.capability.logging-driver.json-file",
    "com.amazonaws.ecs.capability.logging-driver.none",
    "com.amazonaws.ecs.capability.logging-driver.splunk",
    "com.amazonaws.ecs.capability.logging-driver.syslog",
    "com.amazonaws.ecs.capability.privileged-container",
    "com.amazonaws.ecs.capability.task-iam-role",
    "com.amazonaws.ecs.capability.task-iam-role-network-host",
    "ecs.capability.container-health-check",
    "ecs.capability.container-ordering",
    "ecs.capability.container-restart-policy",
    "ecs.capability.docker-plugin.local",
    "ecs.capability.execution-role-awslogs",
    "ecs.capability.firelens.fluentbit",
    "ecs.capability.firelens.fluentd",
    "ecs.capability.pid-ipc-namespace-sharing",
    "ecs.capability.private-registry-authentication.secretsmanager",
    "ecs.capability.task-cpu-mem-limit",
    "ecs.capability.task-eni",
];

impl Capacity {
    /// Whether there is as much of everything.
    pub fn covers(self, other: Self) -> bool {
        self.cpu >= other.cpu && self.memory >= other.memory
    }
}

/// The machine's cores and memory.
pub fn of_this_machine() -> Capacity {
    let cores = available_parallelism().map_or(1, NonZeroUsize::get);
    Capacity { cpu: i64::try_from(cores).unwrap_or(1) * 1024, memory: memory_mib(Path::new("/proc/meminfo")) }
}

/// The architecture as ECS names it in `ecs.cpu-architecture`.
pub fn cpu_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "aarch64" => "arm64",
        other => other,
    }
}

fn memory_mib(meminfo: &Path) -> i64 {
    let text = fs::read_to_string(meminfo).unwrap_or_default();
    let kib =
        text.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix("kB")?.trim().parse().ok());
    kib.unwrap_or(0_i64) / 1024
}
