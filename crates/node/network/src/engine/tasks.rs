//! A task's network: allocated, recorded, built; and taken down in the same words.

use std::fs::File;
use std::net::Ipv4Addr;

use super::{Engine, lock};
use crate::error::Context as _;
use crate::firewall::Element;
use crate::netlink::Socket;
use crate::record::{Record, check_task_id};
use crate::task::{Mac, Mode};
use crate::{Eni, Error, PortMapping, Protocol, TaskNetwork, link, namespace};
use netlink_sys::protocols::NETLINK_ROUTE;
use nix::net::if_::if_nametoindex;

/// What a task is to have.
#[derive(Debug)]
pub(crate) enum Demand {
    Bridge(Vec<PortMapping>),
    Awsvpc(Eni),
    None,
}

impl Engine {
    /// Makes the network of a task; nothing of it is left if that fails.
    pub(crate) fn create(&self, id: &str, demand: &Demand) -> Result<TaskNetwork, Error> {
        check_task_id(id)?;
        let mut record = self.allocate(id, demand)?;
        if let Err(error) = self.build(id, &mut record) {
            if let Err(undo) = self.demolish(id, &record) {
                // The record stays, so that a deletion or the next start tries again.
                tracing::error!(task = id, error = %undo, "cannot undo a failed creation");
            }
            return Err(error);
        }
        Ok(self.describe(id, &record))
    }

    /// Removes all that a task holds; fine if that is nothing.
    pub(crate) fn delete(&self, id: &str) -> Result<(), Error> {
        check_task_id(id)?;
        let record = lock(&self.state).tasks.get(id).cloned();
        record.map_or(Ok(()), |record| self.demolish(id, &record))
    }

    /// Lets a task use the services that are for clients; fine if it may already.
    pub(crate) fn make_client(&self, id: &str) -> Result<(), Error> {
        let known = lock(&self.state).tasks.get(id).cloned();
        let Some(mut record) = known.filter(|record| !record.client) else { return Ok(()) };
        let Some((ip, _)) = record.endpoint else { return Ok(()) };
        record.client = true;
        self.records.write(id, &record)?;
        lock(&self.firewall).add(&[Element::Client { ip }]).context(id, "let the task reach the control plane")?;
        lock(&self.state).tasks.insert(id.to_owned(), record);
        Ok(())
    }

    fn allocate(&self, id: &str, demand: &Demand) -> Result<Record, Error> {
        let mut state = lock(&self.state);
        if state.tasks.contains_key(id) {
            return Err(Error::TaskExists { id: id.to_owned() });
        }
        let record = match demand {
            Demand::Bridge(mappings) => {
                let bindings = state.ports.reserve(mappings)?;
                match state.pool.take() {
                    Ok(ip) => Record {
                        mode: Mode::Bridge,
                        endpoint: Some((ip, Mac::of(ip))),
                        bindings,
                        ready: false,
                        client: false,
                    },
                    Err(error) => {
                        state.ports.release(&bindings);
                        return Err(error);
                    }
                }
            }
            Demand::Awsvpc(eni) => {
                self.check_eni(eni)?;
                state.pool.take_eni(eni.ip)?;
                Record {
                    mode: Mode::Awsvpc,
                    endpoint: Some((eni.ip, eni.mac)),
                    bindings: Vec::new(),
                    ready: false,
                    client: false,
                }
            }
            Demand::None => {
                Record { mode: Mode::None, endpoint: None, bindings: Vec::new(), ready: false, client: false }
            }
        };
        state.tasks.insert(id.to_owned(), record.clone());
        Ok(record)
    }

    fn check_eni(&self, eni: &Eni) -> Result<(), Error> {
        let refuse = |reason| Err(Error::InvalidEni { ip: eni.ip, reason });
        if eni.prefix_len != self.subnet.prefix() {
            return refuse("its prefix length is not the node's");
        }
        if eni.gateway != self.subnet.gateway() {
            return refuse("its gateway is not the node's");
        }
        if eni.mac.0[0] & 1 == 1 || eni.mac.0 == [0; 6] {
            return refuse("its MAC address is not a unicast one");
        }
        Ok(())
    }

    fn build(&self, id: &str, record: &mut Record) -> Result<(), Error> {
        self.records.write(id, record)?;
        lock(&self.firewall).add(&self.elements(record)).context(id, "add the task to the firewall")?;
        for binding in record.bindings.iter().filter(|binding| binding.protocol == Protocol::Udp) {
            lock(&self.firewall).forget_connections_to(binding.host_port).context(id, "forget earlier datagrams")?;
        }
        let bridge = lock(&self.state).bridge;
        namespace::create(id, &self.netns_path(id), |namespace| {
            namespace::set_sysctls(id)?;
            if let Some((ip, mac)) = record.endpoint {
                self.connect(id, bridge, ip, mac, namespace)
            } else {
                let mut inside = Socket::open(NETLINK_ROUTE).context(id, "open a socket in the namespace")?;
                inside.transact(&[link::loopback_up()]).context(id, "bring the loopback interface up")
            }
        })?;
        record.ready = true;
        self.records.write(id, record)?;
        lock(&self.state).tasks.insert(id.to_owned(), record.clone());
        Ok(())
    }

    /// Runs within the task's namespace: one message to the host's side, one to the task's.
    fn connect(&self, id: &str, bridge: u32, ip: Ipv4Addr, mac: Mac, namespace: &File) -> Result<(), Error> {
        let name = self.names.veth(self.subnet, ip);
        let outside = [link::new_veth(&name, bridge, self.mtu, mac, namespace), link::allow_hairpin(&name)];
        lock(&self.route).transact(&outside).context(id, "create the interface pair")?;
        let index = if_nametoindex(link::TASK_INTERFACE).context(id, "find the task's interface")?;
        let mut inside = Socket::open(NETLINK_ROUTE).context(id, "open a socket in the namespace")?;
        let requests = [
            link::loopback_up(),
            link::new_address(index, ip, self.subnet),
            link::set_up(index),
            link::new_default_route(index, self.subnet.gateway()),
        ];
        inside.transact(&requests).context(id, "configure the task's interface")
    }

    /// Undoes whatever there is of a task. Every step is tried, whatever became of the one before; what the task holds
    /// is given back only when all succeeded.
    pub(super) fn demolish(&self, id: &str, record: &Record) -> Result<(), Error> {
        let mut result =
            lock(&self.firewall).remove(&self.elements(record)).context(id, "remove the task from the firewall");
        if let Some((ip, _)) = record.endpoint {
            result = result
                .and(self.reaper.delete(&[self.names.veth(self.subnet, ip)]).context(id, "delete the interface pair"));
            if record.bindings.iter().any(|binding| binding.protocol == Protocol::Udp) {
                result =
                    result.and(lock(&self.firewall).forget_connections_of(ip).context(id, "forget its connections"));
            }
        }
        result.and(namespace::remove(id, &self.netns_path(id)))?;
        self.records.remove(id)?;
        let mut state = lock(&self.state);
        state.tasks.remove(id);
        state.ports.release(&record.bindings);
        if let Some((ip, _)) = record.endpoint {
            state.pool.release(ip);
        }
        Ok(())
    }
}
