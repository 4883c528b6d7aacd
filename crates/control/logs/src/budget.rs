//! What strangers may put onto the disk: so much at once, then so much a second. The account's owner has no budget.
//!
//! An ordinary task never meets these numbers. One that writes without pause is slowed down: its node's agent sends again
//! what was throttled, and its spool, which is bounded, fills.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use estiva_model::{Caller, Principal, Timestamp};

use crate::event::storage::{GroupId, StreamId};

/// Buckets that are full again are forgotten when there are so many: a full one is as good as none.
const BUCKETS_MAX: usize = 4096;

/// How a budget fills.
#[derive(Debug, Clone, Copy)]
struct Rate {
    burst: f64,
    per_second: f64,
}

const MIB: f64 = 1_048_576.0;
/// Of one log stream, and of one task's role over all streams: an hour of ordinary logging at once, 86 GiB a day.
const PUT_BYTES: Rate = Rate { burst: 64.0 * MIB, per_second: MIB };
/// A task makes a group now and then; each is rows that are kept until somebody deletes it.
const GROUPS: Rate = Rate { burst: 100.0, per_second: 0.1 };
/// As [`GROUPS`], with a stream for each thing that a program writes of.
const STREAMS: Rate = Rate { burst: 500.0, per_second: 1.0 };

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    Put(GroupId, StreamId),
    PutBy(String),
    GroupsBy(String),
    StreamsBy(String),
}

#[derive(Debug)]
struct Bucket {
    rate: Rate,
    level: f64,
    filled: Timestamp,
}

/// All budgets. Kept in memory: a restart fills them.
#[derive(Debug, Default)]
pub(crate) struct Budgets(Mutex<BTreeMap<Subject, Bucket>>);

impl Budgets {
    /// Whether the caller may put so many bytes into the stream.
    pub(crate) fn put(&self, caller: &Caller, group: GroupId, stream: StreamId, bytes: usize, now: Timestamp) -> bool {
        #[allow(clippy::cast_precision_loss, reason = "a put has a megabyte at most")]
        let bytes = bytes as f64;
        if caller.principal == Principal::Root {
            return true;
        }
        let own = caller.principal.is_task().then(|| Subject::PutBy(caller.arn()));
        self.take([Subject::Put(group, stream)].into_iter().chain(own), PUT_BYTES, bytes, now)
    }

    /// Whether the caller may make a log group.
    pub(crate) fn group(&self, caller: &Caller, now: Timestamp) -> bool {
        !caller.principal.is_task() || self.take([Subject::GroupsBy(caller.arn())], GROUPS, 1.0, now)
    }

    /// Whether the caller may make a log stream.
    pub(crate) fn stream(&self, caller: &Caller, now: Timestamp) -> bool {
        !caller.principal.is_task() || self.take([Subject::StreamsBy(caller.arn())], STREAMS, 1.0, now)
    }

    /// Takes the amount of each bucket if all have anything left: the largest put may leave a bucket in debt, and so always
    /// gets through.
    fn take(&self, subjects: impl IntoIterator<Item = Subject>, rate: Rate, amount: f64, now: Timestamp) -> bool {
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= BUCKETS_MAX {
            buckets.retain(|_, bucket| bucket.fill(now) < bucket.rate.burst);
        }
        let subjects: Vec<_> = subjects.into_iter().collect();
        let mut level = |subject: &Subject, change: f64| {
            let bucket = buckets.entry(subject.clone());
            let bucket = bucket.or_insert(Bucket { rate, level: rate.burst, filled: now });
            bucket.level = bucket.fill(now) + change;
            bucket.level
        };
        let have_some = subjects.iter().all(|subject| level(subject, 0.0) >= 1.0);
        if have_some {
            for subject in &subjects {
                level(subject, -amount);
            }
        }
        have_some
    }
}

impl Bucket {
    /// The level as of `now`. A clock that was put back fills nothing until it is where it was.
    fn fill(&mut self, now: Timestamp) -> f64 {
        let passed_ms = now.as_millis().saturating_sub(self.filled.as_millis()).max(0);
        #[allow(clippy::cast_precision_loss, reason = "what is lost are milliseconds of millennia")]
        let due = passed_ms as f64 / 1000.0 * self.rate.per_second;
        self.level = (self.level + due).min(self.rate.burst);
        self.filled = self.filled.max(now);
        self.level
    }
}
