//! Placement strategies: what makes one instance better than another, in order of weight.

use std::sync::Arc;

/// So many strategies a list may have, as in ECS's API.
pub const STRATEGIES_MAX: usize = 5;

/// The attribute that says in which availability zone an instance is.
pub const ZONE: &str = "ecs.availability-zone";

/// One strategy of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Strategy {
    /// Any instance, each as likely as the others.
    Random,
    /// The instance that has least of it left.
    Binpack(Amount),
    /// The instance with the fewest tasks of the group.
    SpreadInstance,
    /// The instances of that value of this attribute that have the fewest tasks of the group between them.
    SpreadAttribute(Arc<str>),
}

/// What binpack saves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    /// CPU units.
    Cpu,
    /// MiB of memory.
    Memory,
}

/// Strategies in the order in which they count: a later one chooses among those that the earlier ones find equal.
/// What all of them find equal is chosen from at random.
///
/// A spread over a second attribute is one inside each value of the first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Strategies(Vec<Strategy>);

impl Strategies {
    /// The first [`STRATEGIES_MAX`] of them. None means ECS's default.
    pub fn new(mut strategies: Vec<Strategy>) -> Self {
        if strategies.is_empty() {
            return Self::default();
        }
        strategies.truncate(STRATEGIES_MAX);
        Self(strategies)
    }

    /// The attributes that are spread over, in order.
    pub fn attributes(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|strategy| match strategy {
            Strategy::SpreadAttribute(name) => Some(&**name),
            _ => None,
        })
    }

    /// What decides, with its place in the list. Whatever follows `random` does not: nothing is equal after it.
    pub(super) fn deciding(&self) -> impl Iterator<Item = (usize, &Strategy)> {
        self.0.iter().enumerate().take_while(|(_, strategy)| **strategy != Strategy::Random)
    }

    /// The places of the spreads over attributes in the list.
    pub(super) fn columns(&self) -> Vec<usize> {
        let spreads =
            |(column, strategy): (usize, &Strategy)| matches!(strategy, Strategy::SpreadAttribute(_)).then_some(column);
        self.deciding().filter_map(spreads).collect()
    }
}

/// As ECS has it: the availability zone with the fewest tasks of the group, then the instance with the fewest.
impl Default for Strategies {
    fn default() -> Self {
        Self(vec![Strategy::SpreadAttribute(ZONE.into()), Strategy::SpreadInstance])
    }
}
