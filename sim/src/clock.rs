//! The virtual clock: tokio's paused time, shown as the time of a calendar.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use estiva_model::Timestamp;
use tokio::time::Instant;

/// When every run begins: 2026-11-02T00:00:00Z.
const EPOCH: Timestamp = Timestamp(1_793_577_600_000);

/// Tells the time of a run.
#[derive(Debug)]
pub struct Clock {
    start: Instant,
    /// By how much the wall clock is wrong, in milliseconds.
    skew_ms: AtomicI64,
}

impl Clock {
    /// Begins now; to be made within the run's runtime.
    pub fn start() -> Self {
        Self { start: Instant::now(), skew_ms: AtomicI64::new(0) }
    }

    /// How long the run has lasted.
    pub fn elapsed(&self) -> Duration {
        Instant::now().saturating_duration_since(self.start)
    }

    /// What the wall clock shows.
    pub fn now(&self) -> Timestamp {
        Timestamp(self.true_now().as_millis() + self.skew_ms.load(Ordering::Relaxed))
    }

    /// What the wall clock would show if it were right.
    pub fn true_now(&self) -> Timestamp {
        EPOCH.plus(self.elapsed())
    }

    /// How long the run had lasted when a right wall clock showed that.
    pub fn elapsed_at(&self, time: Timestamp) -> Duration {
        time.since(EPOCH)
    }

    /// Sets the wall clock wrong by so many milliseconds; timers do not mind.
    pub fn set_skew(&self, ms: i64) {
        self.skew_ms.store(ms, Ordering::Relaxed);
    }
}
