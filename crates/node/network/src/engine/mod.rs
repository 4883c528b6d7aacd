//! The synchronous heart: it owns the sockets to the kernel and the table of what each task holds.
//!
//! - [`open`]: the node's own things: subnet, bridge, parameters.
//! - [`tasks`]: a task's network is made and removed.
//! - [`reaper`]: links are deleted, many with one wait.
//! - [`recovery`]: left-overs are swept, damage is found and repaired.
//!
//! Locks are taken in the order state, route, firewall, and never held across the making of a namespace. That two
//! operations on one task, or an operation and a sweep, never run at once is the caller's part ([`crate::node`]).

mod open;
mod reaper;
mod recovery;
mod tasks;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::fcntl::Flock;

pub(crate) use open::lock_namespace;
pub use recovery::{Adoption, Fault};
pub(crate) use tasks::Demand;

use reaper::Reaper;

use crate::config::Names;
use crate::error::Context as _;
use crate::firewall::{Element, Firewall};
use crate::ipam::Pool;
use crate::netlink::Socket;
use crate::ports::Ports;
use crate::record::{Record, Records};
use crate::{Error, HostService, Subnet, TaskNetwork};

/// In the run directory: held by whoever has the network open.
const LOCK_FILE: &str = "lock";

/// One node's network.
#[derive(Debug)]
pub(crate) struct Engine {
    names: Names,
    subnet: Subnet,
    mtu: u32,
    run_dir: PathBuf,
    netns_dir: PathBuf,
    records: Records,
    state: Mutex<State>,
    route: Mutex<Socket>,
    reaper: Reaper,
    firewall: Mutex<Firewall>,
    /// The firewall's generation when it was last found whole.
    whole: Mutex<Option<u32>>,
    /// Held for as long as the network is open, so that no second agent works on the same installation.
    _lock: Flock<File>,
}

#[derive(Debug)]
struct State {
    /// The bridge's interface number.
    bridge: u32,
    pool: Pool,
    ports: Ports,
    tasks: BTreeMap<String, Record>,
    services: Vec<HostService>,
}

impl Engine {
    pub(crate) fn subnet(&self) -> Subnet {
        self.subnet
    }

    /// The tasks whose networks are whole.
    pub(crate) fn list(&self) -> Vec<TaskNetwork> {
        let state = lock(&self.state);
        state.tasks.iter().filter(|(_, record)| record.ready).map(|(id, record)| self.describe(id, record)).collect()
    }

    pub(crate) fn get(&self, id: &str) -> Option<TaskNetwork> {
        let state = lock(&self.state);
        state.tasks.get(id).filter(|record| record.ready).map(|record| self.describe(id, record))
    }

    /// Opens a way from the tasks to a service of the host, in place of one that had the same protocol and address.
    pub(crate) fn offer(&self, service: HostService) -> Result<(), Error> {
        let mut state = lock(&self.state);
        let mut services = state.services.clone();
        services.retain(|other| (other.protocol, other.address) != (service.protocol, service.address));
        services.push(service);
        self.replace_services(&mut state, services)
    }

    /// Closes the way to a service; fine if there is none.
    pub(crate) fn withdraw(&self, service: HostService) -> Result<(), Error> {
        let mut state = lock(&self.state);
        let services = state.services.iter().copied().filter(|other| *other != service).collect();
        self.replace_services(&mut state, services)
    }

    fn replace_services(&self, state: &mut State, services: Vec<HostService>) -> Result<(), Error> {
        let elements = |services: &[HostService]| -> BTreeSet<Element> {
            services.iter().flat_map(|service| Element::of_service(*service)).collect()
        };
        let (old, new) = (elements(&state.services), elements(&services));
        let mut firewall = lock(&self.firewall);
        let removed: Vec<_> = old.difference(&new).cloned().collect();
        let added: Vec<_> = new.difference(&old).cloned().collect();
        firewall.remove(&removed).context(&self.names.table, "remove a host service")?;
        firewall.add(&added).context(&self.names.table, "add a host service")?;
        state.services = services;
        Ok(())
    }

    /// The firewall's elements of a task.
    fn elements(&self, record: &Record) -> Vec<Element> {
        let Some((ip, mac)) = record.endpoint else { return Vec::new() };
        let interface = self.names.veth(self.subnet, ip);
        let ports = record.bindings.iter().map(|binding| Element::Port {
            protocol: binding.protocol,
            host_port: binding.host_port,
            task: SocketAddrV4::new(ip, binding.container_port),
        });
        let client = record.client.then_some(Element::Client { ip });
        std::iter::once(Element::Endpoint { interface, mac, ip }).chain(ports).chain(client).collect()
    }

    fn netns_path(&self, id: &str) -> PathBuf {
        self.netns_dir.join(id)
    }

    fn describe(&self, id: &str, record: &Record) -> TaskNetwork {
        TaskNetwork {
            task_id: id.to_owned(),
            mode: record.mode,
            netns_path: self.netns_path(id),
            ip: record.endpoint.map(|(ip, _)| ip),
            bindings: record.bindings.clone(),
        }
    }
}

/// The tasks' addresses.
fn held_addresses(tasks: &BTreeMap<String, Record>) -> BTreeSet<Ipv4Addr> {
    tasks.values().filter_map(|record| record.endpoint.map(|(ip, _)| ip)).collect()
}

/// A panic in another thread leaves every table here consistent: each is changed by one call.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
