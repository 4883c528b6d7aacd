//! Keeps the server and the nodes' agents running, one process each.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use estiva_shim::layout::ShimProcess;
use estiva_wire::client::SOCKET_SCHEME;
use nix::fcntl::Flock;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};

use super::Options;
use super::control::{self, Control};
use super::node::{Common, containers_endpoint};
use super::nodes::Nodes;
use super::part::{Part, Recipe};
use crate::handover::{self, Sockets};
use crate::installation::{Installation, InstallationOptions};
use crate::listen;
use crate::patience::{patiently, patiently_for};
use crate::supervisor_state::SupervisorState;

/// After somebody who wants something could not be heard.
const PAUSE: Duration = Duration::from_millis(100);

/// The parts of an `estiva up` that was killed go with it, and give its port back.
const FORMER_MAX: Duration = Duration::from_secs(2);

/// The server, the first node's agent and the further nodes, running.
pub struct Supervisor {
    server: Part,
    agent: Part,
    nodes: Nodes,
    control: Control,
    state_file: PathBuf,
    sockets: [PathBuf; 2],
    _lock: Flock<File>,
}

impl Supervisor {
    /// Returns when the endpoint answers and the nodes are registered.
    pub async fn start(installation: &InstallationOptions, here: &Installation, options: &Options) -> Result<Self> {
        let lock = lock(here)?;
        let state = SupervisorState {
            pid: i32::try_from(std::process::id())?,
            endpoint: installation.endpoint(),
            data: Some(here.data().to_owned()),
        };
        // In place of what one that was killed has left: whoever finds the lock taken goes by it.
        let state_file = here.supervisor_file();
        fs::write(&state_file, serde_json::to_vec(&state)?).context("cannot write up.json")?;
        let socket = here.control_socket()?;
        let control = Control::open(&socket)?;
        let data = here.data().display().to_string();
        let common = ["--data".to_owned(), data, "--listen".to_owned(), installation.listen.to_string()];
        let recipe = |name: &str, arguments: Vec<String>, sockets: Vec<OwnedFd>| Recipe {
            name: name.to_owned(),
            arguments: common.iter().cloned().chain([name.to_owned()]).chain(arguments).collect(),
            namespace: None,
            sockets,
        };
        let listeners = listen_for_server(installation, here)?.into_descriptors();
        let server = Part::start(recipe("server", options.server.arguments(), listeners)).await?;
        let at_socket = format!("{SOCKET_SCHEME}{}", here.api_socket().display());
        let mut arguments = vec!["--server".to_owned(), at_socket.clone()];
        arguments.extend(["--cluster".to_owned(), options.cluster.clone(), "--fargate".to_owned()]);
        arguments.extend(options.node.arguments());
        let for_containers = containers_endpoint(&here.node_dir()?, None).await;
        let agent = Part::start(recipe("agent", arguments, for_containers)).await?;
        let of_nodes = Common {
            endpoint: installation.endpoint_address(),
            server: at_socket,
            installation: common.to_vec(),
            cluster: options.cluster.clone(),
            settings: options.node.arguments(),
        };
        let nodes = Nodes::start(here, of_nodes).await?;
        let sockets = [socket, here.api_socket()];
        Ok(Self { server, agent, nodes, control, state_file, sockets, _lock: lock })
    }

    /// Until SIGINT or SIGTERM.
    pub async fn run(mut self) -> Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let nodes = self.nodes.clone();
        let look_after = nodes.look_after();
        tokio::pin!(look_after);
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                never = &mut look_after => match never {},
                never = self.server.keep() => match never {},
                never = self.agent.keep() => match never {},
                petitioner = self.control.accept() => match petitioner {
                    Ok(petitioner) => drop(tokio::spawn(self.nodes.clone().attend(petitioner))),
                    // For want of descriptors: nobody's containers are to pay for that.
                    Err(error) => {
                        warn!(%error, "a wish could not be heard");
                        tokio::time::sleep(PAUSE).await;
                    }
                },
            }
        }
        info!("stopping; tasks run on");
        let agents = tokio::join!(self.nodes.stop(), self.agent.stop());
        let stopped = agents.0.and(agents.1).and(self.server.stop().await);
        for socket in &self.sockets {
            control::remove(socket)?;
        }
        fs::remove_file(&self.state_file).context("cannot remove up.json")?;
        stopped
    }
}

/// The sockets are this process's, so that nobody takes the place of a server that has ended, and who connects meanwhile waits.
fn listen_for_server(installation: &InstallationOptions, here: &Installation) -> Result<Sockets> {
    let mut sockets = handover::take()?;
    if sockets.tcp.is_empty() {
        let address = installation.listen;
        let is_taken = |error: &io::Error| error.kind() == io::ErrorKind::AddrInUse;
        let listened = patiently_for(FORMER_MAX, is_taken, || listen::at_address(address));
        sockets.tcp = listened.with_context(|| format!("cannot listen on {address}"))?;
    }
    if sockets.local.is_empty() {
        sockets.local.push(listen::at_path(&here.api_socket())?);
    }
    Ok(sockets)
}

/// The installation's lock. An `up` that was just killed holds it for a moment: as long as its process takes to go.
fn lock(here: &Installation) -> Result<Flock<File>> {
    let is_leaving = |_: &anyhow::Error| match SupervisorState::load(&here.supervisor_file()) {
        Ok(Some(state)) => u32::try_from(state.pid).is_ok_and(|pid| ShimProcess::inspect(pid).is_err()),
        _ => false,
    };
    patiently(is_leaving, || here.lock()).context("is Estiva up already?")
}
