//! `estiva server`: the control plane.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Error, Result, anyhow, bail};
use clap::Args;
use estiva_dispatch::{Dispatch, Feeds};
use estiva_ecs::EcsService;
use estiva_ecs::task::session::TasksOfSessions;
use estiva_iam::{Iam, RolePolicies};
use estiva_logs::LogsService;
use estiva_model::{AccountId, Ambient, Region};
use estiva_store::backend::Sqlite;
use estiva_store::{BackendError, OpenError, Schema, Store};
use estiva_wire::server::{Edge, Limits, Listener, Throttle, serve};
use estiva_wire::sigv4::{Verification, Verifier};
use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};

use super::up::control;
use crate::credentials::InstallationCredentials;
use crate::handover::Sockets;
use crate::installation::{Installation, InstallationOptions};
use crate::patience::patiently;
use crate::{descriptors, handover, listen, memory, ready, telemetry};

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
    // Each node has two connections.
    descriptors::raise();
    memory::give_back();
    let sockets = handover::take()?;
    let here = installation.open()?;
    tokio::runtime::Runtime::new()?.block_on(serve_until_told(installation, &here, sockets, &options.settings))
}

async fn serve_until_told(
    installation: &InstallationOptions,
    here: &Installation,
    mut sockets: Sockets,
    settings: &ServerSettings,
) -> Result<()> {
    let listen = installation.listen;
    if sockets.tcp.is_empty() {
        sockets.tcp = listen::at_address(listen).with_context(|| format!("cannot listen on {listen}"))?;
    }
    let store = open_store(here)?;
    // Not before the store is ours: the socket of a control plane that runs is not to be taken away from it.
    let own_socket = sockets.local.is_empty().then(|| here.api_socket());
    if let Some(path) = &own_socket {
        here.run_dir()?;
        sockets.local.push(listen::at_path(path)?);
    }
    let iam = Iam::new(store.clone());
    let keys = iam.installation_keys(&AccountId::default()).await.context("cannot make the installation's keys")?;
    let credentials = InstallationCredentials { region: Region::default(), owner: keys.owner, node: keys.node };
    credentials.save(&here.credentials_file())?;

    let policies = Arc::new(RolePolicies::new(Arc::new(TasksOfSessions::new(store.clone()))));
    let logs = LogsService::open(store.clone(), here.server_dir()?.join("logs")).context("cannot open the logs")?;
    let logs = logs.with_access(policies.clone());
    let ambient = Ambient::system();
    let options = estiva_ecs::Options {
        endpoint: installation.endpoint(),
        task_retention: settings.task_retention,
        healthy_after: settings.healthy_after.unwrap_or(HEALTHY_AFTER),
        lost_node_after: settings.lost_node_after,
    };
    let ecs = EcsService::new(store.clone(), options, ambient.clone()).with_access(policies.clone());
    let ecs = ecs.with_page_key(iam.page_key().context("the installation has no key for page tokens")?);
    let endpoint = installation.endpoint();
    let feeds = Feeds { usages: ecs.usages(), issuer: Arc::new(iam.clone()), ambient, endpoint };
    let dispatch = Dispatch::open(store, feeds).await.context("cannot open the node protocol")?;

    let verification = if settings.accept_any_credentials { Verification::Off } else { Verification::Required };
    if settings.accept_any_credentials {
        warn!(%listen, "SIGNATURES ARE NOT VERIFIED: whoever reaches the endpoint may do everything");
    }
    let verifier = Verifier::new(Arc::new(iam.clone()), verification);
    let mut edge = Edge::new(verifier, policies, Limits::default())
        .allow_origins(settings.allow_origin.clone())
        .trusting(estiva_iam::is_operator)
        .body_bytes(estiva_logs::body_bytes_max)
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
        () = serve(listeners(sockets)?, edge, told) => {}
        () = background => {}
    }
    own_socket.as_deref().map_or(Ok(()), control::remove)
}

/// Those in the file system first: the installation's own are not kept waiting by a crowd.
fn listeners(sockets: Sockets) -> Result<Vec<Listener>> {
    let local = sockets.local.into_iter().map(|socket| UnixListener::from_std(socket).map(Listener::Socket));
    let tcp = sockets.tcp.into_iter().map(|socket| TcpListener::from_std(socket).map(Listener::Tcp));
    local.chain(tcp).collect::<Result<_, _>>().context("cannot listen")
}

fn open_store(here: &Installation) -> Result<Store> {
    let dir = here.store_dir()?;
    let backend = patiently(is_locked, || Sqlite::open(&dir)).map_err(OpenError::from);
    let schema = estiva_iam::tables(estiva_logs::tables(estiva_ecs::tables(Schema::new(SCHEMA_VERSION))));
    let store = backend.and_then(|backend| Store::open(backend, schema)).map_err(|error| refused(error, &dir))?;
    let credentials = here.credentials_file();
    // The first transaction makes the installation's keys, and only then they are written to the file.
    if store.view().revision() == 0 && credentials.exists() {
        bail!(
            "the store in {} is empty, but {} is of a store that was not: its state is lost. Restore {} from a backup; to \
             begin anew, with new keys and without the tasks that run, remove {}",
            dir.display(),
            credentials.display(),
            dir.display(),
            credentials.display()
        );
    }
    Ok(store)
}

/// Says what can be done about a store that was refused.
fn refused(error: OpenError, dir: &Path) -> Error {
    let advice = match &error {
        OpenError::Backend(BackendError::Incomplete { .. }) => {
            "Nothing was changed and tasks run on. Put the missing files back, or restore all files of the directory from one \
             backup; if there is none, `estiva store accept-loss` goes on without the changes that are lost"
        }
        OpenError::Backend(BackendError::Damaged { .. }) => {
            "Nothing was changed and tasks run on. Put the files back, or restore all files of the directory from one backup"
        }
        _ => return Error::new(error).context(format!("cannot open the store in {}", dir.display())),
    };
    anyhow!("cannot open the store in {}: {error}. {advice}", dir.display())
}

/// A server that was told to end may need a moment.
fn is_locked(error: &BackendError) -> bool {
    matches!(error, BackendError::Locked { .. })
}
