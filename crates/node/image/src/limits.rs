//! Bounds on what an image may cost this node.

use std::time::Duration;

/// What an image may cost: space, entries, and patience.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of all files of a layer together.
    pub bytes_max: u64,
    /// Entries of a layer, and directories above them that have no entry.
    pub entries_max: u64,
    /// For how long a registry may send nothing in the middle of a layer before the connection counts as broken. For
    /// the beginning of an answer, and for a small answer as a whole, it has twice as long. A download that was broken is
    /// taken up again; after four times in a row without a single byte the pull fails.
    pub silence_max: Duration,
}

impl Default for Limits {
    /// 32 GiB in 2,000,000 entries, 30 seconds.
    fn default() -> Self {
        Self { bytes_max: 32 << 30, entries_max: 2_000_000, silence_max: Duration::from_secs(30) }
    }
}

impl Limits {
    /// For the beginning of an answer, and for a small answer as a whole.
    pub(crate) fn answer_max(&self) -> Duration {
        self.silence_max.saturating_mul(2)
    }
}
