//! A task's timeline: every change of its state, with the time and the whole reason.

use estiva_model::Timestamp;
use serde::{Deserialize, Serialize};

use super::{TaskState, TaskStatus};

/// A task whose containers are restarted again and again would fill the store: what comes then is not noted.
const MOMENTS_MAX: usize = 200;

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// When it happened, or was heard of.
    pub at: Timestamp,
    /// Of which container; absent for the task as a whole.
    pub container: Option<String>,
    /// A status, a health status, or PULL_STARTED, PULL_STOPPED, STOP_REQUESTED.
    pub status: String,
    /// Of a container that ended.
    pub exit_code: Option<i32>,
    /// Why.
    pub reason: Option<String>,
}

impl Moment {
    fn of_task(at: Timestamp, status: &str) -> Self {
        Self { at, container: None, status: status.to_owned(), exit_code: None, reason: None }
    }
}

impl TaskState {
    /// Adds what is no change of state to the timeline, as long as there is room.
    pub fn note(&mut self, moment: Moment) {
        if self.timeline.len() < MOMENTS_MAX {
            self.timeline.push(moment);
        }
    }
}

/// What changed from one state to the next.
pub(super) fn moments(before: &TaskState, after: &TaskState, now: Timestamp) -> Vec<Moment> {
    let mut moments = Vec::new();
    let new = |before: Option<Timestamp>, after: Option<Timestamp>| after.filter(|_| before.is_none());
    for (at, what) in [
        (new(before.pull_started_at, after.pull_started_at), "PULL_STARTED"),
        (new(before.pull_stopped_at, after.pull_stopped_at), "PULL_STOPPED"),
        // A task that ends by itself was not asked to.
        (
            new(before.stopping_at, after.stopping_at).filter(|_| after.last_status != TaskStatus::Stopped),
            "STOP_REQUESTED",
        ),
    ] {
        moments.extend(at.map(|at| Moment::of_task(at, what)));
    }
    for (state, former) in after.containers.iter().zip(&before.containers) {
        if state.last_status != former.last_status || state.reason != former.reason {
            moments.push(Moment {
                at: now,
                container: Some(state.name.clone()),
                status: state.last_status.as_str().to_owned(),
                exit_code: state.exit_code,
                reason: state.reason.clone(),
            });
        }
        if state.health != former.health {
            moments.push(Moment {
                at: now,
                container: Some(state.name.clone()),
                status: state.health.as_str().to_owned(),
                exit_code: None,
                reason: None,
            });
        }
    }
    if after.last_status != before.last_status {
        moments.push(Moment::of_task(now, after.last_status.as_str()));
    }
    moments.truncate(MOMENTS_MAX.saturating_sub(before.timeline.len()));
    moments
}
