//! `estiva server`: the control plane.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use estiva_dispatch::{Dispatch, Feeds};
use estiva_ecs::EcsService;
use estiva_iam::{Iam, RolePolicies};
use estiva_logs::LogsService;
use estiva_model::{AccountId, Ambient, Region};
use estiva_store::backend::Sqlite;
use estiva_store::{BackendError, Schema, Store};
use estiva_wire::server::{Edge, Limits, Throttle, serve};
use estiva_wire::sigv4::{Verification, Verifier};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};

use crate::credentials::InstallationCredentials;
use crate::installation::{Installation, InstallationOptions};
use crate::patience::patiently;
use crate::{ready, telemetry};

/// The tables' version: it grows with each migration.
const SCHEMA_VERSION: u32 = 1;

/// Run the control plane alone
///
/// Nodes join it with `estiva agent`. `estiva up` runs both.
#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    settings: ServerSettings,
}

/// What `up` takes for its server too.
#[derive(Args)]
pub struct ServerSettings {
    /// Verify no signatures: whoever reaches the endpoint is the account's owner. For throw-away use
    #[arg(long)]
    accept_any_credentials: bool,
    /// Throttle the ECS API as AWS does
    #[arg(long)]
    throttle: bool,
    /// Let pages of this origin, such as http://localhost:3000, call from browsers; may be given again
    #[arg(long, value_name = "ORIGIN")]
    allow_origin: Vec<String>,
    /// How long stopped tasks stay described
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = humantime::parse_duration)]
    task_retention: Duration,
    /// After how long a service counts a running task without any health check as healthy [default: 40s; with `up` 1s]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    healthy_after: Option<Duration>,
    /// For how long a node whose agent is away is waited for before its services' tasks are replaced
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = humantime::parse_duration)]
    lost_node_after: Duration,
}

/// What ECS has, for `estiva server`.
const HEALTHY_AFTER: Duration = Duration::from_secs(40);
/// What whoever tries things out wants to wait, for `estiva up`.
const HEALTHY_AFTER_UP: Duration = Duration::from_secs(1);

impl ServerSettings {
    /// As arguments of `estiva server`, with the defaults of `estiva up`.
    pub fn arguments(&self) -> Vec<String> {
        let time =
            |name: &str, value: Duration| format!("--{name}={}", humantime::format_duration(value)).replace(' ', "");
        let times = [
            time("task-retention", self.task_retention),
            time("healthy-after", self.healthy_after.unwrap_or(HEALTHY_AFTER_UP)),
            time("lost-node-after", self.lost_node_after),
        ];
        let any = self.accept_any_credentials.then(|| "--accept-any-credentials".to_owned());
        let throttle = self.throttle.then(|| "--throttle".to_owned());
        let origins = self.allow_origin.iter().map(|origin| format!("--allow-origin={origin}"));
        any.into_iter().chain(throttle).chain(times).chain(origins).collect()
    }
}

/// Runs until SIGINT or SIGTERM.
pub fn run(installation: &InstallationOptions, options: &Options) -> Result<()> {
    telemetry::start();
    raise_descriptor_limit();
    let here = installation.open()?;
    tokio::runtime::Runtime::new()?.block_on(serve_until_told(installation, &here, &options.settings))
}

async fn serve_until_told(
    installation: &InstallationOptions,
    here: &Installation,
    settings: &ServerSettings,
) -> Result<()> {
    let listen = installation.listen;
    let listener = TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen}"))?;
    let store = open_store(here)?;
    let iam = Iam::new(store.clone());
    let keys = iam.installation_keys(&AccountId::default()).await.context("cannot make the installation's keys")?;
    let credentials = InstallationCredentials { region: Region::default(), owner: keys.owner, node: keys.node };
    credentials.save(&here.credentials_file())?;

    let logs = LogsService::open(store.clone(), here.server_dir()?.join("logs")).context("cannot open the logs")?;
    let ambient = Ambient::system();
    let options = estiva_ecs::Options {
        endpoint: installation.endpoint(),
        task_retention: settings.task_retention,
        healthy_after: settings.healthy_after.unwrap_or(HEALTHY_AFTER),
        lost_node_after: settings.lost_node_after,
    };
    let ecs = EcsService::new(store.clone(), options, ambient.clone());
    let endpoint = installation.endpoint();
    let feeds = Feeds { usages: ecs.usages(), issuer: Arc::new(iam.clone()), ambient, endpoint };
    let dispatch = Dispatch::open(store, feeds).await.context("cannot open the node protocol")?;

    let verification = if settings.accept_any_credentials { Verification::Off } else { Verification::Required };
    if settings.accept_any_credentials {
        warn!(%listen, "SIGNATURES ARE NOT VERIFIED: whoever reaches the endpoint may do everything");
    }
    let verifier = Verifier::new(Arc::new(iam.clone()), verification);
    let mut edge = Edge::new(verifier, Arc::new(RolePolicies), Limits::default())
        .allow_origins(settings.allow_origin.clone())
        .service(Arc::new(estiva_api_ecs::Endpoint(Arc::new(ecs.clone()))))
        .service(Arc::new(estiva_api_estiva::Endpoint(Arc::new(ecs.clone()))))
        .service(Arc::new(estiva_api_logs::Endpoint(Arc::new(logs.clone()))))
        .service(iam.sts())
        .upgrade(estiva_agent_protocol::ACS_PATH, "ecs", dispatch.acs())
        .upgrade(estiva_agent_protocol::TCS_PATH, "ecs", dispatch.tcs())
        .upgrade(estiva_agent_protocol::EXEC_PATH, "ecs", dispatch.exec())
        .token_upgrade("/v1/data-channel/*", dispatch.data_channel());

    if settings.throttle {
        edge = edge.throttled(Throttle::new(estiva_ecs::throttling::bucket_of));
    }

    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let closing = dispatch.clone();
    let told = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        closing.close();
    };
    let background = async {
        tokio::join!(dispatch.run(), ecs.run(), logs.run());
    };
    ready::announce("ready")?;
    info!(endpoint = installation.endpoint(), "the control plane is up");
    tokio::select! {
        () = serve(listener, edge, told) => {}
        () = background => {}
    }
    Ok(())
}

/// Each node has two connections, and the customary 1,024 descriptors are soon gone.
fn raise_descriptor_limit() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard).map(|()| hard));
    match raised {
        Ok(descriptors) => tracing::debug!(descriptors, "as many connections and files may be open"),
        Err(error) => warn!(%error, "the limit on open files stays as it is"),
    }
}

fn open_store(here: &Installation) -> Result<Store> {
    let dir = here.server_dir()?.join("store");
    let backend = patiently(is_locked, || Sqlite::open(&dir));
    let backend = backend.with_context(|| format!("cannot open the store in {}", dir.display()))?;
    let schema = estiva_iam::tables(estiva_logs::tables(estiva_ecs::tables(Schema::new(SCHEMA_VERSION))));
    Store::open(backend, schema).with_context(|| format!("cannot load the store in {}", dir.display()))
}

/// A server that was told to end may need a moment.
fn is_locked(error: &BackendError) -> bool {
    matches!(error, BackendError::Locked { .. })
}
