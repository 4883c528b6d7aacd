//! What can go wrong, each with its subject (task, interface, file) and the step that failed.

use std::net::Ipv4Addr;

use crate::netlink::NetlinkError;
use crate::{Protocol, Subnet};

/// A failed operation of [`NodeNetwork`](crate::NodeNetwork).
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A task asked for a host port that another task or another process of the host has.
    #[error("host port {port}/{protocol} is in use")]
    PortInUse {
        /// The host port.
        port: u16,
        /// Its protocol.
        protocol: Protocol,
    },
    /// No port of the dynamic range is free.
    #[error("no free dynamic host port for {protocol}")]
    PortsExhausted {
        /// The protocol asked for.
        protocol: Protocol,
    },
    /// A task asked for more port mappings than are allowed.
    #[error("{count} port mappings, at most {max} are allowed")]
    TooManyPorts {
        /// How many were asked for.
        count: usize,
        /// How many one task may have.
        max: usize,
    },
    /// A port mapping names container port 0.
    #[error("container port 0 cannot be mapped")]
    InvalidContainerPort,
    /// Every address for bridge-mode tasks is held.
    #[error("no free task address in {subnet}")]
    AddressesExhausted {
        /// The node's subnet.
        subnet: Subnet,
    },
    /// The address of a network interface (ENI) is held by another task.
    #[error("address {ip} is held by another task")]
    AddressInUse {
        /// The address.
        ip: Ipv4Addr,
    },
    /// An ENI that does not fit this node: its address, prefix or gateway is not of the node's subnet.
    #[error("network interface {ip} does not fit this node: {reason}")]
    InvalidEni {
        /// The interface's address.
        ip: Ipv4Addr,
        /// What does not fit.
        reason: &'static str,
    },
    /// A task id that cannot be a file name: 1 to 128 of `A-Z a-z 0-9 - _`.
    #[error("invalid task id {id:?}")]
    InvalidTaskId {
        /// The id as given.
        id: String,
    },
    /// The task has a network already.
    #[error("task {id} has a network already")]
    TaskExists {
        /// The task.
        id: String,
    },
    /// An installation name that is empty or longer than 256 bytes.
    #[error("invalid installation name {name:?}")]
    InvalidInstallation {
        /// The name as given.
        name: String,
    },
    /// Another process has this installation's network open.
    #[error("the network of installation {installation:?} is open in another process")]
    AlreadyOpen {
        /// The installation.
        installation: String,
    },
    /// Every private range that was tried clashes with a route or an address of the host.
    #[error("no free private subnet on this host")]
    NoFreeSubnet,
    /// The subnet that the configuration demands clashes with a route or an address of the host, or is not usable.
    #[error("subnet {subnet} cannot be used: {reason}")]
    SubnetConflict {
        /// The subnet as configured.
        subnet: Subnet,
        /// Why not.
        reason: String,
    },
    /// The kernel refused a netlink request.
    #[error("{subject}: cannot {step}")]
    Netlink {
        /// Task, interface or table.
        subject: String,
        /// What was being done.
        step: &'static str,
        /// The refusal.
        #[source]
        source: NetlinkError,
    },
    /// A system call failed.
    #[error("{subject}: cannot {step}")]
    Io {
        /// Task, interface or file.
        subject: String,
        /// What was being done.
        step: &'static str,
        /// The failure.
        #[source]
        source: std::io::Error,
    },
    /// A bug: the thread that did the work panicked.
    #[error("{subject}: the worker thread died")]
    WorkerDied {
        /// What it worked on.
        subject: String,
    },
}

/// Adds subject and step to a low-level failure.
pub(crate) trait Context<T> {
    fn context(self, subject: impl Into<String>, step: &'static str) -> Result<T, Error>;
}

impl<T> Context<T> for Result<T, NetlinkError> {
    fn context(self, subject: impl Into<String>, step: &'static str) -> Result<T, Error> {
        self.map_err(|source| Error::Netlink { subject: subject.into(), step, source })
    }
}

impl<T> Context<T> for std::io::Result<T> {
    fn context(self, subject: impl Into<String>, step: &'static str) -> Result<T, Error> {
        self.map_err(|source| Error::Io { subject: subject.into(), step, source })
    }
}

impl<T> Context<T> for nix::Result<T> {
    fn context(self, subject: impl Into<String>, step: &'static str) -> Result<T, Error> {
        self.map_err(|errno| Error::Io { subject: subject.into(), step, source: errno.into() })
    }
}
