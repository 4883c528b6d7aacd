//! Why not, and what it costs and gives back.

use proptest::prelude::*;

use super::*;

#[test]
fn each_instance_says_what_it_lacks() {
    let mut taken = resources(4096, 4096);
    taken.tcp_ports.insert(80);
    let full = Resources { task_slots: Some(0), gpus: 1, ..resources(4096, 4096) };
    let rich = Resources { gpus: 1, ..resources(4096, 4096) };
    let (slow, small, plain) = (resources(64, 4096), resources(4096, 64), resources(4096, 4096));
    let refused = Candidate { refused: Some(Lack::Agent), ..candidate(&plain, "a") };
    let nowhere = Candidate { spread: [None; STRATEGIES_MAX], ..candidate(&plain, "a") };
    let others = [&slow, &small, &taken, &plain, &full].map(|it| candidate(it, "a"));
    let mute = Candidate { addresses: 0, ..candidate(&rich, "a") };
    let cluster: Vec<_> = others.into_iter().chain([refused, nowhere, mute]).collect();
    let mut demand = demand(128, 128, &[80]);
    demand.resources.gpus = 1;
    demand.network_interface = true;
    let placement = place(&demand, 1, &Strategies::default(), &cluster, &mut rng());
    assert!(placement.chosen.is_empty());
    let expected = [
        Lack::Cpu,
        Lack::Memory,
        Lack::Ports,
        Lack::Gpu,
        Lack::TaskSlots,
        Lack::Agent,
        Lack::Attribute,
        Lack::NetworkInterface,
    ];
    assert_eq!(placement.lacking, expected.into_iter().enumerate().collect::<Vec<_>>());
}

#[test]
fn what_an_instance_has_less_than_none_of_is_nothing_to_those_who_need_none() {
    let short = Resources { gpus: -1, ..resources(-10, 100) };
    let lack = |cpu: i64, gpus: i64| {
        let mut demand = demand(cpu, 10, &[]);
        demand.resources.gpus = gpus;
        candidate(&short, "a").lack(&demand)
    };
    assert_eq!((lack(0, 0), lack(1, 0), lack(0, 1)), (None, Some(Lack::Cpu), Some(Lack::Gpu)));
}

#[test]
fn the_closest_match_is_the_one_that_lacks_least() {
    assert_eq!(closest(&[]), None);
    let lacking = [(4, Lack::Agent), (2, Lack::Cpu), (7, Lack::Cpu), (1, Lack::DistinctInstance)];
    assert_eq!(closest(&lacking), Some((2, Lack::Cpu)));
    assert_eq!(Lack::Cpu.sentence(), "has insufficient CPU units available");
}

#[test]
fn rows_from_before_gpus_and_slots_have_none_and_no_limit() {
    let kept = r#"{ "cpu": 1, "memory": 2, "tcp_ports": [], "udp_ports": [] }"#;
    let read: Resources = serde_json::from_str(kept).unwrap();
    assert_eq!(read, resources(1, 2));
}

proptest! {
    #[test]
    fn release_undoes_reserve(
        (cpu, memory, gpus) in (0..9_i64, 0..9_i64, 0..3_i64),
        port in 1..9_u16,
        task_slots in proptest::option::of(1..4_i64),
    ) {
        let mut remaining = Resources { gpus: 2, task_slots, ..resources(10, 10) };
        let before = remaining.clone();
        let demand = Resources { gpus, ..demand(cpu, memory, &[port]).resources };
        remaining.reserve(&demand);
        prop_assert_eq!(remaining.task_slots, task_slots.map(|slots| slots - 1));
        remaining.release(&demand);
        prop_assert_eq!(remaining, before);
    }
}
