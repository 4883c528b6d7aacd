//! The candidates for one kind of task, in the order in which they would be chosen.

use rand::Rng;

use super::room::Room;
use super::strategy::{Amount, STRATEGIES_MAX, Strategies, Strategy};
use super::tree::{Best, Standing, Tree};
use super::{Candidate, Demand, Lack, Placement};

/// Places equal tasks one after the other: O(m) to make, O(log m) a task.
///
/// It may be kept: who tells it what else changed on the candidates ([`Self::update`], [`Self::add`]) need not make another.
#[derive(Debug)]
pub struct Ranking {
    demand: Demand,
    strategies: Strategies,
    /// Of each candidate; none of those that are gone.
    rooms: Vec<Option<Room>>,
    tree: Tree,
}

impl Ranking {
    /// Ranks the candidates for tasks that each need `demand`.
    pub fn new(demand: &Demand, strategies: &Strategies, candidates: &[Candidate<'_>], rng: &mut impl Rng) -> Self {
        let mut ranking = Self {
            demand: demand.clone(),
            strategies: strategies.clone(),
            rooms: Vec::with_capacity(candidates.len()),
            tree: Tree::new(Best::FewestTasks, strategies.columns()),
        };
        for candidate in candidates {
            ranking.push(candidate, rng);
        }
        ranking.tree.settle(rng);
        ranking
    }

    /// Another candidate, which is the last of the list then.
    pub fn add(&mut self, candidate: &Candidate<'_>, rng: &mut impl Rng) {
        let standing = self.push(candidate, rng);
        self.tree.change(self.rooms.len() - 1, 0, standing, rng);
    }

    fn push(&mut self, candidate: &Candidate<'_>, rng: &mut impl Rng) -> Option<Standing> {
        let room = self.room(candidate);
        let standing = self.standing(&room);
        self.rooms.push(Some(room));
        self.tree.push(&candidate.spread, room.group_tasks, standing, rng);
        standing
    }

    /// Places so many tasks, and reserves their room.
    pub fn place(&mut self, count: usize, rng: &mut impl Rng) -> Placement {
        let mut chosen = Vec::new();
        while chosen.len() < count {
            let Some(candidate) = self.tree.choose() else { break };
            let with_it = self.rooms[candidate].map(|room| room.with(&self.demand));
            self.rooms[candidate] = with_it;
            let standing = with_it.as_ref().and_then(|room| self.standing(room));
            self.tree.change(candidate, 1, standing, rng);
            chosen.push(candidate);
        }
        let lacking = if chosen.len() < count { self.lacking() } else { Vec::new() };
        Placement { chosen, lacking }
    }

    /// Something changed on a candidate: other tasks came or went, or it is gone (`None`) or back. Its attributes are those that
    /// it had.
    pub fn update(&mut self, candidate: usize, now: Option<&Candidate<'_>>, rng: &mut impl Rng) {
        let now = now.map(|candidate| self.room(candidate));
        let standing = now.as_ref().and_then(|room| self.standing(room));
        let before = std::mem::replace(&mut self.rooms[candidate], now);
        let tasks = |room: Option<Room>| room.map_or(0, |room| room.group_tasks);
        self.tree.change(candidate, tasks(now) - tasks(before), standing, rng);
    }

    fn lacking(&self) -> Vec<(usize, Lack)> {
        let lack = |(candidate, room): (usize, &Option<Room>)| Some((candidate, room.as_ref()?.lack(&self.demand)?));
        self.rooms.iter().enumerate().filter_map(lack).collect()
    }

    fn room(&self, candidate: &Candidate<'_>) -> Room {
        let attributes = self.strategies.attributes().count();
        let mut room = Room::new(candidate, &self.demand.resources);
        if candidate.spread[..attributes].contains(&None) {
            room.refused = room.refused.or(Some(Lack::Attribute));
        }
        room
    }

    fn standing(&self, room: &Room) -> Option<Standing> {
        if room.lack(&self.demand).is_some() {
            return None;
        }
        let mut rank = [0; STRATEGIES_MAX];
        for (column, strategy) in self.strategies.deciding() {
            rank[column] = match strategy {
                Strategy::Binpack(Amount::Cpu) => room.cpu,
                Strategy::Binpack(Amount::Memory) => room.memory,
                Strategy::SpreadInstance => room.group_tasks,
                Strategy::SpreadAttribute(_) | Strategy::Random => 0,
            };
        }
        Some(Standing { rank, weight: 1 })
    }
}
