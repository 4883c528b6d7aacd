//! Time for controllers: as of the wall when they start, and from then on monotonic.

use std::time::Duration;

use estiva_model::{Ambient, Timestamp};
use tokio::time::Instant;

/// A clock that never jumps.
pub(crate) struct Clock {
    origin: Timestamp,
    started: Instant,
}

impl Clock {
    pub fn start(ambient: &Ambient) -> Self {
        Self { origin: ambient.now(), started: Instant::now() }
    }

    pub fn now(&self) -> Timestamp {
        self.origin.plus(self.started.elapsed())
    }

    /// When it will be `at`; at the earliest now.
    pub fn instant_of(&self, at: Timestamp) -> Instant {
        // A millisecond later than it may be: timestamps are cut off to milliseconds.
        self.started + at.since(self.origin) + Duration::from_millis(1)
    }
}
