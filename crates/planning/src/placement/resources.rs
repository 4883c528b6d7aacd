//! What a node has and a task takes, and how it is reserved.

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
    /// Whole GPUs.
    #[serde(default)]
    pub gpus: i64,
    /// How many tasks more a node takes; `None`: as many as fit. Every task takes one, whatever its demand says.
    #[serde(default)]
    pub task_slots: Option<i64>,
}

impl Resources {
    /// Whether none of the host ports that `demand` needs is taken.
    pub fn has_ports_for(&self, demand: &Self) -> bool {
        self.tcp_ports.is_disjoint(&demand.tcp_ports) && self.udp_ports.is_disjoint(&demand.udp_ports)
    }

    /// Takes `demand` from these remaining resources.
    pub fn reserve(&mut self, demand: &Self) {
        self.cpu -= demand.cpu;
        self.memory -= demand.memory;
        self.gpus -= demand.gpus;
        self.task_slots = self.task_slots.map(|slots| slots - 1);
        self.take_ports(demand);
    }

    /// The host ports of `other` are in use.
    pub fn take_ports(&mut self, other: &Self) {
        self.tcp_ports.extend(&other.tcp_ports);
        self.udp_ports.extend(&other.udp_ports);
    }

    /// Gives back what [`Self::reserve`] took.
    pub fn release(&mut self, demand: &Self) {
        self.cpu += demand.cpu;
        self.memory += demand.memory;
        self.gpus += demand.gpus;
        self.task_slots = self.task_slots.map(|slots| slots + 1);
        self.tcp_ports.retain(|port| !demand.tcp_ports.contains(port));
        self.udp_ports.retain(|port| !demand.udp_ports.contains(port));
    }
}
