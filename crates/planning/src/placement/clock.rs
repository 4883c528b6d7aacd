//! Ties, broken at random.

use rand::{Rng, RngExt};

/// Gives each of some equals a moment to come; the one whose moment is first is chosen.
///
/// The waits are exponential: they have no memory, so that each time all who wait are as likely to be next, in proportion
/// to their weight, also those that wait for long. (A number drawn anew for the chosen alone would favour it: the others are
/// known to be higher than the lowest so far.) That holds among those who wait by the same clock: each rank has its own, and
/// who comes to be of the rank waits from its moment on.
#[derive(Debug, Default)]
pub(super) struct Clock {
    now: f64,
}

impl Clock {
    /// A moment from now on, in a form that orders as moments do.
    pub fn draw(&self, weight: u32, rng: &mut impl Rng) -> u64 {
        let wait = -(1.0 - rng.random::<f64>()).ln() / f64::from(weight);
        // Floating-point numbers that are not negative order as their bits do.
        (self.now + wait.abs()).to_bits()
    }

    /// This moment has come.
    pub fn reach(&mut self, moment: u64) {
        self.now = self.now.max(f64::from_bits(moment));
    }
}
