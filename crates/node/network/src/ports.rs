//! Which host port belongs to which task.
//!
//! A port is reserved by binding a socket to it, so the kernel is the judge: between tasks, between installations, and
//! against any other process of the host. The socket serves nobody. Traffic to the port is redirected to the task by
//! nf_tables before it could reach a socket, and a socket filter discards what arrives while the ruleset is missing
//! (so that a client's retransmission finds the task once the ruleset is repaired, where a reset would end it).
//!
//! The socket dies with the agent, the redirection does not: traffic goes on. The new agent reads the reservations from
//! the task records, holds the ports in its own table from then on, and binds them again. If a process of the host took
//! the port meanwhile, the task keeps it, as its traffic never stopped; this is logged. A second installation on the
//! same host could, in that time alone, be given the port too: its redirection then counts or not by the order in which
//! the kernel asks the two tables.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::os::fd::{AsRawFd as _, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, bind, listen, setsockopt, socket, sockopt,
};

use crate::error::Context as _;
use crate::{Binding, Error, PortMapping, Protocol, Publish};

/// AWS's quota is 100 published ports a container instance, reserved ones included.
pub(crate) const MAPPINGS_MAX: usize = 100;

/// The host ports of one installation.
#[derive(Debug)]
pub(crate) struct Ports {
    address: Ipv4Addr,
    dynamic: RangeInclusive<u16>,
    /// The dynamic port given last: the next search starts after it.
    last: u16,
    /// Without a socket where another process had the port when the agent came back.
    held: BTreeMap<(Protocol, u16), Option<OwnedFd>>,
}

impl Ports {
    pub(crate) fn new(publish: Publish, dynamic: RangeInclusive<u16>) -> Self {
        let address = match publish {
            Publish::Loopback => Ipv4Addr::LOCALHOST,
            Publish::All => Ipv4Addr::UNSPECIFIED,
        };
        Self { address, last: *dynamic.end(), dynamic, held: BTreeMap::new() }
    }

    /// Reserves a host port for each mapping, or none at all.
    pub(crate) fn reserve(&mut self, mappings: &[PortMapping]) -> Result<Vec<Binding>, Error> {
        if mappings.len() > MAPPINGS_MAX {
            return Err(Error::TooManyPorts { count: mappings.len(), max: MAPPINGS_MAX });
        }
        // Fixed ports first, lest a dynamic one of the same task takes what a later mapping names.
        let mut order: Vec<usize> = (0..mappings.len()).collect();
        order.sort_by_key(|index| mappings[*index].host_port.unwrap_or(0) == 0);
        let mut bindings = vec![None; mappings.len()];
        for index in order {
            match self.reserve_one(mappings[index]) {
                Ok(binding) => bindings[index] = Some(binding),
                Err(error) => {
                    self.release(&bindings.into_iter().flatten().collect::<Vec<_>>());
                    return Err(error);
                }
            }
        }
        Ok(bindings.into_iter().flatten().collect())
    }

    /// Takes over the reservations of a task that was there before this process.
    pub(crate) fn adopt(&mut self, bindings: &[Binding]) {
        for binding in bindings {
            let key = (binding.protocol, binding.host_port);
            let socket = hold(self.address, binding.host_port, binding.protocol)
                .inspect_err(|error| {
                    tracing::warn!(port = binding.host_port, protocol = %binding.protocol, %error,
                        "a process of the host bound a task's port while the agent was away; the task keeps it");
                })
                .ok();
            self.held.insert(key, socket);
        }
    }

    pub(crate) fn release(&mut self, bindings: &[Binding]) {
        for binding in bindings {
            self.held.remove(&(binding.protocol, binding.host_port));
        }
    }

    fn reserve_one(&mut self, mapping: PortMapping) -> Result<Binding, Error> {
        let PortMapping { container_port, protocol, .. } = mapping;
        if container_port == 0 {
            return Err(Error::InvalidContainerPort);
        }
        let host_port = match mapping.host_port {
            Some(port) if port != 0 => {
                if !self.try_hold(port, protocol)? {
                    return Err(Error::PortInUse { port, protocol });
                }
                port
            }
            _ => self.hold_dynamic(protocol)?,
        };
        Ok(Binding { container_port, host_port, protocol })
    }

    fn hold_dynamic(&mut self, protocol: Protocol) -> Result<u16, Error> {
        let last = self.last;
        let after = self.dynamic.clone().filter(|port| *port > last);
        let before = self.dynamic.clone().filter(|port| *port <= last);
        for port in after.chain(before) {
            if self.try_hold(port, protocol)? {
                self.last = port;
                return Ok(port);
            }
        }
        Err(Error::PortsExhausted { protocol })
    }

    /// Whether the port was free; it is ours now if so.
    fn try_hold(&mut self, port: u16, protocol: Protocol) -> Result<bool, Error> {
        if self.held.contains_key(&(protocol, port)) {
            return Ok(false);
        }
        match hold(self.address, port, protocol) {
            Ok(socket) => {
                self.held.insert((protocol, port), Some(socket));
                Ok(true)
            }
            Err(Errno::EADDRINUSE) => Ok(false),
            Err(errno) => Err(errno).context(format!("host port {port}/{protocol}"), "bind its reservation socket"),
        }
    }
}

/// Binds a deaf socket. TCP listens, for two reasons: with `SO_REUSEADDR`, which lets it pass over connections in
/// TIME_WAIT, a conflict with a second holder shows at `listen` only; and a listening socket refuses all other binds.
fn hold(address: Ipv4Addr, port: u16, protocol: Protocol) -> nix::Result<OwnedFd> {
    let kind = match protocol {
        Protocol::Tcp => SockType::Stream,
        Protocol::Udp => SockType::Datagram,
    };
    let fd = socket(AddressFamily::Inet, kind, SockFlag::SOCK_CLOEXEC, None)?;
    discard_all(&fd)?;
    let [a, b, c, d] = address.octets();
    if protocol == Protocol::Tcp {
        setsockopt(&fd, sockopt::ReuseAddr, &true)?;
    }
    bind(fd.as_raw_fd(), &SockaddrIn::new(a, b, c, d, port))?;
    if protocol == Protocol::Tcp {
        listen(&fd, Backlog::new(1)?)?;
    }
    Ok(fd)
}

/// Attaches the one-instruction socket filter `return 0`: every packet is dropped.
fn discard_all(fd: &OwnedFd) -> nix::Result<()> {
    const BPF_RET_K: u16 = 0x06;
    let mut instruction = libc::sock_filter { code: BPF_RET_K, jt: 0, jf: 0, k: 0 };
    let program = libc::sock_fprog { len: 1, filter: &raw mut instruction };
    let length = libc::socklen_t::try_from(size_of_val(&program)).unwrap_or_default();
    // SAFETY: `program` and the instruction it points to live until the call returns; the kernel copies both.
    let result = unsafe {
        libc::setsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, (&raw const program).cast(), length)
    };
    Errno::result(result).map(|_| ())
}
