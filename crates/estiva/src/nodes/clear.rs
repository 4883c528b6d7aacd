//! Stopping what a further node runs, and taking the node away, without its agent.

use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use anyhow::{Context, Result};
use estiva_agent::{AgentError, NodeOptions, Seat};
use estiva_network::{Fleet, within};

use super::NodeRecord;
use crate::command::agent::further_node_options;
use crate::installation::Installation;
use crate::patience::patiently;

/// A further node without an agent, whose tasks are to be stopped.
pub struct Leftover {
    name: String,
    namespace: PathBuf,
    options: NodeOptions,
}

impl Leftover {
    /// Makes what a reboot took once more, if only to be taken away.
    pub fn find(here: &Installation, fleet: &mut Fleet, node: &NodeRecord) -> Result<Self> {
        let seat = fleet.join(&node.name, node.slot, Ipv4Addr::LOCALHOST)?;
        let options = further_node_options(here, &node.name, Seat { address: seat.address, subnet: seat.subnet })?;
        Ok(Self { name: node.name.clone(), namespace: fleet.namespace(&node.name), options })
    }

    /// Stops the node's tasks and takes away what the kernel has of them; gives how many there were. No agent may run.
    /// Blocks for as long as tasks take to stop: needs nothing that others wait for.
    pub fn stop_tasks(self) -> Result<usize> {
        let stop = || {
            // Its threads are begun within the node's network, and so are within it.
            let runtime = tokio::runtime::Runtime::new()?;
            let stop = || runtime.block_on(estiva_agent::stop_all_tasks(&self.options));
            Ok(patiently(AgentError::is_taken, stop)?)
        };
        let stopped: Result<usize> = within(&self.namespace, stop)?;
        stopped.with_context(|| format!("cannot stop the tasks of {}", self.name))
    }
}

/// Takes the node's network and directories away. Its tasks must have been stopped.
pub fn forget(here: &Installation, fleet: &mut Fleet, node: &NodeRecord) -> Result<()> {
    fleet.leave(&node.name, node.slot)?;
    for dir in [here.further_run_dir(&node.name)?, here.further_node_dir(&node.name)?] {
        fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()))?;
    }
    Ok(())
}
