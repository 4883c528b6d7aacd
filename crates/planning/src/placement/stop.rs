//! Which tasks end when a service needs fewer.

use rand::{Rng, RngExt};

use super::resources::Resources;
use super::strategy::{Amount, STRATEGIES_MAX, Strategies, Strategy};
use super::tree::{Best, Standing, Tree};
use super::{Candidate, Demand};

/// A task of the service.
#[derive(Debug, Clone, Copy)]
pub struct PlacedTask {
    /// The candidate that it is on.
    pub candidate: usize,
    /// Whether it may be chosen. One that may not (scale-in protection) counts for the balance all the same.
    pub stoppable: bool,
}

/// Chooses `count` of the service's tasks to end, fewer if fewer may: places in `tasks`.
///
/// The strategies count as they do for placing, from the other end: the availability zone, instance or attribute value
/// with the most of `tasks`; with binpack the instance that has most left afterwards. Equals are chosen from at random.
/// What the candidates say of their groups' tasks, and of refusals, does not matter here.
pub fn select_to_stop(
    count: usize,
    strategies: &Strategies,
    candidates: &[Candidate<'_>],
    tasks: &[PlacedTask],
    demand: &Demand,
    rng: &mut impl Rng,
) -> Vec<usize> {
    let mut sites: Vec<_> = candidates.iter().map(|it| Site::new(it.remaining)).collect();
    for (index, task) in tasks.iter().enumerate() {
        sites[task.candidate].tasks += 1;
        if task.stoppable {
            sites[task.candidate].stoppable.push(index);
        }
    }
    let mut tree = Tree::new(Best::MostTasks, strategies.columns());
    for (candidate, site) in candidates.iter().zip(&sites) {
        tree.push(&candidate.spread, site.tasks, site.standing(strategies), rng);
    }
    tree.settle(rng);
    let mut stopped = Vec::with_capacity(count.min(tasks.len()));
    while stopped.len() < count {
        let Some(candidate) = tree.choose() else { break };
        let site = &mut sites[candidate];
        stopped.push(site.stop(&demand.resources, rng));
        tree.change(candidate, -1, site.standing(strategies), rng);
    }
    stopped
}

/// What counts of a candidate.
struct Site {
    cpu: i64,
    memory: i64,
    tasks: i64,
    stoppable: Vec<usize>,
}

impl Site {
    fn new(remaining: &Resources) -> Self {
        Self { cpu: remaining.cpu, memory: remaining.memory, tasks: 0, stoppable: Vec::new() }
    }

    /// Takes one of the tasks that may end.
    fn stop(&mut self, demand: &Resources, rng: &mut impl Rng) -> usize {
        self.cpu += demand.cpu;
        self.memory += demand.memory;
        self.tasks -= 1;
        let any = rng.random_range(0..self.stoppable.len());
        self.stoppable.swap_remove(any)
    }

    fn standing(&self, strategies: &Strategies) -> Option<Standing> {
        // A candidate is as likely as it has tasks: among equals each task is as likely as any other.
        let weight = u32::try_from(self.stoppable.len()).ok().filter(|weight| *weight > 0)?;
        let mut rank = [0; STRATEGIES_MAX];
        for (column, strategy) in strategies.deciding() {
            rank[column] = match strategy {
                Strategy::Binpack(Amount::Cpu) => -self.cpu,
                Strategy::Binpack(Amount::Memory) => -self.memory,
                Strategy::SpreadInstance => -self.tasks,
                Strategy::SpreadAttribute(_) | Strategy::Random => 0,
            };
        }
        Some(Standing { rank, weight })
    }
}
