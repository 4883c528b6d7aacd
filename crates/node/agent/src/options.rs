//! What an agent is told at start.

use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use estiva_image::PullPolicy;
use estiva_model::Region;
use estiva_network::Subnet;
use estiva_wire::sigv4::SigningCredentials;

use crate::capacity::Capacity;

/// Where a node keeps what it has: all that is needed to find its tasks, also without a control plane.
#[derive(Debug, Clone)]
pub struct NodeOptions {
    /// Names the kernel's objects of this node: at most twelve letters and digits.
    pub installation: String,
    /// What outlives a reboot: task records, images.
    pub state_dir: PathBuf,
    /// The images' directory.
    pub image_dir: PathBuf,
    /// What does not: sockets, namespaces. Short, as sockets' paths are.
    pub run_dir: PathBuf,
    /// The program that is started as `EXE shim …`.
    pub exe: PathBuf,
    /// Where a node that has a network namespace of its own is in its installation; `None` has the host's network.
    pub seat: Option<Seat>,
    /// What all its tasks together may use, where that is not all that the machine has.
    pub size: Option<Capacity>,
}

/// Where a further node of a machine is. The agent runs within the node's network namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seat {
    /// The node's address: where its published ports answer.
    pub address: Ipv4Addr,
    /// Its tasks'.
    pub subnet: Subnet,
}

/// What a node says of itself beside what it can do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// `ecs.instance-type`, such as `t3.small`.
    pub instance_type: Option<String>,
    /// `ecs.availability-zone`; the region's first where there is none.
    pub availability_zone: Option<String>,
    /// What EC2 would call the instance; the control plane makes one up where there is none.
    pub instance_id: Option<String>,
    /// A machine that is not of AWS's: takes tasks of launch type EXTERNAL, and of no other.
    pub external: bool,
    /// Further attributes, with or without a value.
    pub attributes: Vec<(String, Option<String>)>,
    /// How many tasks the node takes at a time, if not as many as fit.
    pub task_slots: Option<u32>,
}

/// What an agent is told at start.
#[derive(Clone)]
pub struct Options {
    /// Where the node keeps what it has.
    pub node: NodeOptions,
    /// Where the control plane is: a URL such as `http://127.0.0.1:4566`, or a socket such as `unix:/run/estiva/api.sock`.
    pub server: String,
    /// The control plane's endpoint as tasks may use it, always a URL: they see no socket of the host's.
    pub server_of_tasks: String,
    /// Where containers reach the node, if its agent need not listen for itself: see [`crate::listen_for_containers`].
    pub containers_listener: Option<Arc<TcpListener>>,
    /// The cluster to register with.
    pub cluster: String,
    /// The region to sign for.
    pub region: Region,
    /// The node's.
    pub credentials: SigningCredentials,
    /// Whether tasks of launch type FARGATE may be placed here.
    pub fargate: bool,
    /// What the node says of itself.
    pub identity: Identity,
    /// When images are pulled.
    pub image_pull_behavior: ImagePullBehavior,
    /// Registries that are spoken to without TLS, as `host[:port]`; those on loopback always may be.
    pub insecure_registries: Vec<String>,
    /// How often images that nobody uses are looked for; zero is never.
    pub image_cleanup_interval: Duration,
    /// For how long nobody must have used one before it goes, as long as there is room.
    pub image_minimum_cleanup_age: Duration,
}

/// When images are pulled: `ECS_IMAGE_PULL_BEHAVIOR` of AWS's agent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ImagePullBehavior {
    /// A tag is asked for anew; the image that is there serves when the registry cannot be reached.
    #[default]
    Default,
    /// The registry must answer.
    Always,
    /// Only if this node has never had the image.
    Once,
    /// Only if the image is not there.
    PreferCached,
}

impl From<ImagePullBehavior> for PullPolicy {
    fn from(behavior: ImagePullBehavior) -> Self {
        match behavior {
            ImagePullBehavior::Default => Self::Default,
            ImagePullBehavior::Always => Self::Always,
            ImagePullBehavior::Once => Self::Once,
            ImagePullBehavior::PreferCached => Self::PreferCached,
        }
    }
}
