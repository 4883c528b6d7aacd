//! How long a service waits before it starts tasks again that have failed.
//!
//! ECS throttles services whose tasks never reach RUNNING, up to 27 minutes, and does not say in which steps. Here the first
//! failure is tried again at once and each later round waits twice as long as the one before. Tasks that ran but ended before
//! they counted as healthy are tried again without end and soon, as ECS does it, though not as fast as they can fail.

use std::time::Duration;

use estiva_model::Timestamp;
use serde::{Deserialize, Serialize};

const FIRST: Duration = Duration::from_secs(1);
const NEVER_RAN_MAX: Duration = Duration::from_secs(27 * 60);
const NEVER_HEALTHY_MAX: Duration = Duration::from_secs(10);
/// From this round on a service is said to be unable to start its tasks consistently.
const IMPAIRED_ROUNDS: u32 = 3;

/// How a task failed its deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailureKind {
    /// It never reached RUNNING.
    NeverRan,
    /// It ended by itself before it counted as healthy, or its health checks failed.
    NeverHealthy,
}

/// How many tasks have failed, as far as is known: old ones are forgotten.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the kinds' names")]
pub struct FailureCounts {
    pub never_ran: usize,
    pub never_healthy: usize,
}

impl FailureCounts {
    /// Of both kinds.
    pub fn total(self) -> usize {
        self.never_ran + self.never_healthy
    }
}

/// Rounds of failures, and until when the next one waits.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backoff {
    /// Failed tasks that have been taken into account.
    pub failures: FailureCounts,
    /// Rounds since a task was last healthy.
    pub rounds: u32,
    /// No task is started before.
    pub until: Option<Timestamp>,
}

impl Backoff {
    /// After a look at how many tasks have failed so far. Failures that come while it waits are of the same round.
    #[must_use]
    pub fn after(&self, failures: FailureCounts, now: Timestamp) -> Self {
        let never_ran = failures.never_ran > self.failures.never_ran;
        let never_healthy = failures.never_healthy > self.failures.never_healthy;
        if !never_ran && !never_healthy || self.is_waiting(now) {
            return Self { failures, ..self.clone() };
        }
        let newest = if never_ran { FailureKind::NeverRan } else { FailureKind::NeverHealthy };
        let rounds = self.rounds.saturating_add(1);
        Self { failures, rounds, until: Some(now.plus(delay(rounds, newest))) }
    }

    /// As if nothing had failed lately: the next task is started at once.
    #[must_use]
    pub fn forgotten(&self) -> Self {
        Self { failures: self.failures, ..Self::default() }
    }

    /// Whether it is too early to start a task.
    pub fn is_waiting(&self, now: Timestamp) -> bool {
        self.until.is_some_and(|until| until > now)
    }

    /// Whether the service is to be told of as unable to start its tasks consistently.
    pub fn is_impaired(&self) -> bool {
        self.rounds >= IMPAIRED_ROUNDS
    }
}

fn delay(rounds: u32, kind: FailureKind) -> Duration {
    let most = match kind {
        FailureKind::NeverRan => NEVER_RAN_MAX,
        FailureKind::NeverHealthy => NEVER_HEALTHY_MAX,
    };
    match rounds.checked_sub(2) {
        None => Duration::ZERO,
        Some(doublings) => FIRST.saturating_mul(1_u32.checked_shl(doublings).unwrap_or(u32::MAX)).min(most),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_round_waits_twice_as_long_up_to_a_bound() {
        let seconds = |kind| [1, 2, 3, 4, 12, 13, 40, u32::MAX].map(|rounds| delay(rounds, kind).as_secs());
        assert_eq!(seconds(FailureKind::NeverRan), [0, 1, 2, 4, 1024, 1620, 1620, 1620]);
        assert_eq!(seconds(FailureKind::NeverHealthy), [0, 1, 2, 4, 10, 10, 10, 10]);
    }

    fn never_ran(never_ran: usize) -> FailureCounts {
        FailureCounts { never_ran, never_healthy: 0 }
    }

    #[test]
    fn failures_of_one_round_count_once() {
        let now = Timestamp(1_000_000);
        let later = now.plus(Duration::from_secs(5));
        let first = Backoff::default().after(never_ran(1), now);
        assert_eq!((first.rounds, first.is_waiting(now)), (1, false));
        let second = first.after(never_ran(2), now);
        assert_eq!((second.rounds, second.is_waiting(now)), (2, true));
        let same = second.after(never_ran(9), now);
        assert_eq!((same.rounds, same.failures, same.until), (2, never_ran(9), second.until));
        assert_eq!(same.after(never_ran(9), later), same, "nothing new failed");
        let forgotten = same.after(never_ran(0), later);
        assert_eq!((forgotten.failures, forgotten.rounds, forgotten.until), (never_ran(0), 2, same.until));
        assert_eq!(forgotten.after(never_ran(1), later).rounds, 3, "it is a new one");
        assert!(same.after(never_ran(10), later).is_impaired());
    }

    #[test]
    fn tasks_that_run_are_waited_for_no_longer_because_one_never_ran() {
        let now = Timestamp(1_000_000);
        let many = Backoff { failures: never_ran(1), rounds: 20, until: None };
        let waits = |counts| many.after(counts, now).until.map(|until| until.since(now).as_secs());
        assert_eq!(waits(FailureCounts { never_ran: 1, never_healthy: 1 }), Some(10));
        assert_eq!(waits(never_ran(2)), Some(1620));
    }
}
