//! What a service does next: which of its tasks stay, how many are started and stopped, and how its deployment goes on.
//!
//! Properties: a scheduler's stop never leaves fewer healthy tasks than minimumHealthyPercent allows, a scheduler's start
//! never makes more tasks than maximumPercent allows, and a service that is left alone comes to rest at its desired count.
//! Abstraction: a [`Roster`] counts a service's tasks by deployment and [`Phase`] and is kept up to date change by change,
//! so that a decision costs what is to be done and not what there is. A decision is data; who executes it has no choice.

mod backoff;
mod bounds;
mod breaker;
mod daemon;
mod replica;
mod rollout;
mod roster;
#[cfg(test)]
mod tests;

pub use backoff::{Backoff, FailureCounts, FailureKind};
pub use bounds::Bounds;
pub use breaker::Threshold;
pub use daemon::{DaemonStep, DaemonWanted, plan_daemon};
pub use replica::{ReplicaStep, Wanted, plan_replica};
pub use rollout::{Advance, Gate, Outcome, STAGES, Signals, Stage, advance};
pub use roster::{Counts, Member, Phase, Roster, Settled, Turn};
