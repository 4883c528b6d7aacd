//! One further node, kept running: its ways to what the host has on its loopback, its agent.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use estiva_network::Seat;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tracing::error;

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
        let recipe = Recipe { name, arguments: arguments(common, record, seat), namespace: Some(namespace) };
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
    loop {
        tokio::select! {
            _ = &mut stopped => break,
            kept = part.keep() => if let Err(error) = kept {
                error!(error = format!("{error:#}"), "a node's agent cannot be started again");
                return Err(error);
            },
        }
    }
    let result = part.stop().await;
    drop(ways);
    result
}

fn arguments(common: &Common, record: &NodeRecord, seat: Seat) -> Vec<String> {
    let own = [
        "agent".to_owned(),
        format!("--server=http://{}", common.endpoint),
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
