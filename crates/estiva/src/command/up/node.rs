//! One further node, kept running: its ways to what the host has on its loopback, its agent.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use estiva_network::{Seat, within};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tracing::warn;

use super::name_server::NameServer;
use super::part::{Part, Recipe};
use super::relay::Relay;
use crate::installation::Installation;
use crate::nodes::NodeRecord;
use crate::ready;

/// The attribute that tells where a node's published ports answer.
const ADDRESS_ATTRIBUTE: &str = "estiva.address";

/// A node whose agent is started again whenever it ends.
pub struct Keeper {
    stop: oneshot::Sender<()>,
    done: JoinHandle<Result<()>>,
}

/// What every node's agent is told.
pub struct Common {
    /// Where the endpoint is, as this process reaches it.
    pub endpoint: SocketAddr,
    /// Where agents reach the control plane, whatever network they are in.
    pub server: String,
    /// The arguments of the command itself.
    pub installation: Vec<String>,
    /// The cluster that the first node joins.
    pub cluster: String,
    /// Those of `estiva agent` that all nodes of the installation have in common.
    pub settings: Vec<String>,
}

impl Keeper {
    /// Starts the agent of a node whose network is there. What it returns hears that the agent is ready.
    pub async fn start(
        here: &Installation,
        common: &Common,
        record: &NodeRecord,
        seat: Seat,
    ) -> Result<(Self, ready::Waiter)> {
        let namespace = here.namespaces_dir()?.join(&record.name);
        let relay = Relay::open(namespace.clone(), common.endpoint, Some(seat.address)).await?;
        let names = NameServer::open_all(&namespace).await?;
        let name = format!("agent of {}", record.name);
        let sockets = containers_endpoint(&here.further_node_dir(&record.name)?, Some(namespace.clone())).await;
        let arguments = arguments(common, record, seat);
        let recipe = Recipe { name, arguments, namespace: Some(namespace), sockets };
        let (part, ready) = Part::begin(recipe)?;
        let (stop, stopped) = oneshot::channel();
        let done = tokio::spawn(keep(part, (relay, names), stopped));
        Ok((Self { stop, done }, ready))
    }

    /// Ends the agent; its tasks run on.
    pub async fn stop(self) -> Result<()> {
        // Whoever keeps the node has ended already if it does not hear.
        let _ = self.stop.send(());
        self.done.await.context("the node's keeper ended")?
    }
}

async fn keep(mut part: Part, ways: (Relay, Vec<NameServer>), mut stopped: oneshot::Receiver<()>) -> Result<()> {
    tokio::select! {
        _ = &mut stopped => {}
        never = part.keep() => match never {},
    }
    let result = part.stop().await;
    drop(ways);
    result
}

/// Where a node's containers find it. Held here, nobody else of the node's network takes the place of an agent that has ended.
/// Without it the agent listens for itself.
pub async fn containers_endpoint(node_dir: &Path, namespace: Option<PathBuf>) -> Vec<OwnedFd> {
    let node_dir = node_dir.to_owned();
    let listen = move || -> Result<OwnedFd> {
        let listener = match &namespace {
            Some(namespace) => within(namespace, || estiva_agent::listen_for_containers(&node_dir))?,
            None => estiva_agent::listen_for_containers(&node_dir),
        };
        Ok(listener?.into())
    };
    match tokio::task::spawn_blocking(listen).await.unwrap_or_else(|panic| Err(panic.into())) {
        Ok(listener) => vec![listener],
        Err(error) => {
            warn!(error = format!("{error:#}"), "the endpoint of a node's containers is left to its agent");
            Vec::new()
        }
    }
}

fn arguments(common: &Common, record: &NodeRecord, seat: Seat) -> Vec<String> {
    // The node's network has the endpoint at its own address, by the relay.
    let server = if record.over_network { format!("http://{}", common.endpoint) } else { common.server.clone() };
    let own = [
        "agent".to_owned(),
        format!("--server={server}"),
        format!("--cluster={}", record.cluster),
        format!("--node={}", record.name),
        format!("--node-address={}", seat.address),
        format!("--node-subnet={}", seat.subnet),
        format!("--attribute={ADDRESS_ATTRIBUTE}={}", seat.address),
    ];
    let zone = record.zone.iter().map(|zone| format!("--az={zone}"));
    let instance_type = record.instance_type.iter().map(|name| format!("--instance-type={name}"));
    let further = zone.chain(instance_type).chain(common.settings.iter().cloned());
    common.installation.iter().cloned().chain(own).chain(further).collect()
}
