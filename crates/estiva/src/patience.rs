//! Waiting for a former process of the installation to be gone.

use std::thread::sleep;
use std::time::{Duration, Instant};

/// A process that was told to end is gone by then.
const PATIENCE: Duration = Duration::from_secs(10);
const INTERVAL: Duration = Duration::from_millis(50);

/// Tries until it works, fails with something other than `is_taken`, or patience ends. The kernel tells nobody when a
/// stranger's lock becomes free.
pub fn patiently<T, E>(is_taken: impl Fn(&E) -> bool, attempt: impl FnMut() -> Result<T, E>) -> Result<T, E> {
    patiently_for(PATIENCE, is_taken, attempt)
}

/// The same with another patience.
pub fn patiently_for<T, E>(
    patience: Duration,
    is_taken: impl Fn(&E) -> bool,
    mut attempt: impl FnMut() -> Result<T, E>,
) -> Result<T, E> {
    let begun = Instant::now();
    loop {
        match attempt() {
            Err(error) if is_taken(&error) && begun.elapsed() < patience => sleep(INTERVAL),
            other => return other,
        }
    }
}
