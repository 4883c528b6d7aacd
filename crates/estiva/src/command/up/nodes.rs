//! The further nodes of an `estiva up`: which there are, added and removed one at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use estiva_agent::size_of;
use estiva_api_ecs::types::{DeregisterContainerInstanceRequest, DescribeContainerInstancesRequest};
use estiva_api_ecs::{DeregisterContainerInstance, DescribeContainerInstances};
use estiva_network::{Fleet, Seat};
use estiva_wire::client::Client;
use tokio::sync::{Mutex, oneshot};
use tokio::time::{MissedTickBehavior, interval};
use tracing::{error, info, warn};

use super::control::{Answer, Petitioner, Wish};
use super::node::{Common, Keeper};
use crate::credentials::InstallationCredentials;
use crate::installation::Installation;
use crate::nodes::{Leftover, NodeRecord, forget, local_address, open_fleet, sweep};
use crate::ready;

/// How often the nodes' part of the host's network is looked after.
const MEND_INTERVAL: Duration = Duration::from_secs(4);

/// The nodes. Clones are the same.
#[derive(Clone)]
pub struct Nodes(Arc<Shared>);

struct Shared {
    here: Installation,
    common: Common,
    state: Mutex<State>,
}

/// `None` until there is a further node: without one the host's network is left as it is.
#[derive(Default)]
struct State {
    fleet: Option<Fleet>,
    keepers: BTreeMap<String, Keeper>,
    /// Nodes whose tasks are being stopped. That may take as long as it likes: the state is free meanwhile.
    leaving: BTreeSet<String>,
}

impl Nodes {
    /// Starts those that there are. One that cannot be started is told in the log: the others work without it.
    pub async fn start(here: &Installation, common: Common) -> Result<Self> {
        let nodes = Self(Arc::new(Shared { here: here.clone(), common, state: Mutex::default() }));
        let records = nodes.settle().await?;
        let mut state = nodes.0.state.lock().await;
        let mut begun = Vec::new();
        for record in &records {
            match nodes.begin(&mut state, record).await {
                Ok(ready) => begun.push((&record.name, tokio::task::spawn_blocking(|| ready.wait()))),
                Err(error) => error!(node = record.name, error = format!("{error:#}"), "the node cannot be started"),
            }
        }
        drop(state);
        for (name, ready) in begun {
            if let Err(error) = ready.await? {
                warn!(node = name, error = format!("{error:#}"), "the node's agent is not ready yet");
            }
        }
        Ok(nodes)
    }

    /// Makes again what somebody flushes of the host's part of their network, for as long as it is polled.
    pub async fn look_after(&self) -> Infallible {
        let mut ticks = interval(MEND_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            match self.mend().await {
                Ok(true) => warn!("the network between nodes was damaged from outside; it was made again"),
                Ok(false) => {}
                Err(error) => warn!(error = format!("{error:#}"), "the network between nodes cannot be looked after"),
            }
        }
    }

    async fn mend(&self) -> Result<bool> {
        let nodes = self.clone();
        // Begun, it goes on to its end: the fleet is back in its place then.
        let mending = tokio::spawn(async move {
            let mut state = nodes.0.state.lock().await;
            let Some(mut fleet) = state.fleet.take() else { return Ok(false) };
            let mend = move || {
                let mended = fleet.mend();
                (fleet, mended)
            };
            let (fleet, mended) = tokio::task::spawn_blocking(mend).await?;
            state.fleet = Some(fleet);
            Ok(mended?)
        });
        mending.await?
    }

    /// Fulfils a wish and tells what became of it.
    pub async fn attend(self, mut petitioner: Petitioner) {
        let answer = match petitioner.wish().await {
            Ok(wish) => self.fulfil(wish).await,
            Err(error) => Err(error),
        };
        let answer = answer.unwrap_or_else(|error| Answer::Refused(format!("{error:#}")));
        if let Err(error) = petitioner.tell(&answer).await {
            warn!(error = format!("{error:#}"), ?answer, "whoever asked does not hear the answer");
        }
    }

