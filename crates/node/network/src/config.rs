//! What a node's network is told at start, and the names that follow from it.

use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use sha2::{Digest as _, Sha256};

use crate::{Error, Subnet};

/// The range that the ECS agent draws dynamic host ports from where the kernel's own range is not taken.
const DYNAMIC_PORTS: RangeInclusive<u16> = 49_153..=65_535;
const INSTALLATION_BYTES_MAX: usize = 256;

/// On which addresses of the host published ports answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Publish {
    /// On 127.0.0.1 only: what a laptop wants.
    Loopback,
    /// On every address of the host, as ECS does.
    All,
}

/// Configuration of a node's network.
#[derive(Debug, Clone)]
pub struct Config {
    /// Name of the installation; several can live side by side in one network namespace.
    pub installation: String,
    /// Directory for what must outlive a reboot: the choice of subnet.
    pub state_dir: PathBuf,
    /// Directory for what must not: task records and namespace files. Use a tmpfs such as `/run/estiva/<name>`.
    pub run_dir: PathBuf,
    /// Where published ports answer.
    pub publish: Publish,
    /// Where dynamic host ports come from.
    pub dynamic_ports: RangeInclusive<u16>,
    /// The node's subnet, /16 to /26; chosen and remembered when not given.
    pub subnet: Option<Subnet>,
    /// The interface that leads to the installation's other nodes; without it, the links that a [`Fleet`](crate::Fleet)
    /// of the installation has on this host.
    pub uplink: Option<String>,
}

impl Config {
    /// A configuration with the defaults: loopback only, ports 49153–65535, a subnet of our choice.
    pub fn new(installation: impl Into<String>, state_dir: impl Into<PathBuf>, run_dir: impl Into<PathBuf>) -> Self {
        Self {
            installation: installation.into(),
            state_dir: state_dir.into(),
            run_dir: run_dir.into(),
            publish: Publish::Loopback,
            dynamic_ports: DYNAMIC_PORTS,
            subnet: None,
            uplink: None,
        }
    }

    pub(crate) fn names(&self) -> Result<Names, Error> {
        if self.installation.is_empty() || self.installation.len() > INSTALLATION_BYTES_MAX {
            return Err(Error::InvalidInstallation { name: self.installation.clone() });
        }
        Ok(Names::new(&self.installation))
    }
}

/// The kernel objects' names of one installation. They begin with a hash of its name, because an interface name has at
/// most 15 bytes.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    /// The bridge.
    pub(crate) bridge: String,
    /// The nf_tables tables, one of family `ip` and one of family `bridge`.
    pub(crate) table: String,
    /// What every task interface's name begins with.
    pub(crate) veth_prefix: String,
    /// What the name of every link to a further node begins with.
    pub(crate) link_prefix: String,
    /// What every interface of the installation is called by.
    pub(crate) prefix: String,
}

impl Names {
    pub(crate) fn new(installation: &str) -> Self {
        let hash = hex::encode(&Sha256::digest(installation)[..3]);
        let prefix = format!("est{hash}");
        Self {
            bridge: format!("{prefix}0"),
            table: format!("estiva_{hash}"),
            veth_prefix: format!("{prefix}v"),
            link_prefix: format!("{prefix}m"),
            prefix,
        }
    }

    /// The host's end of the interface pair of the task with address `ip`: an address has one holder, so has its name.
    pub(crate) fn veth(&self, subnet: Subnet, ip: Ipv4Addr) -> String {
        format!("{}{:04x}", self.veth_prefix, subnet.offset(ip))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_an_interface_name_and_differ_by_installation() {
        let (one, two) = (Names::new("one"), Names::new("two"));
        let subnet: Subnet = "10.0.0.0/16".parse().expect("subnet");
        assert!(one.veth(subnet, subnet.broadcast()).len() <= 15);
        assert!(one.bridge.len() <= 15);
        assert_ne!(one.bridge, two.bridge);
        assert_ne!(one.veth(subnet, Ipv4Addr::new(10, 0, 0, 2)), one.veth(subnet, Ipv4Addr::new(10, 0, 0, 3)));
    }
}
