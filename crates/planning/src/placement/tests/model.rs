//! The reference: says of any choice whether it was right, by looking at all hosts again.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::strategy::Strategy as Generate;

use super::super::Strategy;
use super::*;

/// A container instance.
#[derive(Debug, Clone)]
pub struct Host {
    pub remaining: Resources,
    pub group_tasks: usize,
    addresses: usize,
    refused: Option<Lack>,
    pub is_gone: bool,
    /// Of `rack`, `row` and the zone.
    values: [Option<&'static str>; 3],
}

/// Hosts and what places on them.
#[derive(Debug, Clone)]
pub struct Model {
    pub hosts: Vec<Host>,
    pub demand: Demand,
    pub strategies: Vec<Strategy>,
}

const NAMES: [&str; 3] = ["rack", "row", ZONE];

impl Model {
    pub fn strategies(&self) -> Strategies {
        Strategies::new(self.strategies.clone())
    }

    pub fn candidates(&self) -> Vec<Candidate<'_>> {
        self.hosts.iter().map(|host| self.candidate(host)).collect()
    }

    pub fn candidate<'a>(&self, host: &'a Host) -> Candidate<'a> {
        let mut spread = [None; STRATEGIES_MAX];
        for (value, name) in spread.iter_mut().zip(self.strategies().attributes()) {
            *value = host.value(name);
        }
        let Host { remaining, group_tasks, addresses, refused, .. } = host;
        Candidate { remaining, addresses: *addresses, group_tasks: *group_tasks, refused: *refused, spread }
    }

    fn present(&self) -> impl Iterator<Item = &Host> {
        self.hosts.iter().filter(|host| !host.is_gone)
    }

    /// What decides, the default written out.
    pub fn decisive(&self) -> Vec<Strategy> {
        let default = vec![Strategy::SpreadAttribute(ZONE.into()), Strategy::SpreadInstance];
        let given = if self.strategies.is_empty() { default } else { self.strategies.clone() };
        given.into_iter().take_while(|strategy| *strategy != Strategy::Random).collect()
    }

    /// The host's numbers, one a strategy, the least of which is best; `tasks` says how many a host counts for.
    pub fn rank(&self, host: &Host, tasks: impl Fn(&Host) -> i64) -> Vec<i64> {
        let mut inside: Vec<&Host> = self.present().collect();
        let number = |strategy: &Strategy| match strategy {
            Strategy::Random => 0,
            Strategy::Binpack(Amount::Cpu) => host.remaining.cpu,
            Strategy::Binpack(Amount::Memory) => host.remaining.memory,
            Strategy::SpreadInstance => tasks(host),
            Strategy::SpreadAttribute(name) => {
                inside.retain(|other| other.value(name) == host.value(name));
                inside.iter().map(|other| tasks(other)).sum()
            }
        };
        self.decisive().iter().map(number).collect()
    }

    pub fn lack(&self, host: &Host) -> Option<Lack> {
        let (left, needed) = (&host.remaining, &self.demand.resources);
        let takes = |ports: &BTreeSet<u16>, needed: &BTreeSet<u16>| needed.iter().any(|port| ports.contains(port));
        if host.refused.is_some() {
            host.refused
        } else if self.strategies().attributes().any(|name| host.value(name).is_none()) {
            Some(Lack::Attribute)
        } else if needed.cpu > 0 && left.cpu < needed.cpu {
            Some(Lack::Cpu)
        } else if needed.memory > 0 && left.memory < needed.memory {
            Some(Lack::Memory)
        } else if takes(&left.tcp_ports, &needed.tcp_ports) || takes(&left.udp_ports, &needed.udp_ports) {
            Some(Lack::Ports)
        } else if needed.gpus > 0 && left.gpus < needed.gpus {
            Some(Lack::Gpu)
        } else if left.task_slots == Some(0) {
            Some(Lack::TaskSlots)
        } else if self.demand.distinct_instance && host.group_tasks > 0 {
            Some(Lack::DistinctInstance)
        } else {
            (self.demand.network_interface && host.addresses == 0).then_some(Lack::NetworkInterface)
        }
    }

    /// Checks what was placed, task by task, and places it here too.
    pub fn follow(&mut self, count: usize, placement: &Placement) -> Result<(), TestCaseError> {
        for chosen in &placement.chosen {
            let rank = |host: &Host| self.rank(host, |host| i64::try_from(host.group_tasks).unwrap());
            prop_assert!(!self.hosts[*chosen].is_gone);
            prop_assert_eq!(self.lack(&self.hosts[*chosen]), None, "it has room");
            let best = self.present().filter(|host| self.lack(host).is_none()).map(rank).min();
            prop_assert_eq!(best, Some(rank(&self.hosts[*chosen])), "none is better");
            self.hosts[*chosen].remaining.reserve(&self.demand.resources);
            self.hosts[*chosen].group_tasks += 1;
            self.hosts[*chosen].addresses -= usize::from(self.demand.network_interface);
        }
        let lack =
            |(index, host): (usize, &Host)| (!host.is_gone).then(|| self.lack(host).map(|lack| (index, lack)))?;
        let lacking: Vec<_> = self.hosts.iter().enumerate().filter_map(lack).collect();
        if placement.chosen.len() == count {
            prop_assert!(placement.lacking.is_empty());
        } else {
            prop_assert_eq!(lacking.len(), self.present().count(), "a task that fits is placed");
            prop_assert_eq!(&placement.lacking, &lacking);
        }
        Ok(())
    }
}

