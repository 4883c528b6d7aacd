//! After a restart or damage from outside: what belongs to nobody is removed, what is missing is made again.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;

use super::{Engine, LOCK_FILE, lock};
use crate::error::Context as _;
use crate::firewall::Element;
use crate::link::{self, Link};
use crate::record::Record;
use crate::{Error, TaskNetwork, namespace};

/// What became of the tasks' networks when an agent came back.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Adoption {
    /// Known tasks whose networks are whole.
    pub kept: Vec<TaskNetwork>,
    /// Known tasks that have no network any more; what was left of it is removed.
    pub missing: Vec<String>,
    /// Unknown tasks whose networks were removed.
    pub removed: Vec<String>,
}

/// Damage to the node's network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The bridge is missing or down, or has not the gateway's address.
    Bridge,
    /// A kernel parameter was changed.
    Parameter(String),
    /// A table is missing, or has not our rules.
    Rules,
    /// So many elements are missing from our sets or are there wrongly.
    Elements(usize),
    /// The task's interface is no port of the bridge, or is down.
    Detached(String),
    /// The task's namespace or interface is gone: beyond repair, delete the task.
    Lost(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bridge => write!(f, "the bridge is missing, down or without address"),
            Self::Parameter(name) => write!(f, "the kernel parameter {name} was changed"),
            Self::Rules => write!(f, "the firewall's rules are missing or changed"),
            Self::Elements(count) => write!(f, "{count} elements of the firewall are missing or wrong"),
            Self::Detached(id) => write!(f, "the interface of task {id} is detached from the bridge"),
            Self::Lost(id) => write!(f, "the network of task {id} is gone"),
        }
    }
}

impl Engine {
    /// Keeps the networks of `known` tasks and removes all others of this installation.
    pub(crate) fn adopt(&self, known: &BTreeSet<String>) -> Result<Adoption, Error> {
        let links = self.links()?;
        let tasks = lock(&self.state).tasks.clone();
        let mut adoption = Adoption::default();
        for (id, record) in &tasks {
            let whole = record.ready && !self.is_lost(id, record, &links);
            if known.contains(id) && whole {
                adoption.kept.push(self.describe(id, record));
                continue;
            }
            self.demolish(id, record)?;
            if !known.contains(id) {
                adoption.removed.push(id.clone());
            }
        }
        let kept: BTreeSet<&str> = adoption.kept.iter().map(|task| task.task_id.as_str()).collect();
        adoption.missing = known.iter().filter(|id| !kept.contains(id.as_str())).cloned().collect();
        self.sweep(&links)?;
        self.repair_firewall()?;
        Ok(adoption)
    }

    /// Removes namespaces and interfaces of this installation that no task holds.
    fn sweep(&self, links: &[Link]) -> Result<(), Error> {
        let tasks = lock(&self.state).tasks.clone();
        let expected: BTreeSet<String> = tasks.values().filter_map(|record| self.interface(record)).collect();
        let ours = links.iter().map(|link| &link.name).filter(|name| name.starts_with(&self.names.veth_prefix));
        let unheld: Vec<_> = ours.filter(|name| !expected.contains(*name)).cloned().collect();
        self.reaper.delete(&unheld).context(&self.names.bridge, "delete left-over interfaces")?;
        let directory = self.netns_dir.display().to_string();
        for entry in fs::read_dir(&self.netns_dir).context(&directory, "list the directory")? {
            let entry = entry.context(&directory, "list the directory")?;
            let id = entry.file_name().to_string_lossy().into_owned();
            if !tasks.contains_key(&id) {
                namespace::remove(&id, &entry.path())?;
            }
        }
        Ok(())
    }

    /// All damage there is.
    pub(crate) fn verify(&self) -> Result<Vec<Fault>, Error> {
        let links = self.links()?;
        let mut faults = Vec::new();
        let bridge = links.iter().find(|link| link.name == self.names.bridge && link.up);
        let addresses = link::addresses(&mut lock(&self.route)).context(&self.names.bridge, "list addresses")?;
        let has_gateway = |bridge: &Link| {
            addresses
                .iter()
                .any(|known| known.interface == Some(bridge.index) && known.address == Some(self.subnet.gateway()))
        };
        if !bridge.is_some_and(has_gateway) {
            faults.push(Fault::Bridge);
        }
        faults.extend(self.wrong_parameters().into_iter().map(Fault::Parameter));
        let expected = self.expected_elements();
        let damage = lock(&self.firewall).inspect(&expected).context(&self.names.table, "inspect the firewall")?;
        if damage.rules {
            faults.push(Fault::Rules);
        } else if !(damage.missing.is_empty() && damage.extra.is_empty()) {
            faults.push(Fault::Elements(damage.missing.len() + damage.extra.len()));
        }
        for (id, record) in &lock(&self.state).tasks {
            if self.is_lost(id, record, &links) {
                faults.push(Fault::Lost(id.clone()));
            } else if self.port_of(record, &links).is_some_and(|port| !is_attached(port, bridge)) {
                faults.push(Fault::Detached(id.clone()));
            }
        }
        Ok(faults)
    }

