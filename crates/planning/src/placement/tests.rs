//! Where tasks go, by example and as properties.

use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::SmallRng;

use super::*;

fn rng() -> SmallRng {
    SmallRng::seed_from_u64(7)
}

fn candidate(arn: &str, zone: &str, cpu: i64, memory: i64) -> Candidate {
    Candidate {
        arn: arn.into(),
        availability_zone: zone.into(),
        remaining: Resources { cpu, memory, ..Resources::default() },
        group_tasks: 0,
    }
}

fn demand(cpu: i64, memory: i64, ports: &[u16]) -> Demand {
    let resources = Resources { cpu, memory, tcp_ports: ports.iter().copied().collect(), ..Resources::default() };
    Demand { resources, distinct_instance: false }
}

#[test]
fn a_distinct_instance_has_no_other_task_of_the_group() {
    let mut taken = candidate("taken", "a", 4096, 4096);
    taken.group_tasks = 1;
    let cluster = vec![taken, candidate("b", "a", 4096, 4096), candidate("c", "b", 4096, 4096)];
    let distinct = Demand { distinct_instance: true, ..demand(1, 1, &[]) };
    let placement = place(&distinct, 3, cluster, &mut rng());
    assert_eq!(placement.chosen.len(), 2);
    assert!(placement.lacking.iter().all(|(_, lack)| *lack == Lack::DistinctInstance), "{:?}", placement.lacking);
}

#[test]
fn tasks_spread_over_zones_and_then_over_instances() {
    let cluster =
        vec![candidate("a1", "a", 4096, 4096), candidate("a2", "a", 4096, 4096), candidate("b1", "b", 4096, 4096)];
    let placement = place(&demand(128, 128, &[]), 4, cluster, &mut rng());
    let of = |arn: &str| placement.chosen.iter().filter(|chosen| *chosen == arn).count();
    assert_eq!((of("a1"), of("a2"), of("b1")), (1, 1, 2));
}

#[test]
fn each_instance_says_what_it_lacks() {
    let mut taken = candidate("ports", "a", 4096, 4096);
    taken.remaining.tcp_ports.insert(80);
    let cluster = vec![candidate("cpu", "a", 64, 4096), candidate("memory", "a", 4096, 64), taken];
    let placement = place(&demand(128, 128, &[80]), 1, cluster, &mut rng());
    assert_eq!(placement.chosen, Vec::<String>::new());
    let expected = [("cpu", Lack::Cpu), ("memory", Lack::Memory), ("ports", Lack::Ports)];
    assert_eq!(placement.lacking, expected.map(|(arn, lack)| (arn.to_owned(), lack)));
}

#[test]
fn a_fixed_host_port_is_used_once_an_instance() {
    let cluster = vec![candidate("a", "a", 4096, 4096), candidate("b", "a", 4096, 4096)];
    let placement = place(&demand(1, 1, &[80]), 3, cluster, &mut rng());
    assert_eq!(placement.chosen.len(), 2);
    assert!(placement.lacking.iter().all(|(_, lack)| *lack == Lack::Ports));
}

proptest! {
    #[test]
    fn nothing_is_sold_twice(
        instances in proptest::collection::vec((0..3_u8, 0..2048_i64, 0..2048_i64), 0..12),
        cpu in 0..600_i64,
        memory in 0..600_i64,
        count in 0..10_usize,
    ) {
        let cluster: Vec<_> = (0..)
            .zip(&instances)
            .map(|(n, (zone, cpu, memory))| candidate(&format!("{n}"), &zone.to_string(), *cpu, *memory))
            .collect();
        let placement = place(&demand(cpu, memory, &[]), count, cluster.clone(), &mut rng());
        for instance in &cluster {
            let tasks = i64::try_from(placement.chosen.iter().filter(|arn| **arn == instance.arn).count()).unwrap();
            prop_assert!(tasks * cpu <= instance.remaining.cpu && tasks * memory <= instance.remaining.memory);
        }
        let room = |it: &Candidate| {
            let of = |have: i64, need: i64| if need == 0 { i64::MAX } else { have / need };
            of(it.remaining.cpu, cpu).min(of(it.remaining.memory, memory))
        };
        let fits: i64 = cluster.iter().map(room).fold(0, i64::saturating_add);
        let expected = usize::try_from(fits).unwrap_or(usize::MAX).min(count);
        prop_assert_eq!(placement.chosen.len(), expected, "a task that fits is placed");
    }

    #[test]
    fn release_undoes_reserve(cpu in 0..9_i64, memory in 0..9_i64, port in 1..9_u16) {
        let mut remaining = Resources { cpu: 10, memory: 10, ..Resources::default() };
        let before = remaining.clone();
        let demand = demand(cpu, memory, &[port]).resources;
        remaining.reserve(&demand);
        remaining.release(&demand);
        prop_assert_eq!(remaining, before);
    }
}
