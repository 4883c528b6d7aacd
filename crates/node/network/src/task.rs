//! A task's network as callers see it: port mappings and interfaces in, namespace, address and bindings out.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A transport protocol whose ports can be mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    /// The number in the IP header.
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
        }
    }

    pub(crate) fn from_number(number: u8) -> Option<Self> {
        [Self::Tcp, Self::Udp].into_iter().find(|protocol| protocol.number() == number)
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// A port of a container that is to be reached from outside its namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortMapping {
    /// The port within the task's namespace, not 0.
    pub container_port: u16,
    /// The port on the host; none or 0 for a dynamic one.
    pub host_port: Option<u16>,
    /// The protocol.
    pub protocol: Protocol,
}

/// A port mapping as it came to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Binding {
    /// The port within the task's namespace.
    pub container_port: u16,
    /// The port on the host.
    pub host_port: u16,
    /// The protocol.
    pub protocol: Protocol,
}

/// A MAC address, written `02:00:5e:10:00:01`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// The address of a bridge-mode task or of the bridge itself: locally administered and made from the IP address,
    /// so that an address that is used again comes with the same MAC and no neighbour table goes stale.
    pub(crate) fn of(ip: Ipv4Addr) -> Self {
        let [a, b, c, d] = ip.octets();
        Self([0x02, 0xe5, a, b, c, d])
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.map(|byte| format!("{byte:02x}")).join(":"))
    }
}

/// A text that is not a MAC address.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not a MAC address such as 02:00:5e:10:00:01")]
pub struct ParseMacError(String);

impl std::str::FromStr for Mac {
    type Err = ParseMacError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 6];
        let octets: Vec<&str> = text.split(':').collect();
        if octets.len() != bytes.len() || octets.iter().any(|octet| octet.len() != 2) {
            return Err(ParseMacError(text.to_owned()));
        }
        for (byte, octet) in bytes.iter_mut().zip(octets) {
            *byte = u8::from_str_radix(octet, 16).map_err(|_| ParseMacError(text.to_owned()))?;
        }
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for Mac {
    type Error = ParseMacError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Mac> for String {
    fn from(mac: Mac) -> Self {
        mac.to_string()
    }
}

/// An elastic network interface of an awsvpc task, as the control plane assigned it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Eni {
    /// Its address, within [`NodeNetwork::eni_range`](crate::NodeNetwork::eni_range).
    pub ip: Ipv4Addr,
    /// The prefix length of its subnet: the node's.
    pub prefix_len: u8,
    /// Its MAC address, unicast.
    pub mac: Mac,
    /// Its gateway: the node's.
    pub gateway: Ipv4Addr,
}

/// The network mode of a task that has a namespace of its own (`host` has none).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// A private address; ports are published on the host.
    Bridge,
    /// An interface with an address that the control plane gave.
    Awsvpc,
    /// The loopback interface only.
    None,
}

/// The network of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskNetwork {
    /// The task.
    pub task_id: String,
    /// Its mode.
    pub mode: Mode,
    /// The file that holds the network namespace, for `setns`.
    pub netns_path: PathBuf,
    /// Its address, unless the mode is none.
    pub ip: Option<Ipv4Addr>,
    /// Its published ports.
    pub bindings: Vec<Binding>,
}

/// A service of the host that tasks may reach, for example the credentials endpoint 169.254.170.2:80 or a name server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostService {
    /// The protocol.
    pub protocol: Protocol,
    /// The address and port that tasks use; any address that is not a task's.
    pub address: SocketAddrV4,
    /// Where the host listens, 127.0.0.1 included. It sees the task's own address as the peer.
    pub target: SocketAddrV4,
    /// Which tasks.
    pub audience: Audience,
}

/// Which tasks a service of the host is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// Every task.
    All,
    /// Tasks that were made clients.
    Clients,
}
