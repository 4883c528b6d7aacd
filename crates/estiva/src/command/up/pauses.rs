//! How long `estiva up` waits before it starts a part again: a moment at first, longer while the part keeps ending.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(200);
/// Whoever calls meanwhile waits for so long, and nodes should not be taken for lost.
const LONGEST: Duration = Duration::from_secs(2);
/// What ran for so long does not keep ending: its next pause is the first again.
const WELL_AFTER: Duration = Duration::from_secs(30);

/// The pauses of one part.
pub struct Pauses(Duration);

impl Default for Pauses {
    fn default() -> Self {
        Self(FIRST)
    }
}

impl Pauses {
    /// The pause after the part has run for that long.
    pub fn next(&mut self, ran: Duration) -> Duration {
        let pause = if ran >= WELL_AFTER { FIRST } else { self.0 };
        self.0 = (pause * 2).min(LONGEST);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_keeps_ending_waits_longer_until_it_ran_well() {
        let mut pauses = Pauses::default();
        let ms: Vec<u128> = (0..8).map(|_| pauses.next(Duration::from_secs(1)).as_millis()).collect();
        assert_eq!(ms, [200, 400, 800, 1600, 2000, 2000, 2000, 2000]);
        assert_eq!(pauses.next(WELL_AFTER), FIRST);
        assert_eq!(pauses.next(Duration::ZERO), FIRST * 2);
    }
}
