//! `estiva agent`: one node.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use estiva_agent::{Agent, AgentError, Identity, ImagePullBehavior, NodeOptions, Seat, size_of};
use estiva_model::{Region, hex_id};
use estiva_network::Subnet;
use estiva_wire::client::SOCKET_SCHEME;
use estiva_wire::sigv4::{Secret, SigningCredentials};
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};

use crate::credentials::InstallationCredentials;
use crate::handover::{self, Sockets};
use crate::installation::{Installation, InstallationOptions};
use crate::patience::patiently;
use crate::{program, ready, telemetry};

const ZONE_CHARS_MAX: usize = 63;

/// Run a node that takes tasks
///
/// It signs with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; without them, with the keys of the installation in --data.
/// Tasks outlive the agent: the next one takes them back.
#[derive(Args)]
pub struct Options {
    /// The control plane's endpoint, or its socket as unix:/path; that of the installation in --data unless given
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// The cluster that the node joins, made if it is new
    #[arg(long, value_name = "NAME", default_value = "default", env = "ECS_CLUSTER")]
    cluster: String,
    /// Take tasks of launch type FARGATE, of any cluster
    #[arg(long, conflicts_with = "external")]
    fargate: bool,
    /// Take tasks of launch type EXTERNAL, and of no other
    #[arg(long)]
    external: bool,
    /// The availability zone that the node stands in; the region's first unless given
    #[arg(long, value_name = "ZONE", value_parser = zone)]
    az: Option<String>,
    /// The node's instance type: one of EC2's makes the node as small as that; any other is a label
    #[arg(long, value_name = "TYPE")]
    instance_type: Option<String>,
    /// A further attribute of the container instance; may be given again
    #[arg(long = "attribute", value_name = "NAME[=VALUE]", value_parser = attribute)]
    attributes: Vec<(String, Option<String>)>,
    /// How many tasks the node takes at a time; as many as fit unless given
    #[arg(long, value_name = "N")]
    task_slots: Option<u32>,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    settings: NodeSettings,
}

/// Of a further node of the machine, whose agent `estiva up` starts within the node's network namespace.
#[derive(Args)]
struct Place {
    /// Its name
    #[arg(long, hide = true, requires = "node_address", requires = "node_subnet")]
    node: Option<String>,
    /// Its address
    #[arg(long, hide = true, requires = "node")]
    node_address: Option<Ipv4Addr>,
    /// Its tasks'
    #[arg(long, hide = true, requires = "node")]
    node_subnet: Option<Subnet>,
}

/// What `up` takes for its node too.
#[derive(Args)]
pub struct NodeSettings {
    /// When images are pulled
    #[arg(long, value_enum, default_value_t = PullBehavior::Default, env = "ECS_IMAGE_PULL_BEHAVIOR")]
    image_pull_behavior: PullBehavior,
    /// A registry to speak to without TLS, as HOST[:PORT]; those on loopback always may be
    #[arg(long = "insecure-registry", value_name = "HOST")]
    insecure_registries: Vec<String>,
    /// How often images that nobody uses are looked for; 0s is never
    #[arg(long, value_name = "TIME", default_value = "30m", value_parser = humantime::parse_duration, env = "ECS_IMAGE_CLEANUP_INTERVAL")]
    image_cleanup_interval: Duration,
    /// For how long nobody must have used a pulled image before it is removed, as long as there is room
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = humantime::parse_duration, env = "ECS_IMAGE_MINIMUM_CLEANUP_AGE")]
    image_minimum_cleanup_age: Duration,
}

/// As AWS's agent names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum PullBehavior {
    /// Ask the registry for a tag; use what is there when it cannot be reached
    Default,
    /// Always ask the registry
    Always,
    /// Pull an image that this node has never had
    Once,
    /// Pull an image that is not there
    PreferCached,
}

impl NodeSettings {
    /// As arguments of `estiva agent`.
    pub fn arguments(&self) -> Vec<String> {
        let behavior = self.image_pull_behavior.to_possible_value();
        let behavior = behavior.map(|value| format!("--image-pull-behavior={}", value.get_name()));
        behavior
            .into_iter()
            .chain(self.insecure_registries.iter().map(|host| format!("--insecure-registry={host}")))
            .chain([
                format!("--image-cleanup-interval={}", in_words(self.image_cleanup_interval)),
                format!("--image-minimum-cleanup-age={}", in_words(self.image_minimum_cleanup_age)),
            ])
            .collect()
    }
}

fn in_words(duration: Duration) -> String {
    humantime::format_duration(duration).to_string().replace(' ', "")
}

/// Runs until SIGINT or SIGTERM.
pub fn run(installation: &InstallationOptions, options: &Options) -> Result<()> {
    telemetry::start();
    let sockets = handover::take()?;
    let here = installation.open()?;
    let runtime = tokio::runtime::Runtime::new()?;
    let agent_options = agent_options(installation, &here, options, sockets)?;
    let open = || runtime.block_on(Agent::open(agent_options.clone()));
    let agent = patiently(AgentError::is_taken, open).context("cannot open the node")?;
    let ended = runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let told = async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        let announce = || {
            if let Err(error) = ready::announce("ready") {
                warn!(%error, "whoever started this agent does not hear that it is ready");
            }
        };
        agent.run(announce, told).await.context("the node cannot work")?;
        info!("the agent ends; tasks run on");
        Ok(())
    });
    // The process ends with its runtime as it is. Taken apart first, a driver that waits for the disk would go on without timers,
    // and panic; and nothing needs to be waited for, as every step can be cut short.
    std::mem::forget(runtime);
    ended
}

