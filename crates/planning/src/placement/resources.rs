//! CPU, memory and host ports, and how they are reserved.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// An amount of a node's resources: what a node has left, or what a task needs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// CPU units: 1024 are a core.
    pub cpu: i64,
    /// MiB.
    pub memory: i64,
    /// TCP host ports in use, or needed.
    pub tcp_ports: BTreeSet<u16>,
    /// UDP host ports in use, or needed.
    pub udp_ports: BTreeSet<u16>,
}

/// What an instance has too little of. ECS answers `RESOURCE:` and the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lack {
    /// CPU units.
    Cpu,
    /// Memory.
    Memory,
    /// A host port that the task needs is taken.
    Ports,
    /// Another task of the group is there.
    DistinctInstance,
}

impl Lack {
    /// As ECS writes it in `failures[].reason`.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Cpu => "RESOURCE:CPU",
            Self::Memory => "RESOURCE:MEMORY",
            Self::Ports => "RESOURCE:PORTS",
            Self::DistinctInstance => "DistinctInstance placement constraint unsatisfied.",
        }
    }
}

impl Resources {
    /// What these remaining resources lack for `demand`; `None` if it fits.
    pub fn lack(&self, demand: &Self) -> Option<Lack> {
        if self.cpu < demand.cpu {
            Some(Lack::Cpu)
        } else if self.memory < demand.memory {
            Some(Lack::Memory)
        } else if self.tcp_ports.is_disjoint(&demand.tcp_ports) && self.udp_ports.is_disjoint(&demand.udp_ports) {
            None
        } else {
            Some(Lack::Ports)
        }
    }

    /// Takes `demand` from these remaining resources.
    pub fn reserve(&mut self, demand: &Self) {
        self.cpu -= demand.cpu;
        self.memory -= demand.memory;
        self.tcp_ports.extend(&demand.tcp_ports);
        self.udp_ports.extend(&demand.udp_ports);
    }

    /// Gives back what [`Self::reserve`] took.
    pub fn release(&mut self, demand: &Self) {
        self.cpu += demand.cpu;
        self.memory += demand.memory;
        self.tcp_ports.retain(|port| !demand.tcp_ports.contains(port));
        self.udp_ports.retain(|port| !demand.udp_ports.contains(port));
    }
}