    /// Ends all agents; tasks run on.
    pub async fn stop(&self) -> Result<()> {
        let keepers = std::mem::take(&mut self.0.state.lock().await.keepers);
        let mut result = Ok(());
        for ended in futures_util::future::join_all(keepers.into_values().map(Keeper::stop)).await {
            result = result.and(ended);
        }
        result
    }

    async fn fulfil(&self, wish: Wish) -> Result<Answer> {
        match wish {
            Wish::Add { instance_type, zone, cluster, over_network } => {
                self.add(instance_type, zone, cluster, over_network).await.map(Answer::Added)
            }
            Wish::Remove { node, force } => self.remove(&node, force).await.map(Answer::Removed),
        }
    }

    async fn add(
        &self,
        instance_type: Option<String>,
        zone: Option<String>,
        cluster: Option<String>,
        over_network: bool,
    ) -> Result<String> {
        if let Some(name) = instance_type.as_deref().filter(|name| size_of(name).is_none()) {
            bail!("'{name}' is no instance type that Estiva knows");
        }
        let cluster = cluster.unwrap_or_else(|| self.0.common.cluster.clone());
        let mut state = self.0.state.lock().await;
        let record = NodeRecord::new(&NodeRecord::all(&self.0.here)?, instance_type, zone, cluster)?;
        let record = NodeRecord { over_network, ..record };
        record.save(&self.0.here)?;
        let begun = self.begin(&mut state, &record).await;
        drop(state);
        let ready = match begun {
            Ok(ready) => tokio::task::spawn_blocking(|| ready.wait()).await?,
            Err(error) => Err(error),
        };
        if let Err(error) = ready {
            // It may have come as far as to be registered.
            let deregistered = self.deregister(&record, true).await;
            let undone = self.take_away(record).await.and(deregistered);
            return Err(match undone {
                Ok(()) => error,
                Err(undo) => anyhow!("{error:#}; what is left of it was not removed: {undo:#}"),
            });
        }
        info!(node = record.name, "a node was added");
        record.container_instance(&self.0.here)?.context("the node was not registered")
    }

    async fn remove(&self, name: &str, force: bool) -> Result<usize> {
        let record = self.known(name)?;
        self.deregister(&record, force).await?;
        let stopped = self.take_away(record).await?;
        info!(node = name, stopped, "a node was removed");
        Ok(stopped)
    }

    fn known(&self, name: &str) -> Result<NodeRecord> {
        let known = NodeRecord::all(&self.0.here)?.into_iter().find(|record| record.name == name);
        known.with_context(|| format!("{name} is no further node of this machine; see `estiva node list`"))
    }

    /// Finishes what a crash cut short, and gives the nodes that are to run.
    async fn settle(&self) -> Result<Vec<NodeRecord>> {
        let here = &self.0.here;
        sweep(here)?;
        let (leaving, staying): (Vec<_>, Vec<_>) =
            NodeRecord::all(here)?.into_iter().partition(|record| record.leaving);
        for record in leaving {
            let name = record.name.clone();
            if let Err(error) = self.take_away(record).await {
                error!(
                    node = name,
                    error = format!("{error:#}"),
                    "what is left of the node stays until the next start"
                );
            }
        }
        if !staying.is_empty() {
            let known: Vec<_> = staying.iter().map(|record| (record.name.as_str(), record.slot)).collect();
            let mut state = self.0.state.lock().await;
            let swept = self.fleet(&mut state).and_then(|fleet| Ok(fleet.sweep(&known)?));
            if let Err(error) = swept {
                error!(error = format!("{error:#}"), "the network of further nodes cannot be set up");
            }
        }
        Ok(staying)
    }

    /// Makes the node's network and starts its agent.
    async fn begin(&self, state: &mut State, record: &NodeRecord) -> Result<ready::Waiter> {
        let local = local_address(self.0.common.endpoint)?;
        let seat: Seat = self.fleet(state)?.join(&record.name, record.slot, local)?;
        let (keeper, ready) = Keeper::start(&self.0.here, &self.0.common, record, seat).await?;
        state.keepers.insert(record.name.clone(), keeper);
        Ok(ready)
    }