/// Where this installation's node keeps what it has.
pub fn node_options(here: &Installation) -> Result<NodeOptions> {
    Ok(NodeOptions {
        installation: here.name.clone(),
        state_dir: here.node_dir()?,
        image_dir: here.image_dir()?,
        run_dir: here.run_dir()?,
        exe: program::PATH.into(),
        seat: None,
        size: None,
    })
}

/// Where a further node keeps what it has; images it has in common with all nodes of the installation.
pub fn further_node_options(here: &Installation, node: &str, seat: Seat) -> Result<NodeOptions> {
    Ok(NodeOptions {
        installation: here.further_name(node),
        state_dir: here.further_node_dir(node)?,
        run_dir: here.further_run_dir(node)?,
        seat: Some(seat),
        ..node_options(here)?
    })
}

impl Place {
    fn options(&self, here: &Installation) -> Result<NodeOptions> {
        match (&self.node, self.node_address, self.node_subnet) {
            (Some(node), Some(address), Some(subnet)) => further_node_options(here, node, Seat { address, subnet }),
            _ => node_options(here),
        }
    }
}

fn agent_options(
    installation: &InstallationOptions,
    here: &Installation,
    options: &Options,
    sockets: Sockets,
) -> Result<estiva_agent::Options> {
    let (credentials, region) = credentials(here)?;
    let mut node = options.place.options(here)?;
    node.size = options.instance_type.as_deref().and_then(size_of);
    if let (Some(name), None) = (&options.instance_type, node.size) {
        warn!(name, "an instance type that is not known; the node offers what the machine has");
    }
    let instance_id = match &options.place.node {
        None if options.external => Some(external_id(&node.state_dir)?),
        name => name.clone(),
    };
    let server = options.server.clone().unwrap_or_else(|| installation.server(here));
    Ok(estiva_agent::Options {
        node,
        server_of_tasks: if server.starts_with(SOCKET_SCHEME) { installation.endpoint() } else { server.clone() },
        server,
        containers_listener: sockets.tcp.into_iter().next().map(Arc::new),
        cluster: options.cluster.clone(),
        region,
        credentials,
        fargate: options.fargate,
        identity: Identity {
            instance_type: options.instance_type.clone(),
            availability_zone: options.az.clone(),
            instance_id,
            external: options.external,
            attributes: options.attributes.clone(),
            task_slots: options.task_slots,
        },
        image_pull_behavior: options.settings.image_pull_behavior.into(),
        insecure_registries: options.settings.insecure_registries.clone(),
        image_cleanup_interval: options.settings.image_cleanup_interval,
        image_minimum_cleanup_age: options.settings.image_minimum_cleanup_age,
    })
}

/// `mi-` and seventeen hexadecimal digits, as Systems Manager calls a machine that is not of AWS's; made once.
fn external_id(state_dir: &Path) -> Result<String> {
    let file = state_dir.join("instance-id");
    let known = fs::read_to_string(&file).map(|text| text.trim().to_owned()).unwrap_or_default();
    if !known.is_empty() {
        return Ok(known);
    }
    let id = format!("mi-{}", hex_id(&mut rand::rng(), 17));
    fs::write(&file, format!("{id}\n")).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(id)
}

/// Letters, digits and hyphens: `us-east-1b`, or what the owner's rooms are called.
pub fn zone(text: &str) -> Result<String, String> {
    let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_zone = (1..=ZONE_CHARS_MAX).contains(&text.len()) && text.bytes().all(legal);
    if is_zone { Ok(text.to_owned()) } else { Err("a zone is lower-case letters, digits and hyphens".to_owned()) }
}

fn attribute(text: &str) -> Result<(String, Option<String>), String> {
    let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value.to_owned())));
    if name.is_empty() { Err("an attribute has a name".to_owned()) } else { Ok((name.to_owned(), value)) }
}

/// Those of the environment, as every AWS tool takes them, or the installation's.
fn credentials(here: &Installation) -> Result<(SigningCredentials, Region)> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let (Some(access_key_id), Some(secret)) = (variable("AWS_ACCESS_KEY_ID"), variable("AWS_SECRET_ACCESS_KEY")) else {
        let stored = InstallationCredentials::load(&here.credentials_file())?;
        return Ok((stored.node, stored.region));
    };
    let region = match variable("AWS_REGION").or_else(|| variable("AWS_DEFAULT_REGION")) {
        Some(name) => Region::parse(&name).with_context(|| format!("'{name}' is no region"))?,
        None => Region::default(),
    };
    let session_token = variable("AWS_SESSION_TOKEN").map(Secret::new);
    Ok((SigningCredentials { access_key_id, secret: Secret::new(secret), session_token }, region))
}

impl From<PullBehavior> for ImagePullBehavior {
    fn from(behavior: PullBehavior) -> Self {
        match behavior {
            PullBehavior::Default => Self::Default,
            PullBehavior::Always => Self::Always,
            PullBehavior::Once => Self::Once,
            PullBehavior::PreferCached => Self::PreferCached,
        }
    }
}
