//! Progress of long work: a line that is drawn over on a terminal, nothing elsewhere.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write, stderr};
use std::sync::{Mutex, PoisonError};

use estiva_image::Progress;

use crate::output::bytes;

const WIDTH: usize = 30;

/// A bar over all layers together.
#[derive(Default)]
pub struct Bar {
    layers: Mutex<BTreeMap<String, (u64, u64)>>,
}

impl Progress for Bar {
    fn layer(&self, digest: &str, done_bytes: u64, total_bytes: u64) {
        if !stderr().is_terminal() {
            return;
        }
        let mut layers = self.layers.lock().unwrap_or_else(PoisonError::into_inner);
        layers.insert(digest.to_owned(), (done_bytes, total_bytes));
        let (done, total) = layers.values().fold((0, 0), |(done, total), (d, t)| (done + d, total + t));
        // A bar that cannot be drawn is no reason to stop.
        let _ = write!(stderr(), "\r[{}] {} of {} ", drawing(done, total), bytes(done), bytes(total));
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if stderr().is_terminal() {
            let _ = write!(stderr(), "\r\x1b[K");
        }
    }
}

fn drawing(done: u64, total: u64) -> String {
    let share = u128::from(done.min(total)) * WIDTH as u128 / u128::from(total.max(1));
    let filled = usize::try_from(share).unwrap_or(WIDTH);
    format!("{}{}", "=".repeat(filled), " ".repeat(WIDTH - filled))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_full_as_the_work_is_done() {
        assert_eq!(drawing(0, 0).trim(), "");
        assert_eq!(drawing(1, 2).trim().len(), WIDTH / 2);
        assert_eq!(drawing(9, 2).trim().len(), WIDTH);
    }
}
