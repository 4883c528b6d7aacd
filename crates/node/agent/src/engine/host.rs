//! What every task of this node shares.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use estiva_image::{Images, PullPolicy};
use estiva_model::Region;
use estiva_network::{Config, NodeNetwork, Publish, UPLINK};
use estiva_shim::client::{self, Swept};
use estiva_shim::node_group::{self, NodeLimits};
use estiva_wire::client::Client;
use estiva_wire::sigv4::SigningCredentials;
use tokio::sync::watch;
use tracing::{debug, warn};

use super::credentials::TaskCredentials;
use super::health_news::HealthNews;
use super::mount_point::unmount;
use super::volume::unmount_shared;
use crate::capacity::{self, Capacity};
use crate::endpoint::EndpointAddress;
use crate::error::AgentError;
use crate::options::{NodeOptions, Options};

/// The node's images, network and directories, and how its control plane is reached.
pub(crate) struct Host {
    /// The program that is started as `EXE shim …`.
    pub exe: PathBuf,
    /// A directory for each task.
    pub tasks_dir: PathBuf,
    /// Sockets and namespaces.
    pub run_dir: PathBuf,
    /// The node's own cgroup, absolute from the root of the hierarchy.
    pub cgroup: String,
    /// How many processes and threads a task may have.
    pub task_pids: i64,
    /// Where published ports answer.
    pub published_at: Ipv4Addr,
    /// Volumes that outlive their tasks.
    pub volumes_dir: PathBuf,
    /// Of tasks' roles.
    pub credentials: TaskCredentials,
    /// Where containers find their node; `None` until it listens.
    pub endpoint: OnceLock<EndpointAddress>,
    /// Whose health is to be told.
    pub health_news: HealthNews,
    /// The node's images.
    pub images: Images,
    /// The node's network.
    pub network: NodeNetwork,
    /// When images are pulled.
    pub pull_policy: PullPolicy,
    /// `None` while there is no control plane: nothing can be reported or shipped.
    pub control_plane: Option<ControlPlane>,
    /// Whether the control plane has taken this agent for the node's, since it began.
    pub admitted: watch::Sender<bool>,
}

/// How the control plane is reached.
#[derive(Clone)]
pub(crate) struct ControlPlane {
    /// ECS and the other APIs behind the endpoint.
    pub client: Client,
    /// The node's.
    pub credentials: SigningCredentials,
    /// The node's.
    pub region: Region,
}

impl ControlPlane {
    /// That of these options.
    pub fn of(options: &Options) -> Result<Self, AgentError> {
        Ok(Self {
            client: Client::of_server(&options.server, options.credentials.clone(), options.region.clone())?,
            credentials: options.credentials.clone(),
            region: options.region.clone(),
        })
    }
}

impl Host {
    /// For a node that reports to its control plane.
    pub async fn online(options: &Options) -> Result<Arc<Self>, AgentError> {
        let control_plane = ControlPlane::of(options)?;
        let mut host = Self::open(&options.node).await?;
        host.images = host.images.with_insecure_registries(options.insecure_registries.clone());
        host.pull_policy = options.image_pull_behavior.into();
        host.control_plane = Some(control_plane);
        Ok(Arc::new(host))
    }

    /// For a node whose control plane is away.
    pub async fn offline(options: &NodeOptions) -> Result<Arc<Self>, AgentError> {
        Self::open(options).await.map(Arc::new)
    }

    /// Takes away what the kernel has of the node, and ends what still runs there. Does all that can be done before it tells
    /// the first error.
    pub async fn dismantle(&self) -> Result<(), AgentError> {
        let ended = end_processes(&self.tasks_dir, &self.run_dir, &self.cgroup).await;
        let unmounted = unmount_shared(&self.volumes_dir).map_err(AgentError::io(&self.volumes_dir));
        let dismantled = self.network.dismantle().await.map_err(AgentError::from);
        // What is not empty is somebody else's, or will be found by the next start.
        for dir in ["shim", "firelens", ""] {
            let _ = std::fs::remove_dir(self.run_dir.join(dir));
        }
        ended.and(unmounted).and(dismantled)
    }

    /// Ends what runs on the node and belongs to no task of `known`.
    pub async fn sweep(&self, known: BTreeSet<String>) -> Result<(), AgentError> {
        unmount_unknown(&self.tasks_dir, &known)?;
        remove_unknown(&self.run_dir.join("shim"), &known);
        let swept = client::sweep(&self.tasks_dir, &self.cgroup, known).await?;
        if swept != Swept::default() {
            let Swept { shims, groups } = swept;
            warn!(shims, groups, dir = %self.tasks_dir.display(), "ended what ran of tasks that the node has no record of");
        }
        Ok(())
    }

    /// Where the shim of a task listens.
    pub fn shim_socket(&self, id: &str) -> PathBuf {
        self.run_dir.join("shim").join(format!("{id}.sock"))
    }