    /// Makes again what is missing and returns the damage that is left: tasks that lost their namespace or interface.
    pub(crate) fn repair(&self) -> Result<Vec<Fault>, Error> {
        self.repair_bridge()?;
        self.repair_firewall()?;
        let links = self.links()?;
        let bridge = links.iter().find(|link| link.name == self.names.bridge);
        let tasks = lock(&self.state).tasks.clone();
        for (id, record) in &tasks {
            if let (Some(port), Some(bridge)) = (self.port_of(record, &links), bridge)
                && !is_attached(port, Some(bridge))
            {
                let requests = [link::attach(port.index, bridge.index), link::allow_hairpin(&port.name)];
                lock(&self.route).transact(&requests).context(id, "attach the interface to the bridge")?;
            }
        }
        self.verify()
    }

    /// Whether nobody has touched the firewall since it was found whole, and the kernel's parameters are right: what can be
    /// asked often, whatever there is.
    pub(crate) fn looks_whole(&self) -> Result<bool, Error> {
        let whole = *lock(&self.whole);
        Ok(whole == Some(self.generation()?) && self.wrong_parameters().is_empty())
    }

    /// Makes again what was damaged, and returns the damage that there was.
    pub(crate) fn mend(&self) -> Result<Vec<Fault>, Error> {
        let generation = self.generation()?;
        let faults = self.verify()?;
        if faults.iter().all(|fault| matches!(fault, Fault::Lost(_))) {
            *lock(&self.whole) = Some(generation);
        } else {
            self.repair()?;
        }
        Ok(faults)
    }

    fn generation(&self) -> Result<u32, Error> {
        lock(&self.firewall).generation().context(&self.names.table, "ask for the firewall's generation")
    }

    /// Makes the kernel's ruleset and elements what they must be, touching only what differs.
    pub(super) fn repair_firewall(&self) -> Result<(), Error> {
        let expected = self.expected_elements();
        let mut firewall = lock(&self.firewall);
        let damage = firewall.inspect(&expected).context(&self.names.table, "inspect the firewall")?;
        if damage.rules {
            return firewall.install(&expected).context(
                &self.names.table,
                "install the firewall, which needs nf_tables with nat, ct, masq, fib and reject",
            );
        }
        // First out: an element with a wrong value has the key of the right one.
        let (extra, missing): (Vec<_>, Vec<_>) =
            (damage.extra.into_iter().collect(), damage.missing.into_iter().collect());
        firewall.remove(&extra).context(&self.names.table, "remove stale elements")?;
        firewall.add(&missing).context(&self.names.table, "add missing elements")
    }

    /// Removes everything of this installation from the kernel: all tasks, the firewall and the bridge. The run directory goes
    /// too. Nothing can be done with the network afterwards.
    pub(crate) fn dismantle(&self) -> Result<(), Error> {
        self.adopt(&BTreeSet::new())?;
        lock(&self.firewall).uninstall().context(&self.names.table, "remove the firewall")?;
        self.reaper
            .delete(std::slice::from_ref(&self.names.bridge))
            .context(&self.names.bridge, "delete the bridge")?;
        self.leave_run_dir();
        Ok(())
    }

    /// Removes what is ours and empty. What is not empty is somebody else's, or will be found by the next start.
    fn leave_run_dir(&self) {
        let _ = fs::remove_dir(&self.netns_dir);
        let _ = fs::remove_dir(self.records.dir());
        // Last: who opens the network from now on makes another.
        let _ = fs::remove_file(self.run_dir.join(LOCK_FILE));
        let _ = fs::remove_dir(&self.run_dir);
    }

    fn expected_elements(&self) -> BTreeSet<Element> {
        let state = lock(&self.state);
        let services = state.services.iter().flat_map(|service| Element::of_service(*service));
        state.tasks.values().flat_map(|record| self.elements(record)).chain(services).collect()
    }

    fn links(&self) -> Result<Vec<Link>, Error> {
        link::links(&mut lock(&self.route)).context(&self.names.bridge, "list links")
    }

    fn interface(&self, record: &Record) -> Option<String> {
        record.endpoint.map(|(ip, _)| self.names.veth(self.subnet, ip))
    }

    /// The host's end of a task's interface pair.
    fn port_of<'a>(&self, record: &Record, links: &'a [Link]) -> Option<&'a Link> {
        let name = self.interface(record)?;
        links.iter().find(|link| link.name == name)
    }

    fn is_lost(&self, id: &str, record: &Record, links: &[Link]) -> bool {
        let no_interface = record.endpoint.is_some() && self.port_of(record, links).is_none();
        no_interface || !namespace::is_held(&self.netns_path(id))
    }
}

fn is_attached(port: &Link, bridge: Option<&Link>) -> bool {
    port.up && port.controller.is_some() && port.controller == bridge.map(|bridge| bridge.index)
}
