//! The candidates for one kind of task, in the order in which they would be chosen.

use rand::Rng;

use super::room::Room;
use super::strategy::{Amount, STRATEGIES_MAX, Strategies, Strategy};
use super::tree::{Best, Standing, Tree};
use super::{Candidate, Demand, Lack, Placement};

/// Places equal tasks one after the other: O(m) to make, O(log m) a task.
///
/// It may be kept: who tells it what else changed on the candidates ([`Self::update`]) need not make another.
#[derive(Debug)]
pub struct Ranking {
    demand: Demand,
    strategies: Strategies,
    rooms: Vec<Room>,
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
            let room = ranking.room(candidate);
            ranking.rooms.push(room);
            let standing = ranking.standing(&room);
            ranking.tree.push(&candidate.spread, room.group_tasks, standing, rng);
        }
        ranking.tree.settle(rng);
        ranking
    }

    /// Places so many tasks, and reserves their room.
    pub fn place(&mut self, count: usize, rng: &mut impl Rng) -> Placement {
        let mut chosen = Vec::new();
        while chosen.len() < count {
            let Some(candidate) = self.tree.choose() else { break };
            self.rooms[candidate].take(&self.demand);
            let standing = self.standing(&self.rooms[candidate]);
            self.tree.change(candidate, 1, standing, rng);
            chosen.push(candidate);
        }
        let lacking = if chosen.len() < count { self.lacking() } else { Vec::new() };
        Placement { chosen, lacking }
    }

    /// Something changed on a candidate: other tasks came or went. Its attributes are those that it had.
    pub fn update(&mut self, candidate: usize, now: &Candidate<'_>, rng: &mut impl Rng) {
        let room = self.room(now);
        let more = room.group_tasks - self.rooms[candidate].group_tasks;
        self.rooms[candidate] = room;
        self.tree.change(candidate, more, self.standing(&room), rng);
    }

    fn lacking(&self) -> Vec<(usize, Lack)> {
        let lack = |(candidate, room): (usize, &Room)| room.lack(&self.demand).map(|lack| (candidate, lack));
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