    /// Ends a node's agent and tasks and takes the node away; gives how many tasks there were. A crash in between is made
    /// good at the next start.
    async fn take_away(&self, record: NodeRecord) -> Result<usize> {
        let leftover = self.dismiss(&record.name).await?;
        let stopped = apart(|| leftover.stop_tasks()).await;
        let mut state = self.0.state.lock().await;
        state.leaving.remove(&record.name);
        let stopped = stopped?;
        self.forget(&mut state, record).await?;
        Ok(stopped)
    }

    /// Ends the agent of a node that is to go. Until its tasks have been stopped nobody else takes it away.
    async fn dismiss(&self, name: &str) -> Result<Leftover> {
        let mut state = self.0.state.lock().await;
        // Another may have taken it away by now.
        let record = NodeRecord { leaving: true, ..self.known(name)? };
        if state.leaving.contains(name) {
            bail!("{name} is being removed already");
        }
        record.save(&self.0.here)?;
        if let Some(keeper) = state.keepers.remove(name)
            && let Err(error) = keeper.stop().await
        {
            // It may not have been able to start at all, which is no reason to keep the node.
            warn!(node = name, error = format!("{error:#}"), "the agent of a node that goes did not end in order");
        }
        let leftover = Leftover::find(&self.0.here, self.fleet(&mut state)?, &record)?;
        state.leaving.insert(name.to_owned());
        Ok(leftover)
    }

    /// Takes away what is left of a node without tasks, and with the last node what is left of their network.
    async fn forget(&self, state: &mut State, record: NodeRecord) -> Result<()> {
        self.fleet(state)?;
        let mut fleet = state.fleet.take().context("the nodes' network was not opened")?;
        let here = self.0.here.clone();
        let clear = move || {
            let forgotten = forget(&here, &mut fleet, &record);
            (fleet, forgotten)
        };
        let (fleet, forgotten) = tokio::task::spawn_blocking(clear).await?;
        if forgotten.is_ok() && NodeRecord::all(&self.0.here)?.is_empty() {
            fleet.dismantle()?;
        } else {
            state.fleet = Some(fleet);
        }
        forgotten
    }

    fn fleet<'a>(&self, state: &'a mut State) -> Result<&'a mut Fleet> {
        if state.fleet.is_none() {
            state.fleet = Some(open_fleet(&self.0.here)?);
        }
        state.fleet.as_mut().context("the nodes' network was not opened")
    }

    /// As the account's owner; a node that the control plane does not know any more is fine.
    async fn deregister(&self, record: &NodeRecord, force: bool) -> Result<()> {
        let Some(arn) = record.container_instance(&self.0.here)? else { return Ok(()) };
        let credentials = InstallationCredentials::load(&self.0.here.credentials_file())?;
        let client = Client::of_server(&self.0.common.server, credentials.owner, credentials.region)?;
        let describe = DescribeContainerInstancesRequest {
            cluster: Some(record.cluster.clone()),
            container_instances: vec![arn.clone()],
            ..DescribeContainerInstancesRequest::default()
        };
        let known = match client.call::<DescribeContainerInstances>(&describe).await {
            Err(error) if error.code() == Some("ClusterNotFoundException") => return Ok(()),
            answer => answer?.container_instances.unwrap_or_default(),
        };
        if known.iter().all(|instance| instance.status.as_deref() == Some("INACTIVE")) {
            return Ok(());
        }
        let request = DeregisterContainerInstanceRequest {
            cluster: Some(record.cluster.clone()),
            container_instance: arn,
            force: Some(force),
        };
        let hint = if force { "" } else { "; --force removes a node with its tasks" };
        let done = client.call::<DeregisterContainerInstance>(&request).await;
        done.map(drop).with_context(|| format!("{} stays{hint}", record.name))
    }
}

/// Does what may take as long as it likes on a thread of its own: the process does not wait for it at its end.
async fn apart<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let (sender, receiver) = oneshot::channel();
    let thread = std::thread::Builder::new().name("apart".to_owned());
    // Nobody may wait for the result any more.
    thread.spawn(move || drop(sender.send(work()))).context("cannot start a thread")?;
    receiver.await.context("the thread panicked")?
}
