//! How long to wait before trying again what failed.

use std::time::Duration;

use rand::{Rng, RngExt};

/// Grows by half with each failure, from 0.1 s to 5 s, spread by a fifth either way so that many nodes do not come
/// back at once. AWS's agent goes up to 2 min; a node beside its control plane is better back sooner.
#[derive(Debug)]
pub struct Backoff {
    next_ms: f64,
}

const FIRST_MS: f64 = 100.0;
const GROWTH: f64 = 1.5;
const MAX_MS: f64 = 5_000.0;
const JITTER: f64 = 0.2;

impl Default for Backoff {
    fn default() -> Self {
        Self { next_ms: FIRST_MS }
    }
}

impl Backoff {
    /// The time to wait after one more failure.
    fn after_failure(&mut self, rng: &mut impl Rng) -> Duration {
        let spread = 1.0 + rng.random_range(-JITTER..JITTER);
        let wait = Duration::from_secs_f64(self.next_ms * spread / 1000.0);
        self.next_ms = (self.next_ms * GROWTH).min(MAX_MS);
        wait
    }

    /// Waits after one more failure.
    pub async fn wait(&mut self) {
        let wait = self.after_failure(&mut rand::rng());
        tokio::time::sleep(wait).await;
    }

    /// What was tried worked.
    pub fn reset(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    use super::*;

    #[test]
    fn waits_grow_to_a_bound_and_start_over() {
        let mut rng = SmallRng::seed_from_u64(1);
        let mut backoff = Backoff::default();
        assert!(backoff.after_failure(&mut rng) <= Duration::from_millis(120));
        let waits: Vec<_> = (0..30).map(|_| backoff.after_failure(&mut rng)).collect();
        assert!(waits[29] >= Duration::from_secs(4) && waits.iter().all(|wait| *wait <= Duration::from_secs(6)));
        backoff.reset();
        assert!(backoff.after_failure(&mut rng) <= Duration::from_millis(120));
    }
}
