//! Which instances are chosen.

use proptest::prelude::*;
use proptest::strategy::Strategy as Generate;

use super::super::Strategy;
use super::model::{Host, Model, hosts, models, remainings};
use super::*;

#[test]
fn a_distinct_instance_has_no_other_task_of_the_group() {
    let room = resources(4096, 4096);
    let taken = Candidate { group_tasks: 1, ..candidate(&room, "a") };
    let cluster = [taken, candidate(&room, "a"), candidate(&room, "b")];
    let distinct = Demand { distinct_instance: true, ..demand(1, 1, &[]) };
    let placement = place(&distinct, 3, &Strategies::default(), &cluster, &mut rng());
    assert_eq!(placement.chosen.len(), 2);
    assert!(placement.lacking.iter().all(|(_, lack)| *lack == Lack::DistinctInstance), "{:?}", placement.lacking);
}

#[test]
fn tasks_spread_over_zones_and_then_over_instances() {
    let room = resources(4096, 4096);
    let cluster = ["a", "a", "b"].map(|zone| candidate(&room, zone));
    let chosen = place(&demand(128, 128, &[]), 4, &Strategies::default(), &cluster, &mut rng()).chosen;
    assert_eq!([0, 1, 2].map(|it| times(&chosen, it)), [1, 1, 2]);
}

#[test]
fn tasks_where_no_more_may_go_count_for_the_spread() {
    let (room, full) = (resources(4096, 4096), resources(0, 0));
    let busy = Candidate { group_tasks: 3, ..candidate(&full, "a") };
    let cluster = [busy, candidate(&room, "a"), candidate(&room, "b")];
    let chosen = place(&demand(128, 128, &[]), 3, &Strategies::default(), &cluster, &mut rng()).chosen;
    assert_eq!(chosen, [2, 2, 2]);
}

#[test]
fn binpack_fills_an_instance_before_the_next() {
    let (small, large) = (resources(4096, 300), resources(512, 4096));
    let cluster = [candidate(&small, "a"), candidate(&large, "b")];
    let by_memory = Strategies::new(vec![Strategy::Binpack(Amount::Memory)]);
    let by_cpu = Strategies::new(vec![Strategy::Binpack(Amount::Cpu)]);
    assert_eq!(place(&demand(128, 100, &[]), 4, &by_memory, &cluster, &mut rng()).chosen, [0, 0, 0, 1]);
    assert_eq!(place(&demand(128, 100, &[]), 5, &by_cpu, &cluster, &mut rng()).chosen, [1, 1, 1, 1, 0]);
}

#[test]
fn a_fixed_host_port_is_used_once_an_instance() {
    let room = resources(4096, 4096);
    let cluster = ["a", "a"].map(|zone| candidate(&room, zone));
    let placement = place(&demand(1, 1, &[80]), 3, &Strategies::default(), &cluster, &mut rng());
    assert_eq!(placement.chosen.len(), 2);
    assert!(placement.lacking.iter().all(|(_, lack)| *lack == Lack::Ports));
}

/// Of 4,000 tasks 1,000 are each one's; the standard deviation of that is 27.
#[test]
fn random_is_even() {
    let room = resources(1 << 30, 1 << 30);
    let cluster = ["a", "a", "a", "b"].map(|zone| candidate(&room, zone));
    let random = Strategies::new(vec![Strategy::Random]);
    let chosen = place(&demand(1, 1, &[]), 4000, &random, &cluster, &mut rng()).chosen;
    for candidate in 0..4 {
        assert!((890..1110).contains(&times(&chosen, candidate)), "{candidate}: {}", times(&chosen, candidate));
    }
    let repeated = chosen.windows(2).filter(|pair| pair[0] == pair[1]).count();
    assert!((890..1110).contains(&repeated), "the last one is as likely as the others: {repeated}");
}

/// Where the third task goes, each of 4,000 times.
fn thirds(strategies: &Strategies, cluster: &[Candidate<'_>]) -> Vec<usize> {
    let third = |seed: u64| {
        let mut rng = SmallRng::seed_from_u64(seed);
        place(&demand(1, 1, &[]), 3, strategies, cluster, &mut rng).chosen[2]
    };
    (0..4000).map(third).collect()
}

/// Of 4,000 clusters; the standard deviation is 27.
#[test]
fn those_that_come_to_be_equal_are_as_likely() {
    let room = resources(1 << 30, 1 << 30);
    // The first two tasks make all four equal.
    let cluster = [0, 0, 1, 1].map(|group_tasks| Candidate { group_tasks, ..candidate(&room, "a") });
    let third = thirds(&Strategies::new(vec![Strategy::SpreadInstance]), &cluster);
    for candidate in 0..4 {
        assert!((890..1110).contains(&times(&third, candidate)), "{candidate}: {}", times(&third, candidate));
    }
}

/// Of 4,000 clusters; the standard deviation is 27.
#[test]
fn instances_of_equal_zones_are_as_likely() {
    let room = resources(1 << 30, 1 << 30);
    // One task in either zone makes them equal again.
    let cluster = ["a", "a", "a", "b"].map(|zone| candidate(&room, zone));
    let third = thirds(&Strategies::new(vec![Strategy::SpreadAttribute(ZONE.into())]), &cluster);
    for candidate in 0..4 {
        assert!((890..1110).contains(&times(&third, candidate)), "{candidate}: {}", times(&third, candidate));
    }
}

/// What happens to a ranking that is kept.
#[derive(Debug, Clone)]
enum Event {
    Place(usize),
    Change { host: prop::sample::Index, remaining: Resources, group_tasks: usize },
    Come(Host),
    Go(prop::sample::Index),
}

fn events() -> impl Generate<Value = Event> {
    let change = (any::<prop::sample::Index>(), remainings(), 0..4_usize)
        .prop_map(|(host, remaining, group_tasks)| Event::Change { host, remaining, group_tasks });
    let go = any::<prop::sample::Index>().prop_map(Event::Go);
    prop_oneof![3 => (0..5_usize).prop_map(Event::Place), 3 => change, 1 => hosts().prop_map(Event::Come), 1 => go]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn none_would_have_been_better(model in models(), count in 0..12_usize, seed in any::<u64>()) {
        let mut rng = SmallRng::seed_from_u64(seed);
        let placement = place(&model.demand, count, &model.strategies(), &model.candidates(), &mut rng);
        let mut model = model;
        model.follow(count, &placement)?;
    }

    #[test]
    fn a_kept_ranking_is_as_good_as_a_new_one(
        model in models(),
        events in prop::collection::vec(events(), 0..12),
    ) {
        let mut rng = rng();
        let mut model: Model = model;
        let mut ranking = Ranking::new(&model.demand, &model.strategies(), &model.candidates(), &mut rng);
        for event in events {
            match event {
                Event::Place(count) => model.follow(count, &ranking.place(count, &mut rng))?,
                Event::Come(host) => {
                    ranking.add(&model.candidate(&host), &mut rng);
                    model.hosts.push(host);
                }
                Event::Change { .. } | Event::Go(_) if model.hosts.is_empty() => {}
                Event::Go(host) => {
                    let index = host.index(model.hosts.len());
                    model.hosts[index].is_gone = true;
                    ranking.update(index, None, &mut rng);
                }
                Event::Change { host, remaining, group_tasks } => {
                    let index = host.index(model.hosts.len());
                    model.hosts[index].remaining = remaining;
                    model.hosts[index].group_tasks = group_tasks;
                    // Or it is back.
                    model.hosts[index].is_gone = false;
                    ranking.update(index, Some(&model.candidate(&model.hosts[index])), &mut rng);
                }
            }
        }
    }
}
