//! `estiva agent`: one node.

use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use estiva_agent::{Agent, AgentError, ImagePullBehavior, NodeOptions};
use estiva_model::Region;
use estiva_wire::sigv4::{Secret, SigningCredentials};
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};

use crate::credentials::InstallationCredentials;
use crate::installation::{Installation, InstallationOptions};
use crate::patience::patiently;
use crate::{ready, telemetry};

/// Run a node that takes tasks
///
/// It signs with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; without them, with the keys of the installation in --data.
/// Tasks outlive the agent: the next one takes them back.
#[derive(Args)]
pub struct Options {
    /// The control plane's endpoint; that of --listen unless given
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// The cluster that the node joins, made if it is new
    #[arg(long, value_name = "NAME", default_value = "default", env = "ECS_CLUSTER")]
    cluster: String,
    /// Take tasks of launch type FARGATE, of any cluster
    #[arg(long)]
    fargate: bool,
    #[command(flatten)]
    settings: NodeSettings,
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
    let here = installation.open()?;
    let runtime = tokio::runtime::Runtime::new()?;
    let agent_options = agent_options(installation, &here, options)?;
    let open = || runtime.block_on(Agent::open(agent_options.clone()));
    let agent = patiently(AgentError::is_taken, open).context("cannot open the node")?;
    runtime.block_on(async {
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
    })
}

/// Where this installation's node keeps what it has.
pub fn node_options(here: &Installation) -> Result<NodeOptions> {
    Ok(NodeOptions {
        installation: here.name.clone(),
        state_dir: here.node_dir()?,
        image_dir: here.image_dir()?,
        run_dir: here.run_dir()?,
        exe: std::env::current_exe().context("cannot find this program")?,
    })
}

fn agent_options(
    installation: &InstallationOptions,
    here: &Installation,
    options: &Options,
) -> Result<estiva_agent::Options> {
    let (credentials, region) = credentials(here)?;
    Ok(estiva_agent::Options {
        node: node_options(here)?,
        server: options.server.clone().unwrap_or_else(|| installation.endpoint()),
        cluster: options.cluster.clone(),
        region,
        credentials,
        fargate: options.fargate,
        image_pull_behavior: options.settings.image_pull_behavior.into(),
        insecure_registries: options.settings.insecure_registries.clone(),
        image_cleanup_interval: options.settings.image_cleanup_interval,
        image_minimum_cleanup_age: options.settings.image_minimum_cleanup_age,
    })
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
