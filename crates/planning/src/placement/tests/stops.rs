//! Which tasks end.

use proptest::prelude::*;
use proptest::strategy::Strategy as Generate;

use super::super::Strategy;
use super::model::{Host, Model, models};
use super::*;

fn tasks(on: &[usize]) -> Vec<PlacedTask> {
    on.iter().map(|candidate| PlacedTask { candidate: *candidate, stoppable: true }).collect()
}

#[test]
fn the_fullest_zone_and_its_fullest_instance_give_first() {
    let room = resources(0, 0);
    let cluster = ["a", "a", "b"].map(|zone| candidate(&room, zone));
    let tasks = tasks(&[0, 1, 1, 2, 2]);
    let stopped = select_to_stop(2, &Strategies::default(), &cluster, &tasks, &demand(1, 1, &[]), &mut rng());
    let on: Vec<_> = stopped.iter().map(|task| tasks[*task].candidate).collect();
    assert_eq!((on[0], on.len()), (1, 2));
}

#[test]
fn protected_tasks_stay_and_count() {
    let room = resources(0, 0);
    let cluster = ["a", "b"].map(|zone| candidate(&room, zone));
    let mut tasks = tasks(&[0, 0, 0, 1, 1]);
    tasks[0].stoppable = false;
    tasks[1].stoppable = false;
    let stopped = select_to_stop(9, &Strategies::default(), &cluster, &tasks, &demand(1, 1, &[]), &mut rng());
    assert_eq!(stopped[0], 2);
    assert_eq!(stopped.len(), 3);
}

#[test]
fn binpack_empties_the_instance_that_is_emptiest() {
    let (empty, full) = (resources(900, 10), resources(100, 20));
    let cluster = [candidate(&empty, "a"), candidate(&full, "a")];
    let tasks = tasks(&[1, 0, 1, 0]);
    let of = |amount| {
        let binpack = Strategies::new(vec![Strategy::Binpack(amount)]);
        let stopped = select_to_stop(2, &binpack, &cluster, &tasks, &demand(1, 1, &[]), &mut rng());
        stopped.into_iter().map(|task| tasks[task].candidate).collect::<Vec<_>>()
    };
    assert_eq!((of(Amount::Cpu), of(Amount::Memory)), (vec![0, 0], vec![1, 1]));
}

/// One task of ten is alone on its instance: it ends once in ten times, 100 of 1,000, with a standard deviation of 9.
#[test]
fn random_takes_each_task_as_likely_as_the_others() {
    let room = resources(0, 0);
    let cluster = ["a", "a"].map(|zone| candidate(&room, zone));
    let tasks = tasks(&[1, 1, 1, 1, 0, 1, 1, 1, 1, 1]);
    let random = Strategies::new(vec![Strategy::Random]);
    let mut rng = rng();
    let mut stop = || select_to_stop(1, &random, &cluster, &tasks, &demand(1, 1, &[]), &mut rng)[0];
    let alone = (0..1000).filter(|_| stop() == 4).count();
    assert!((60..140).contains(&alone), "{alone}");
}

/// Hosts, and tasks on them of which some may end.
fn services() -> impl Generate<Value = (Model, Vec<PlacedTask>)> {
    let placed = (any::<prop::sample::Index>(), prop::bool::weighted(0.8));
    (models(), prop::collection::vec(placed, 0..20)).prop_map(|(mut model, placed)| {
        model.hosts.iter_mut().for_each(|host| host.group_tasks = 0);
        let count = if model.hosts.is_empty() { 0 } else { placed.len() };
        let task = |(host, stoppable): &(prop::sample::Index, bool)| {
            let candidate = host.index(model.hosts.len());
            model.hosts[candidate].group_tasks += 1;
            PlacedTask { candidate, stoppable: *stoppable }
        };
        let tasks = placed[..count].iter().map(task).collect();
        (model, tasks)
    })
}

proptest! {
    #[test]
    fn none_would_have_been_better((model, tasks) in services(), count in 0..12_usize) {
        let mut model = model;
        let stopped = select_to_stop(count, &model.strategies(), &model.candidates(), &tasks, &model.demand, &mut rng());
        let mut left: Vec<usize> = (0..tasks.len()).filter(|task| tasks[*task].stoppable).collect();
        prop_assert_eq!(stopped.len(), count.min(left.len()));
        for task in stopped {
            let rank = |task: &usize| rank_to_stop(&model, &model.hosts[tasks[*task].candidate]);
            prop_assert!(left.contains(&task), "it may end, and ends once");
            prop_assert_eq!(left.iter().map(rank).max(), Some(rank(&task)), "none is better");
            left.retain(|other| *other != task);
            let host = &mut model.hosts[tasks[task].candidate];
            host.group_tasks -= 1;
            host.remaining.release(&model.demand.resources);
        }
    }
}

/// The greatest is best: the most tasks, the most left.
fn rank_to_stop(model: &Model, host: &Host) -> Vec<i64> {
    model.rank(host, |host| i64::try_from(host.group_tasks).unwrap())
}
