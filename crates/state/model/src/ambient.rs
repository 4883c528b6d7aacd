//! What a program takes from outside besides its input: the time, and chance.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::Timestamp;

/// Where the time and random numbers come from: the system, or a simulation that gives both and so can be replayed.
#[derive(Clone)]
pub struct Ambient {
    now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    /// Absent: the system's.
    seeds: Option<Arc<Mutex<StdRng>>>,
}

impl Ambient {
    /// The system's clock, and random numbers that nobody can guess.
    pub fn system() -> Self {
        Self { now: Arc::new(Timestamp::now), seeds: None }
    }

    /// The given clock, and random numbers that follow from the seed.
    pub fn simulated(now: impl Fn() -> Timestamp + Send + Sync + 'static, seed: u64) -> Self {
        Self { now: Arc::new(now), seeds: Some(Arc::new(Mutex::new(StdRng::seed_from_u64(seed)))) }
    }

    /// The time now.
    pub fn now(&self) -> Timestamp {
        (self.now)()
    }

    /// A generator fit for secrets (unless simulated), of the caller's own.
    pub fn rng(&self) -> StdRng {
        match &self.seeds {
            None => StdRng::from_seed(rand::rng().random()),
            Some(seeds) => StdRng::from_seed(seeds.lock().unwrap_or_else(PoisonError::into_inner).random()),
        }
    }
}

impl Default for Ambient {
    fn default() -> Self {
        Self::system()
    }
}

impl fmt::Debug for Ambient {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.seeds.is_some() { "simulated" } else { "system" };
        formatter.debug_tuple("Ambient").field(&kind).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_numbers() {
        let draw = |seed| {
            let ambient = Ambient::simulated(|| Timestamp(5), seed);
            let drawn: [u64; 2] = [ambient.rng().random(), ambient.rng().random()];
            (ambient.now(), drawn)
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        assert_ne!(draw(1).1[0], draw(1).1[1], "each generator is another one");
    }
}
