//! What happened in a run, line by line: what two runs of a seed are compared by, and what a failure is understood from.

use std::fmt;
use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The lines of a run.
#[derive(Debug)]
pub struct Trace {
    text: Mutex<String>,
    is_kept: bool,
}

impl Trace {
    /// An empty one; one that is not kept stays so.
    pub fn new(is_kept: bool) -> Self {
        Self { text: Mutex::default(), is_kept }
    }

    /// Adds a line.
    pub fn say(&self, at: Duration, what: fmt::Arguments<'_>) {
        if self.is_kept {
            let mut text = self.lock();
            // Writing to memory does not fail.
            let _ = writeln!(text, "{:>10.3} {what}", at.as_secs_f64());
        }
    }

    /// All of it.
    pub fn text(&self) -> String {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, String> {
        self.text.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
