//! Where tasks go: which container instances have room, and which of them are taken.
//!
//! Property: a task is placed only where its CPU, memory and host ports fit beside what is reserved already.
//! Preference without a strategy, as ECS has it: the availability zone with the fewest tasks of the group, then the
//! instance with the fewest; ties are broken at random. "Why not" is a result: each instance that does not fit says
//! what it lacks.

mod resources;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use rand::{Rng, RngExt};

pub use resources::{Lack, Resources};

/// A container instance as placement sees it.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// Names the instance; given back in the result.
    pub arn: String,
    /// Where the instance stands.
    pub availability_zone: String,
    /// What no task has reserved yet.
    pub remaining: Resources,
    /// How many tasks of the same group run here.
    pub group_tasks: usize,
}

/// Where `count` equal tasks go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// ARNs of the chosen instances, one a placed task, at most as many as were asked for.
    pub chosen: Vec<String>,
    /// If a task was not placed: why each instance could not take it.
    pub lacking: Vec<(String, Lack)>,
}

/// What each of some equal tasks asks of its instance.
#[derive(Debug, Clone, Default)]
pub struct Demand {
    /// What it takes.
    pub resources: Resources,
    /// No other task of its group may be there (the constraint distinctInstance).
    pub distinct_instance: bool,
}

impl Candidate {
    fn lack(&self, demand: &Demand) -> Option<Lack> {
        if demand.distinct_instance && self.group_tasks > 0 {
            return Some(Lack::DistinctInstance);
        }
        self.remaining.lack(&demand.resources)
    }
}

/// Places `count` tasks that each need `demand`.
pub fn place(demand: &Demand, count: usize, mut candidates: Vec<Candidate>, rng: &mut impl Rng) -> Placement {
    let mut zone_tasks: BTreeMap<String, usize> = BTreeMap::new();
    for candidate in &candidates {
        *zone_tasks.entry(candidate.availability_zone.clone()).or_default() += candidate.group_tasks;
    }
    let mut chosen = Vec::with_capacity(count);
    while chosen.len() < count {
        let rank = |candidate: &Candidate, tie: u32| {
            (zone_tasks.get(&candidate.availability_zone).copied().unwrap_or(0), candidate.group_tasks, tie)
        };
        let best = candidates
            .iter_mut()
            .filter(|candidate| candidate.lack(demand).is_none())
            .map(|candidate| (rank(candidate, rng.random()), candidate))
            .min_by_key(|(rank, _)| *rank);
        let Some((_, best)) = best else { break };
        best.remaining.reserve(&demand.resources);
        best.group_tasks += 1;
        *zone_tasks.entry(best.availability_zone.clone()).or_default() += 1;
        chosen.push(best.arn.clone());
    }
    let lacking = if chosen.len() < count {
        candidates.into_iter().filter_map(|it| it.lack(demand).map(|lack| (it.arn, lack))).collect()
    } else {
        Vec::new()
    };
    Placement { chosen, lacking }
}
