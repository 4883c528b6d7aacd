//! Agents that wait for lines: each is answered once something was written that it has not read.
//!
//! An answer comes once for each question, so a container that writes without pause costs no more than its agent asks.

use std::collections::BTreeMap;

use crate::spool::Position;

/// As many as a task has containers, and its agent's own.
const WAITS_MAX: usize = 128;

/// A question that is not answered yet.
#[derive(Debug)]
pub(super) struct LogWait {
    pub connection: u64,
    /// The request's.
    pub id: u64,
    position: Position,
}

/// How far a container's log is.
#[derive(Debug, Clone, Copy)]
pub(super) enum LogState {
    /// The container is still to be created.
    ToCome,
    Written(Position),
    /// Nothing will follow.
    Ended,
}

impl LogState {
    pub(super) fn of(written: Option<Position>) -> Self {
        written.map_or(Self::Ended, Self::Written)
    }
}

/// One question a container: a spool has one reader.
#[derive(Debug, Default)]
pub(super) struct LogWaits(BTreeMap<String, LogWait>);

impl LogWaits {
    /// Takes a question in; returns what is answered at once: the one that it replaces, or one that is too many.
    pub(super) fn add(&mut self, connection: u64, id: u64, name: String, position: Position) -> Option<LogWait> {
        let wait = LogWait { connection, id, position };
        if self.0.len() >= WAITS_MAX && !self.0.contains_key(&name) {
            return Some(wait);
        }
        self.0.insert(name, wait)
    }

    /// Takes out those whose answer is due.
    pub(super) fn due(&mut self, state: impl Fn(&str) -> LogState) -> Vec<LogWait> {
        let is_due = |name: &str, wait: &LogWait| match state(name) {
            LogState::ToCome => false,
            LogState::Written(position) => position != wait.position,
            LogState::Ended => true,
        };
        let (due, rest) = std::mem::take(&mut self.0).into_iter().partition(|(name, wait)| is_due(name, wait));
        self.0 = rest;
        let due: BTreeMap<_, _> = due;
        due.into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(offset: u64) -> Position {
        Position { segment: 1, offset }
    }

    #[test]
    fn a_wait_is_answered_once_and_when_there_is_news() {
        let mut waits = LogWaits::default();
        assert!(waits.add(1, 7, "web".to_owned(), at(8)).is_none());
        assert!(waits.due(|_| LogState::ToCome).is_empty());
        assert!(waits.due(|_| LogState::Written(at(8))).is_empty());
        assert_eq!(waits.due(|_| LogState::Written(at(30))).len(), 1);
        assert!(waits.due(|_| LogState::Ended).is_empty());
    }

    #[test]
    fn there_is_one_wait_for_a_container_and_a_bound_for_all() {
        let mut waits = LogWaits::default();
        assert!(waits.add(1, 7, "web".to_owned(), at(8)).is_none());
        assert_eq!(waits.add(2, 1, "web".to_owned(), at(8)).unwrap().id, 7);
        for number in 0..1000 {
            waits.add(1, number, number.to_string(), at(8));
        }
        assert_eq!(waits.due(|_| LogState::Ended).len(), WAITS_MAX);
    }
}
