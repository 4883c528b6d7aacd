//! The further nodes of an `estiva up`: which there are, added and removed one at a time.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use estiva_agent::size_of;
use estiva_api_ecs::types::{DeregisterContainerInstanceRequest, DescribeContainerInstancesRequest};
use estiva_api_ecs::{DeregisterContainerInstance, DescribeContainerInstances};
use estiva_network::{Fleet, Seat};
use estiva_wire::client::Client;
use tokio::sync::Mutex;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{error, info, warn};

use super::control::{Answer, Petitioner, Wish};
use super::node::{Common, Keeper};
use crate::credentials::InstallationCredentials;
use crate::installation::Installation;
use crate::nodes::{NodeRecord, forget, local_address, open_fleet, stop_tasks, sweep};
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
}

impl Nodes {
    /// Starts those that there are. One that cannot be started is told in the log: the others work without it.
    pub async fn start(here: &Installation, common: Common) -> Result<Self> {
        let nodes = Self(Arc::new(Shared { here: here.clone(), common, state: Mutex::default() }));
        let mut state = nodes.0.state.lock().await;
        let records = nodes.settle(&mut state).await?;
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
            Wish::Add { instance_type, zone, cluster } => {
                self.add(instance_type, zone, cluster).await.map(Answer::Added)
            }
            Wish::Remove { node, force } => self.remove(&node, force).await.map(Answer::Removed),
        }
    }

    async fn add(
        &self,
        instance_type: Option<String>,
        zone: Option<String>,
        cluster: Option<String>,
    ) -> Result<String> {
        if let Some(name) = instance_type.as_deref().filter(|name| size_of(name).is_none()) {
            bail!("'{name}' is no instance type that Estiva knows");
        }
        let cluster = cluster.unwrap_or_else(|| self.0.common.cluster.clone());
        let mut state = self.0.state.lock().await;
        let record = NodeRecord::new(&NodeRecord::all(&self.0.here)?, instance_type, zone, cluster)?;
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
            let undone = self.take_away(&mut *self.0.state.lock().await, record).await.and(deregistered);
            return Err(undone.err().map_or(error, |undo| undo.context("a node that did not start was not removed")));
        }
        info!(node = record.name, "a node was added");
        record.container_instance(&self.0.here)?.context("the node was not registered")
    }

    async fn remove(&self, name: &str, force: bool) -> Result<usize> {
        let mut state = self.0.state.lock().await;
        let known = NodeRecord::all(&self.0.here)?.into_iter().find(|record| record.name == name);
        let Some(record) = known else { bail!("{name} is no further node of this machine; see `estiva node list`") };
        self.deregister(&record, force).await?;
        let stopped = self.take_away(&mut state, record).await?;
        info!(node = name, stopped, "a node was removed");
        Ok(stopped)
    }

    /// Finishes what a crash cut short, and gives the nodes that are to run.
    async fn settle(&self, state: &mut State) -> Result<Vec<NodeRecord>> {
        let here = &self.0.here;
        sweep(here)?;
        let (leaving, staying): (Vec<_>, Vec<_>) =
            NodeRecord::all(here)?.into_iter().partition(|record| record.leaving);
        for record in leaving {
            let name = record.name.clone();
            if let Err(error) = self.take_away(state, record).await {
                error!(
                    node = name,
                    error = format!("{error:#}"),
                    "what is left of the node stays until the next start"
                );
            }
        }
        if !staying.is_empty() {
            let known: Vec<_> = staying.iter().map(|record| (record.name.as_str(), record.slot)).collect();
            let swept = self.fleet(state).and_then(|fleet| Ok(fleet.sweep(&known)?));
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
    async fn take_away(&self, state: &mut State, record: NodeRecord) -> Result<usize> {
        let here = self.0.here.clone();
        let record = NodeRecord { leaving: true, ..record };
        record.save(&here)?;
        if let Some(keeper) = state.keepers.remove(&record.name) {
            keeper.stop().await?;
        }
        self.fleet(state)?;
        let mut fleet = state.fleet.take().context("the nodes' network was not opened")?;
        let clear = move || {
            let stopped = stop_tasks(&here, &mut fleet, &record);
            let stopped = stopped.and_then(|stopped| forget(&here, &mut fleet, &record).map(|()| stopped));
            (fleet, stopped)
        };
        let (fleet, stopped) = tokio::task::spawn_blocking(clear).await?;
        if stopped.is_ok() && NodeRecord::all(&self.0.here)?.is_empty() {
            fleet.dismantle()?;
        } else {
            state.fleet = Some(fleet);
        }
        stopped
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
        let endpoint = format!("http://{}", self.0.common.endpoint);
        let client = Client::new(&endpoint, credentials.owner, credentials.region)?;
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