impl Host {
    fn value(&self, name: &str) -> Option<&'static str> {
        self.values[NAMES.iter().position(|known| *known == name).unwrap()]
    }
}

/// Any hosts, demand and strategies; few different values, so that many are equal.
pub fn models() -> impl Generate<Value = Model> {
    (proptest::collection::vec(hosts(), 0..12), demands(), proptest::collection::vec(strategies(), 0..=STRATEGIES_MAX))
        .prop_map(|(hosts, demand, strategies)| Model { hosts, demand, strategies })
}

pub fn remainings() -> impl Generate<Value = Resources> {
    let ports = || proptest::collection::btree_set(80..82_u16, 0..2);
    (-1..6_i64, -1..6_i64, ports(), ports(), -1..3_i64, proptest::option::of(0..5_i64)).prop_map(
        |(cpu, memory, tcp_ports, udp_ports, gpus, task_slots)| Resources {
            cpu: cpu * 100,
            memory: memory * 100,
            tcp_ports,
            udp_ports,
            gpus,
            task_slots,
        },
    )
}

pub fn hosts() -> impl Generate<Value = Host> {
    let value = || proptest::option::weighted(0.95, prop_oneof![Just("x"), Just("y"), Just("z")]);
    let refused = proptest::option::weighted(0.1, prop_oneof![Just(Lack::Agent), Just(Lack::MemberOf)]);
    (remainings(), 0..4_usize, 0..4_usize, refused, [value(), value(), value()]).prop_map(
        |(remaining, group_tasks, addresses, refused, values)| Host {
            remaining,
            group_tasks,
            addresses,
            refused,
            is_gone: false,
            values,
        },
    )
}

fn demands() -> impl Generate<Value = Demand> {
    let ports = || proptest::collection::btree_set(80..82_u16, 0..=1);
    let sizes = (0..3_i64, 0..3_i64, 0..2_i64);
    let rarely = || proptest::bool::weighted(0.2);
    (sizes, rarely(), ports(), rarely(), rarely(), rarely()).prop_map(
        |((cpu, memory, gpus), has_ports, ports, has_gpus, distinct_instance, network_interface)| Demand {
            resources: Resources {
                tcp_ports: if has_ports { ports } else { BTreeSet::default() },
                gpus: if has_gpus { gpus } else { 0 },
                ..resources(cpu * 60, memory * 60)
            },
            distinct_instance,
            network_interface,
        },
    )
}

fn strategies() -> impl Generate<Value = Strategy> {
    prop_oneof![
        1 => Just(Strategy::Random),
        2 => Just(Strategy::Binpack(Amount::Cpu)),
        2 => Just(Strategy::Binpack(Amount::Memory)),
        2 => Just(Strategy::SpreadInstance),
        6 => proptest::sample::select(&NAMES[..]).prop_map(|name| Strategy::SpreadAttribute(name.into())),
    ]
}
