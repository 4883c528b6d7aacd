//! Candidates in groups inside groups, a level for each attribute that tasks are spread over, each group in order.
//!
//! A group's task count is part of the rank of all candidates in it. To change it for each of them would cost their
//! number; here a group only changes its place among its siblings, so a change costs the way from a candidate to the root.

use std::collections::BTreeMap;

use rand::Rng;

use super::clock::Clock;
use super::heap::Heap;
use super::strategy::STRATEGIES_MAX;

/// How good something is: a number for each strategy, the least is best.
pub(super) type Rank = [i64; STRATEGIES_MAX];

/// What can be chosen, as its group sees it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Standing {
    /// The numbers of spreads over attributes are the tree's to fill in.
    pub rank: Rank,
    /// How likely it is among equals.
    pub weight: u32,
}

/// The place of a member in the order of its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    rank: Rank,
    /// Among equals.
    tie: u64,
    weight: u32,
}

/// The members of a group that have the same rank.
#[derive(Debug, Default)]
struct Equals {
    clock: Clock,
    /// Of all of them.
    weight: u32,
}

/// Which end of the counts is best.
#[derive(Debug, Clone, Copy)]
pub(super) enum Best {
    /// To start tasks.
    FewestTasks,
    /// To stop tasks.
    MostTasks,
}

#[derive(Debug)]
pub(super) struct Tree {
    best: Best,
    /// Of each level below the root: which number of the rank its groups fill in.
    columns: Vec<usize>,
    /// The root is the first; a group comes after the one that it is in.
    groups: Vec<Group>,
    seats: Vec<Seat>,
}

#[derive(Debug, Default)]
struct Group {
    tasks: i64,
    column: usize,
    /// None for the root.
    seat: Option<Seat>,
    /// Candidates at the lowest level, groups above it.
    members: Vec<usize>,
    order: Heap<Key>,
    equals: BTreeMap<Rank, Equals>,
    named: BTreeMap<Box<str>, usize>,
}

/// Where a candidate or a group is: the group, and its number among the members.
#[derive(Debug, Clone, Copy)]
struct Seat {
    group: usize,
    member: usize,
}

impl Tree {
    pub fn new(best: Best, columns: Vec<usize>) -> Self {
        Self { best, columns, groups: vec![Group::default()], seats: Vec::new() }
    }

    /// Adds the next candidate, not yet in its place: [`Self::settle`] puts all into theirs.
    pub fn push(&mut self, values: &[Option<&str>], tasks: i64, standing: Option<Standing>, rng: &mut impl Rng) {
        let mut group = 0;
        self.groups[group].tasks += tasks;
        for (level, value) in values.iter().enumerate().take(self.columns.len()) {
            group = self.group_in(group, value.unwrap_or_default(), self.columns[level]);
            self.groups[group].tasks += tasks;
        }
        let seat = self.seat_in(group, self.seats.len());
        self.groups[group].set(seat.member, standing, rng);
        self.seats.push(seat);
    }

    /// Puts all groups in order.
    pub fn settle(&mut self, rng: &mut impl Rng) {
        for group in (0..self.groups.len()).rev() {
            self.refresh(group, rng);
        }
    }

    /// The best candidate; its place is to change then.
    pub fn choose(&mut self) -> Option<usize> {
        let mut chosen = 0;
        for _ in 0..=self.columns.len() {
            chosen = self.groups[chosen].choose()?;
        }
        Some(chosen)
    }

    /// Another standing for a candidate (none: it cannot be chosen), and so many more tasks on it.
    pub fn change(&mut self, candidate: usize, tasks: i64, standing: Option<Standing>, rng: &mut impl Rng) {
        let Seat { group, member } = self.seats[candidate];
        self.groups[group].set(member, standing, rng);
        self.groups[group].tasks += tasks;
        let mut below = group;
        while let Some(seat) = self.refresh(below, rng) {
            self.groups[seat.group].tasks += tasks;
            below = seat.group;
        }
    }

    /// The group of that name in another one.
    fn group_in(&mut self, parent: usize, name: &str, column: usize) -> usize {
        if let Some(known) = self.groups[parent].named.get(name) {
            return *known;
        }
        let group = self.groups.len();
        let seat = self.seat_in(parent, group);
        self.groups[parent].named.insert(name.into(), group);
        self.groups.push(Group { column, seat: Some(seat), ..Group::default() });
        group
    }

    fn seat_in(&mut self, group: usize, member: usize) -> Seat {
        let parent = &mut self.groups[group];
        parent.members.push(member);
        Seat { group, member: parent.order.push() }
    }

    /// Moves a group to its place among its siblings: that of its best members, with its own count.
    fn refresh(&mut self, group: usize, rng: &mut impl Rng) -> Option<Seat> {
        let it = &self.groups[group];
        let (seat, column) = (it.seat?, it.column);
        let count = match self.best {
            Best::FewestTasks => it.tasks,
            Best::MostTasks => -it.tasks,
        };
        let standing = it.equals.first_key_value().map(|(best, equals)| {
            let mut rank = *best;
            rank[column] = count;
            Standing { rank, weight: equals.weight }
        });
        self.groups[seat.group].set(seat.member, standing, rng);
        Some(seat)
    }
}

impl Group {
    /// The best member.
    fn choose(&mut self) -> Option<usize> {
        let (member, key) = self.order.first()?;
        if let Some(equals) = self.equals.get_mut(&key.rank) {
            equals.clock.reach(key.tie);
        }
        Some(self.members[member])
    }

    fn set(&mut self, member: usize, standing: Option<Standing>, rng: &mut impl Rng) {
        if let Some(key) = self.order.key(member) {
            self.leave(&key);
        }
        let key = standing.map(|Standing { rank, weight }| {
            let equals = self.equals.entry(rank).or_default();
            equals.weight = equals.weight.saturating_add(weight);
            Key { rank, tie: equals.clock.draw(weight, rng), weight }
        });
        self.order.set(member, key);
    }

    fn leave(&mut self, key: &Key) {
        let Some(equals) = self.equals.get_mut(&key.rank) else { return };
        equals.weight = equals.weight.saturating_sub(key.weight);
        if equals.weight == 0 {
            self.equals.remove(&key.rank);
        }
    }
}
