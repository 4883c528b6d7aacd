//! A line of output, and how many go together.

use std::iter;

/// Longer lines are cut: no backend takes larger ones by default. 1 MiB.
pub const LINE_BYTES_MAX: usize = 1 << 20;

/// One line of output, or a piece of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// When it was written, in nanoseconds since 1970.
    pub time_ns: u64,
    /// What it was written to.
    pub stream: Stream,
    /// Without the newline, and not necessarily UTF-8. Beyond [`LINE_BYTES_MAX`] it is cut.
    pub text: Vec<u8>,
    /// Set if this is a piece of a line.
    pub partial: Option<Partial>,
}

/// What a container writes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Which piece of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partial {
    /// The same for all pieces of one line, and for no other line.
    pub id: String,
    /// Counts the pieces, from 1.
    pub ordinal: u32,
    /// No more pieces follow.
    pub last: bool,
}

impl LogLine {
    /// The text, as far as it is sent.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.text[..self.text.len().min(LINE_BYTES_MAX)]
    }
}

impl Stream {
    /// Docker's name for it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }

    /// RFC 5424's severity: informational or error.
    pub(crate) fn severity(self) -> u8 {
        match self {
            Self::Stdout => 6,
            Self::Stderr => 3,
        }
    }
}

/// All but the empty lines, which `gelf` and `syslog` leave out, as with Docker.
pub(crate) fn with_text(lines: &[LogLine]) -> impl Iterator<Item = &LogLine> + Send {
    lines.iter().filter(|line| !line.text.is_empty())
}

/// Cuts `lines` into runs of at most `lines_max` lines and, unless a single one has more, `bytes_max` bytes, for which
/// each line counts with its text and `overhead_bytes`.
pub(crate) fn batches(
    mut lines: &[LogLine],
    lines_max: usize,
    bytes_max: usize,
    overhead_bytes: usize,
) -> impl Iterator<Item = &[LogLine]> + Send {
    iter::from_fn(move || {
        let mut bytes = 0_usize;
        let fits = |line: &&LogLine| {
            bytes = bytes.saturating_add(line.bytes().len() + overhead_bytes);
            bytes <= bytes_max
        };
        let count = lines.iter().take(lines_max).take_while(fits).count().max(1);
        let (batch, rest) = lines.split_at_checked(count)?;
        lines = rest;
        Some(batch)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn batches_keep_every_line_and_every_limit(sizes in proptest::collection::vec(0_usize..50, 0..80)) {
            let line = |size: &usize| LogLine { time_ns: 0, stream: Stream::Stdout, text: vec![b'x'; *size], partial: None };
            let lines: Vec<LogLine> = sizes.iter().map(line).collect();
            let batches: Vec<&[LogLine]> = batches(&lines, 7, 100, 2).collect();
            prop_assert_eq!(&batches.concat(), &lines);
            for batch in batches {
                let bytes: usize = batch.iter().map(|line| line.text.len() + 2).sum();
                prop_assert!(!batch.is_empty() && batch.len() <= 7 && bytes <= 100);
            }
        }
    }

    #[test]
    fn a_line_beyond_the_limit_goes_alone() {
        let line = |size| LogLine { time_ns: 0, stream: Stream::Stderr, text: vec![b'x'; size], partial: None };
        let lines = [line(1), line(500), line(1)];
        assert_eq!(batches(&lines, 10, 100, 0).map(<[_]>::len).collect::<Vec<_>>(), [1, 1, 1]);
    }
}