    async fn open(options: &NodeOptions) -> Result<Self, AgentError> {
        let images = Images::open(&options.image_dir)?;
        let network_run_dir = options.run_dir.join("network");
        let mut config = Config::new(&options.installation, options.state_dir.join("network"), network_run_dir);
        if let Some(seat) = options.seat {
            config.publish = Publish::All;
            config.subnet = Some(seat.subnet);
            config.uplink = Some(UPLINK.to_owned());
        }
        let network = NodeNetwork::open(config).await?;
        let cgroup = cgroup_of(options);
        if let Err(error) = node_group::free_epoll_watches() {
            let error: &dyn std::error::Error = &error;
            debug!(error, "a large task may take every epoll watch of the machine's services");
        }
        node_group::share_pids(&cgroup).map_err(AgentError::io(&cgroup))?;
        if let Some(size) = options.size {
            limit(&cgroup, size)?;
        }
        let tasks_dir = options.state_dir.join("tasks");
        private_dir(&tasks_dir)?;
        private_dir(&options.state_dir.join("volumes"))?;
        private_dir(&options.run_dir.join("shim"))?;
        Ok(Self {
            exe: options.exe.clone(),
            tasks_dir,
            run_dir: options.run_dir.clone(),
            volumes_dir: options.state_dir.join("volumes"),
            credentials: TaskCredentials::default(),
            endpoint: OnceLock::new(),
            health_news: HealthNews::default(),
            cgroup,
            task_pids: task_pids()?,
            published_at: options.seat.map_or(Ipv4Addr::LOCALHOST, |seat| seat.address),
            images,
            network,
            pull_policy: PullPolicy::Default,
            control_plane: None,
            admitted: watch::Sender::new(false),
        })
    }
}

/// Makes a node as small as it says that it is.
fn limit(cgroup: &str, size: Capacity) -> Result<(), AgentError> {
    let machine = capacity::of_this_machine();
    if !machine.covers(size) {
        warn!(?size, ?machine, "the node offers more than the machine has");
    }
    let limits = NodeLimits {
        cpu_units: u64::try_from(size.cpu).unwrap_or(0),
        memory_bytes: u64::try_from(size.memory).unwrap_or(0) << 20,
    };
    node_group::limit(cgroup, limits).map_err(AgentError::io(cgroup))
}

fn private_dir(dir: &Path) -> Result<(), AgentError> {
    use std::os::unix::fs::DirBuilderExt;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(AgentError::io(dir))
}

/// A quarter of what all tasks of the machine may have: one task leaves room for others.
fn task_pids() -> Result<i64, AgentError> {
    let pids = node_group::machine_pids().map_err(AgentError::io("/proc/sys/kernel/pid_max"))? / 4;
    Ok(i64::try_from(pids).unwrap_or(i64::MAX))
}

/// The node's own cgroup.
fn cgroup_of(options: &NodeOptions) -> String {
    format!("/estiva-{}", options.installation)
}

/// Ends every process of the node's tasks, asking the kernel alone which there are; for a node that cannot be opened.
pub(crate) async fn end_all_processes(options: &NodeOptions) -> Result<(), AgentError> {
    end_processes(&options.state_dir.join("tasks"), &options.run_dir, &cgroup_of(options)).await
}

async fn end_processes(tasks_dir: &Path, run_dir: &Path, cgroup: &str) -> Result<(), AgentError> {
    let none = BTreeSet::new();
    let swept = client::sweep(tasks_dir, cgroup, none.clone()).await;
    let removed = node_group::remove(cgroup).map_err(AgentError::io(cgroup));
    remove_unknown(&run_dir.join("shim"), &none);
    swept.map_err(AgentError::from).and(removed).and(unmount_unknown(tasks_dir, &none))
}

/// Unmounts the file systems of tasks that are not known: what a directory that was removed had mounted.
fn unmount_unknown(tasks_dir: &Path, known: &BTreeSet<String>) -> Result<(), AgentError> {
    let mounts = std::fs::read_to_string("/proc/self/mounts").map_err(AgentError::io("/proc/self/mounts"))?;
    // The kernel writes blanks in paths as octal numbers; such a directory is left to who removed it.
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(1)).map(Path::new);
    for point in points.filter(|point| is_of_unknown(point, tasks_dir, known)) {
        unmount(point).map_err(AgentError::io(point))?;
    }
    Ok(())
}

fn is_of_unknown(path: &Path, tasks_dir: &Path, known: &BTreeSet<String>) -> bool {
    let id = path.strip_prefix(tasks_dir).ok().and_then(|inside| inside.components().next());
    id.is_some_and(|id| !known.contains(&*id.as_os_str().to_string_lossy()))
}

/// Removes sockets and run-time files of shims that are gone.
fn remove_unknown(dir: &Path, known: &BTreeSet<String>) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !known.contains(name.trim_end_matches(".sock")) {
            // What stays is in nobody's way: the next shim of that name replaces it.
            let _ = std::fs::remove_file(entry.path()).or_else(|_| std::fs::remove_dir_all(entry.path()));
        }
    }
}
