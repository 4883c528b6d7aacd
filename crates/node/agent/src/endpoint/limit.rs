//! How often a task may ask.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Of AWS's agent: 40 requests a second, 60 at once.
const RATE: f64 = 40.0;
const BURST: f64 = 60.0;
/// Tasks that have not asked for long enough to have everything again need no bucket.
const BUCKETS_MAX: usize = 4096;

/// A token bucket for each task.
#[derive(Debug, Default)]
pub(super) struct Limit(Mutex<HashMap<String, Bucket>>);

#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Bucket {
    fn filled(self, now: Instant) -> f64 {
        (self.tokens + now.saturating_duration_since(self.at).as_secs_f64() * RATE).min(BURST)
    }
}

impl Limit {
    /// Whether the task may ask at this moment.
    pub fn allows(&self, task: &str, now: Instant) -> bool {
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= BUCKETS_MAX {
            buckets.retain(|_, bucket| bucket.filled(now) < BURST);
        }
        let bucket = buckets.entry(task.to_owned()).or_insert(Bucket { tokens: BURST, at: now });
        let tokens = bucket.filled(now);
        let allowed = tokens >= 1.0;
        *bucket = Bucket { tokens: if allowed { tokens - 1.0 } else { tokens }, at: now };
        allowed
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_burst_then_the_rate_and_each_task_for_itself() {
        let (limit, start) = (Limit::default(), Instant::now());
        assert_eq!((0..100).filter(|_| limit.allows("a", start)).count(), 60);
        assert!(limit.allows("b", start));
        let later = start + Duration::from_secs(1);
        assert_eq!((0..100).filter(|_| limit.allows("a", later)).count(), 40);
    }
}
