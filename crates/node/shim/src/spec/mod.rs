//! What the agent tells a shim: the task ([`TaskSpec`], a file written before the shim is spawned) and each container
//! ([`ContainerSpec`], sent with [`Client::create`](crate::client::Client::create)).
//!
//! These are our own types, not raw OCI JSON: they can say only what Estiva supports, and everything that they leave
//! out gets the isolation that Docker users expect (see `oci`). They hold no ECS type: the agent translates a task
//! definition and an image's configuration into them.

mod check;
mod exec;
mod log;
mod resources;

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};

pub use self::{
    check::{InvalidSpec, NAME_BYTES_MAX, SOCKET_PATH_BYTES_MAX, validate_container, validate_exec, validate_task},
    exec::ExecSpec,
    log::LogSink,
    resources::{Device, Resources, Ulimit},
};

/// One task, as the agent writes it to `TASKDIR/task.json` before it spawns the shim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskSpec {
    /// The task's id; it appears in the shim's process title and log only.
    pub task_id: String,
    /// Where the shim listens, at most [`SOCKET_PATH_BYTES_MAX`] bytes, e.g. `/run/estiva/<hash>/<id>.sock`.
    /// Its directory is created (0700) when absent.
    pub socket: PathBuf,
    /// A directory of the shim's own for run-time state that need not survive a reboot, e.g.
    /// `/run/estiva/<hash>/<id>`. Created by the shim, removed when it shuts down.
    pub runtime_dir: PathBuf,
    /// The task's cgroup, absolute from the root of the hierarchy, e.g. `/estiva-<hash>/<task>`. Containers get
    /// children of it, named after them. It is removed when the shim shuts down.
    pub cgroup: String,
    /// Containers with [`NamespaceMode::Task`] as their PID mode share a PID namespace.
    #[serde(default)]
    pub shared_pid_namespace: bool,
    /// Containers with [`NamespaceMode::Task`] as their IPC mode share an IPC namespace, and `/dev/shm`.
    #[serde(default)]
    pub shared_ipc_namespace: bool,
    /// Limits of the task as a whole, set on its cgroup; each container has its own below them.
    #[serde(default)]
    pub resources: Resources,
}

/// One container of the task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(clippy::struct_excessive_bools)] // Each is a switch of its own, as in a task definition.
pub struct ContainerSpec {
    /// The name within the task: letters, digits, `-` and `_`, at most [`NAME_BYTES_MAX`] bytes.
    pub name: String,
    /// The runtime id, unique on the host (same alphabet).
    pub id: String,
    /// Where the root file system comes from.
    pub rootfs: Rootfs,
    /// Program and arguments; the first is looked up in the `PATH` of `env` inside the root.
    pub args: Vec<String>,
    /// `KEY=value` entries; a later one wins. `PATH` and `HOSTNAME` are added when absent.
    #[serde(default)]
    pub env: Vec<String>,
    /// Absolute working directory inside the root, created when absent.
    #[serde(default = "root_dir")]
    pub cwd: PathBuf,
    /// Who the program runs as.
    #[serde(default)]
    pub user: User,
    /// The host name inside; `None` leaves the namespace's own (only with `host_uts`) or uses `id`.
    #[serde(default)]
    pub hostname: Option<String>,
    /// Share the host's UTS namespace (Docker does so for host networking).
    #[serde(default)]
    pub host_uts: bool,
    /// A network namespace with nothing but a loopback interface, whatever the task's is.
    #[serde(default)]
    pub network_disabled: bool,
    /// The network namespace to join, e.g. `/run/netns/x`; `None` is the host's network.
    #[serde(default)]
    pub network_namespace: Option<PathBuf>,
    /// Which PID namespace.
    #[serde(default)]
    pub pid_mode: NamespaceMode,
    /// Which IPC namespace (and, shared, which `/dev/shm`).
    #[serde(default)]
    pub ipc_mode: NamespaceMode,
    /// Mount the root read-only.
    #[serde(default)]
    pub readonly_rootfs: bool,
    /// Give the program a pseudo-terminal; its output is one stream, `stdout`.
    #[serde(default)]
    pub tty: bool,
    /// Keep stdin open (a pipe that nobody writes to yet) instead of `/dev/null`.
    #[serde(default)]
    pub stdin_open: bool,
    /// Capabilities beyond the default set, as `NET_ADMIN` or `CAP_NET_ADMIN`; `ALL` is every one.
    #[serde(default)]
    pub cap_add: Vec<String>,
    /// Capabilities taken from the default set; `ALL` is every one. Applied before `cap_add`.
    #[serde(default)]
    pub cap_drop: Vec<String>,
    /// All capabilities, all devices, no seccomp filter, nothing masked: the host's root in a box.
    #[serde(default)]
    pub privileged: bool,
    /// Set `no_new_privs`: set-user-id programs gain nothing.
    #[serde(default)]
    pub no_new_privileges: bool,
    /// Run without the default seccomp filter.
    #[serde(default)]
    pub seccomp_unconfined: bool,
    /// Limits of this container.
    #[serde(default)]
    pub resources: Resources,
    /// POSIX resource limits.
    #[serde(default)]
    pub ulimits: Vec<Ulimit>,
    /// Kernel parameters of the container's namespaces.
    #[serde(default)]
    pub sysctls: BTreeMap<String, String>,
    /// Devices of the host that appear inside.
    #[serde(default)]
    pub devices: Vec<Device>,
    /// Memory file systems.
    #[serde(default)]
    pub tmpfs: Vec<Tmpfs>,
    /// Size of `/dev/shm`; `None` is 64 MiB.
    #[serde(default)]
    pub shm_size_bytes: Option<u64>,
    /// Files and directories of the host that appear inside, mounted in this order. The agent's own `resolv.conf`,
    /// `hosts` and `hostname` files come this way too.
    #[serde(default)]
    pub mounts: Vec<BindMount>,
    /// The signal that [`Client::stop`](crate::client::Client::stop) sends when it is given none: 15 by default.
    #[serde(default = "sigterm")]
    pub stop_signal: i32,
    /// The first process is one that reaps and passes signals on; the program is its child.
    #[serde(default)]
    pub init: bool,
    /// Once stopped it can be started anew, with its files and its log going on, by
    /// [`Client::restart`](crate::client::Client::restart).
    #[serde(default)]
    pub restartable: bool,
    /// Where the output goes.
    #[serde(default)]
    pub log: LogSink,
}

