//! Candidates in groups inside groups, a level for each attribute that tasks are spread over, each group in order.
//!
//! A group's task count is part of the rank of all candidates in it. To change it for each of them would cost their
//! number; here a group only changes its place among its siblings, so a change costs the way from a candidate to the root.

use std::collections::BTreeMap;

use super::heap::Heap;
use super::strategy::STRATEGIES_MAX;

/// The place of a candidate in the order: the least is best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    /// A number for each strategy. Those of spreads over attributes are the tree's to fill in.
    pub rank: [i64; STRATEGIES_MAX],
    /// Among equals.
    pub tie: u64,
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
    pub fn push(&mut self, values: &[Option<&str>], tasks: i64, key: Option<Key>) {
        let mut group = 0;
        self.groups[group].tasks += tasks;
        for (level, value) in values.iter().enumerate().take(self.columns.len()) {
            group = self.group_in(group, value.unwrap_or_default(), self.columns[level]);
            self.groups[group].tasks += tasks;
        }
        let seat = self.seat_in(group, self.seats.len(), key);
        self.seats.push(seat);
    }

    /// Puts all groups in order.
    pub fn settle(&mut self) {
        for group in (0..self.groups.len()).rev() {
            self.refresh(group);
        }
    }

    /// The best candidate.
    pub fn first(&self) -> Option<(usize, Key)> {
        let mut group = &self.groups[0];
        for _ in &self.columns {
            let (member, _) = group.order.first()?;
            group = &self.groups[group.members[member]];
        }
        let (member, key) = group.order.first()?;
        Some((group.members[member], key))
    }

    /// Another key for a candidate (none: it cannot be chosen), and so many more tasks on it.
    pub fn change(&mut self, candidate: usize, tasks: i64, key: Option<Key>) {
        let Seat { group, member } = self.seats[candidate];
        self.groups[group].order.set(member, key);
        self.groups[group].tasks += tasks;
        let mut below = group;
        while let Some(seat) = self.refresh(below) {
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
        let seat = self.seat_in(parent, group, None);
        self.groups[parent].named.insert(name.into(), group);
        self.groups.push(Group { column, seat: Some(seat), ..Group::default() });
        group
    }

    fn seat_in(&mut self, group: usize, member: usize, key: Option<Key>) -> Seat {
        let parent = &mut self.groups[group];
        parent.members.push(member);
        Seat { group, member: parent.order.push(key) }
    }

    /// Moves a group to its place among its siblings: that of its best member, with its own count.
    fn refresh(&mut self, group: usize) -> Option<Seat> {
        let it = &self.groups[group];
        let (seat, column) = (it.seat?, it.column);
        let count = match self.best {
            Best::FewestTasks => it.tasks,
            Best::MostTasks => -it.tasks,
        };
        let key = it.order.first().map(|(_, mut key)| {
            key.rank[column] = count;
            key
        });
        self.groups[seat.group].order.set(seat.member, key);
        Some(seat)
    }
}
