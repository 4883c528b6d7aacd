//! Where tasks go, and which of them end first: container instances with room, in the order of a placement strategy.
//!
//! Property: a task is placed only where its CPU, memory, GPUs, host ports, address and slot fit beside what is reserved already,
//! and where no constraint forbids it.
//! Abstraction: a [`Ranking`] holds the candidates in the order in which they would be chosen. It looks at all of them once,
//! then each decision, and each change from outside, costs the logarithm of their number.
//! Heuristic: one task after the other on the best instance for it, as ECS does; nothing is moved to make room.
//! "Why not" is a result: each instance that does not take a task says what it lacks.

mod balance;
mod clock;
mod heap;
mod lack;
mod ranking;
mod resources;
mod room;
mod stop;
mod strategy;
#[cfg(test)]
mod tests;
mod tree;

use rand::Rng;

pub use balance::moves;
pub use lack::{Lack, closest};
pub use ranking::Ranking;
pub use resources::Resources;
use room::Room;
pub use stop::{PlacedTask, select_to_stop};
pub use strategy::{Amount, STRATEGIES_MAX, Strategies, Strategy, ZONE};

/// A container instance as placement sees it; it is known by its place in the list.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// What no task has reserved yet.
    pub remaining: &'a Resources,
    /// How many addresses it has left for network interfaces of tasks.
    pub addresses: usize,
    /// How many tasks of the same group run here. They count for the spread, whether or not the instance can be chosen.
    pub group_tasks: usize,
    /// Why it cannot be chosen, whatever room it has.
    pub refused: Option<Lack>,
    /// Its values of the attributes that the strategies spread over: as many as [`Strategies::attributes`] names, in
    /// that order. An instance without one of them cannot be chosen.
    pub spread: [Option<&'a str>; STRATEGIES_MAX],
}

impl Candidate<'_> {
    /// What keeps such a task from here.
    pub fn lack(&self, demand: &Demand) -> Option<Lack> {
        Room::new(self, &demand.resources).lack(demand)
    }
}

/// Where some equal tasks go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// The chosen candidates, one a placed task, at most as many as were asked for.
    pub chosen: Vec<usize>,
    /// If a task was not placed: why each candidate could not take it.
    pub lacking: Vec<(usize, Lack)>,
}

/// What each of some equal tasks asks of its instance.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Demand {
    /// What it takes.
    pub resources: Resources,
    /// No other task of its group may be there (the constraint distinctInstance).
    pub distinct_instance: bool,
    /// It takes an address for a network interface of its own.
    pub network_interface: bool,
}

/// Places `count` tasks that each need `demand`.
///
/// Who places more of them later keeps a [`Ranking`] instead.
pub fn place(
    demand: &Demand,
    count: usize,
    strategies: &Strategies,
    candidates: &[Candidate<'_>],
    rng: &mut impl Rng,
) -> Placement {
    Ranking::new(demand, strategies, candidates, rng).place(count, rng)
}