/// A root file system: an overlay of image layers, or (no layers) a directory used as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rootfs {
    /// Read-only layers, the topmost first, each an absolute directory. Empty: `target` itself is the root.
    #[serde(default)]
    pub lower: Vec<PathBuf>,
    /// What the container writes (a directory; must exist). Unused without layers.
    #[serde(default)]
    pub upper: PathBuf,
    /// The overlay's scratch directory, empty, on the same file system as `upper`. Unused without layers.
    #[serde(default)]
    pub work: PathBuf,
    /// Where the overlay is mounted, inside the shim's own mount namespace: invisible to the host, gone with the shim.
    pub target: PathBuf,
}

/// Who a program runs as.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum User {
    /// Numbers.
    Ids {
        /// User id.
        uid: u32,
        /// Group id.
        gid: u32,
        /// Supplementary groups.
        #[serde(default)]
        additional_gids: Vec<u32>,
    },
    /// `user[:group]` as in an image's configuration, names or numbers, resolved with the container's own
    /// `/etc/passwd` and `/etc/group`. Empty is root.
    Named(String),
}

impl Default for User {
    fn default() -> Self {
        Self::Named(String::new())
    }
}

/// Which namespace of a kind a container lives in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum NamespaceMode {
    /// A new one.
    #[default]
    Private,
    /// The host's.
    Host,
    /// The one that the task's containers share; see [`TaskSpec::shared_pid_namespace`].
    Task,
}

/// A path of the host inside the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BindMount {
    /// Absolute path on the host; must exist.
    pub source: PathBuf,
    /// Absolute path inside; made when absent.
    pub destination: PathBuf,
    /// Mounted read-only, with everything below it.
    #[serde(default)]
    pub read_only: bool,
    /// While the source is an empty directory, the image's content at the destination is copied to it: Docker's volumes.
    #[serde(default)]
    pub populate: bool,
}

/// A memory file system inside the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tmpfs {
    /// Absolute path inside.
    pub destination: PathBuf,
    /// Its size; `None` is half of the machine's memory, the kernel's default.
    #[serde(default)]
    pub size_bytes: Option<u64>,
    /// Further mount options as Docker takes them (`ro`, `exec`, `mode=1777`, `uid=…`).
    #[serde(default)]
    pub options: Vec<String>,
}

fn root_dir() -> PathBuf {
    PathBuf::from("/")
}

fn sigterm() -> i32 {
    libc::SIGTERM
}
