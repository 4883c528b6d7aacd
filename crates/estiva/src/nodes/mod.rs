//! The further nodes of this machine, as they are on disk and in the kernel; nothing here runs an agent.

mod clear;
mod record;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::{Context, Result};
use estiva_network::Fleet;

pub use clear::{Leftover, forget};
pub use record::{NodeRecord, container_instance_of, sweep};

use crate::installation::Installation;

/// The installation's fleet, made if it is new.
pub fn open_fleet(here: &Installation) -> Result<Fleet> {
    let fleet = Fleet::open(&here.name, &here.nodes_dir()?, &here.namespaces_dir()?);
    fleet.context("cannot set up the network of further nodes")
}

/// The address of the endpoint that a node needs to have for its own, for what relays to the endpoint to listen on.
pub fn local_address(endpoint: SocketAddr) -> Result<Ipv4Addr> {
    match endpoint.ip() {
        IpAddr::V4(address) => Ok(address),
        IpAddr::V6(address) if address.is_loopback() => Ok(Ipv4Addr::LOCALHOST),
        IpAddr::V6(_) => anyhow::bail!("further nodes need an endpoint with an IPv4 address, not {endpoint}"),
    }
}
