//! A candidate's room for one kind of task.

use super::{Candidate, Demand, Lack, Resources};

/// What counts of a candidate for this kind of task: small, so that thousands are at hand.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    pub cpu: i64,
    pub memory: i64,
    gpus: i64,
    task_slots: i64,
    addresses: i64,
    has_ports: bool,
    pub group_tasks: i64,
    pub refused: Option<Lack>,
}

impl Room {
    pub fn new(candidate: &Candidate<'_>, demand: &Resources) -> Self {
        let remaining = candidate.remaining;
        Self {
            cpu: remaining.cpu,
            memory: remaining.memory,
            gpus: remaining.gpus,
            task_slots: remaining.task_slots.unwrap_or(i64::MAX),
            addresses: i64::try_from(candidate.addresses).unwrap_or(i64::MAX),
            has_ports: remaining.has_ports_for(demand),
            group_tasks: i64::try_from(candidate.group_tasks).unwrap_or(i64::MAX),
            refused: candidate.refused,
        }
    }

    /// What keeps the task from here.
    pub fn lack(&self, demand: &Demand) -> Option<Lack> {
        let needed = &demand.resources;
        // An instance that registered with less than its tasks take has less than nothing left; that is nothing to those
        // who need none.
        let is_short = |left: i64, needed: i64| left.max(0) < needed;
        let lacks = [
            (is_short(self.cpu, needed.cpu), Lack::Cpu),
            (is_short(self.memory, needed.memory), Lack::Memory),
            (!self.has_ports, Lack::Ports),
            (is_short(self.gpus, needed.gpus), Lack::Gpu),
            (self.task_slots < 1, Lack::TaskSlots),
            (demand.distinct_instance && self.group_tasks > 0, Lack::DistinctInstance),
            (demand.network_interface && self.addresses < 1, Lack::NetworkInterface),
        ];
        self.refused.or_else(|| lacks.into_iter().find_map(|(lacks, what)| lacks.then_some(what)))
    }

    /// What it is with another task of the kind.
    pub fn with(mut self, demand: &Demand) -> Self {
        self.addresses -= i64::from(demand.network_interface);
        let demand = &demand.resources;
        self.cpu -= demand.cpu;
        self.memory -= demand.memory;
        self.gpus -= demand.gpus;
        self.task_slots -= 1;
        self.has_ports &= demand.tcp_ports.is_empty() && demand.udp_ports.is_empty();
        self.group_tasks += 1;
        self
    }
}
