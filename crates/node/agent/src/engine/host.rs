//! What every task of this node shares.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use estiva_image::{Images, PullPolicy};
use estiva_model::Region;
use estiva_network::{Config, NodeNetwork, Publish, UPLINK};
use estiva_shim::node_group::{self, NodeLimits};
use estiva_wire::client::Client;
use estiva_wire::sigv4::SigningCredentials;
use tokio::sync::watch;
use tracing::warn;

use super::credentials::TaskCredentials;
use super::health_news::HealthNews;
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

    /// Takes away what the kernel has of the node. No task may be left.
    pub async fn dismantle(&self) -> Result<(), AgentError> {
        self.network.dismantle().await?;
        unmount_shared(&self.volumes_dir).map_err(AgentError::io(&self.volumes_dir))?;
        for hierarchy in cgroup_hierarchies() {
            let dir = hierarchy.join(self.cgroup.trim_start_matches('/'));
            match std::fs::remove_dir(&dir) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(AgentError::io(dir)(error)),
                _ => {}
            }
        }
        // What is not empty is somebody else's, or will be found by the next start.
        for dir in ["shim", "firelens", ""] {
            let _ = std::fs::remove_dir(self.run_dir.join(dir));
        }
        Ok(())
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
        let cgroup = format!("/estiva-{}", options.installation);
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

/// Where cgroup hierarchies are mounted: the one of version 2, or each of version 1.
fn cgroup_hierarchies() -> Vec<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let hierarchy = |line: &str| {
        let mut fields = line.split(' ').skip(1);
        let (dir, kind) = (fields.next()?, fields.next()?);
        kind.starts_with("cgroup").then(|| PathBuf::from(dir))
    };
    mounts.lines().filter_map(hierarchy).collect()
}
