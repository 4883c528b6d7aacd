//! The node's task networking: a network namespace for each task, its interface on the node's bridge, its published
//! ports, and the firewall between tasks and host.
//!
//! All of it lives in the kernel (namespaces, veth pairs, one bridge, two nf_tables tables of our own) and goes on
//! working when the agent is gone; nothing of a task's traffic passes through this process. Everything is done over
//! netlink, no program is run. Must run as root.
//!
//! # What lives where
//! - `run_dir/netns/<task>` holds the namespace, `run_dir/tasks/<task>.json` says what the task holds. The record is
//!   written before anything is made, so [`NodeNetwork::adopt`] finds every left-over of a crash.
//! - `state_dir/network.json` remembers the subnet over reboots.
//! - Kernel objects are named after a hash of the installation's name: bridge `est<hash>0`, interfaces
//!   `est<hash>v<offset>`, tables `estiva_<hash>`; of a [`Fleet`], links `est<hash>m<slot>` and the table
//!   `estiva_<hash>_nodes`. Objects of other names are never touched.
//!
//! # What it changes on the host
//! `net.ipv4.ip_forward` is set to 1 if it was 0, as tasks could not reach other machines otherwise; it stays so.
//! `route_localnet` is set on the bridge alone, for published ports on 127.0.0.1; the firewall sees to it that tasks
//! cannot make use of it. The loopback interface is brought up if it is down.
//!
//! Published ports are reached over IPv4: `127.0.0.1`, not `::1`. Tasks have no IPv6 but for their own `::1`.

mod config;
mod engine;
mod error;
mod firewall;
mod fleet;
mod ipam;
mod link;
mod namespace;
mod netlink;
mod nft;
mod node;
mod ports;
mod record;
mod subnet;
mod task;
#[cfg(test)]
mod tests;

pub use config::{Config, Publish};
pub use engine::{Adoption, Fault};
pub use error::Error;
pub use fleet::{Fleet, SLOTS, Seat, UPLINK};
pub use namespace::within;
pub use netlink::NetlinkError;
pub use node::NodeNetwork;
pub use subnet::{ParseSubnetError, Subnet};
pub use task::{Audience, Binding, Eni, HostService, Mac, Mode, ParseMacError, PortMapping, Protocol, TaskNetwork};
