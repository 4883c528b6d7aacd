//! From records of a spool to lines.

use std::mem;

use estiva_shim::spool::{Record, Stream};

/// A line without an end is cut here: CloudWatch Logs' limit for an event for most of its life, and what fits into a
/// call whole also when each byte becomes three.
pub(super) const LINE_BYTES_MAX: usize = 256 * 1024;

/// One line of a container's output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LogLine {
    /// When it began, milliseconds since 1970.
    pub time_ms: i64,
    /// What it was written to.
    pub stream: Stream,
    /// Without the newline; any bytes.
    pub bytes: Vec<u8>,
}

/// Puts pieces of lines together.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    stdout: Piece,
    stderr: Piece,
}

#[derive(Debug, Default)]
struct Piece {
    time_ms: i64,
    bytes: Vec<u8>,
}

impl Assembler {
    /// The lines that `records` complete; empty ones are left out.
    pub fn lines(&mut self, records: Vec<Record>) -> Vec<LogLine> {
        let mut lines = Vec::with_capacity(records.len());
        for record in records {
            match record {
                Record::Line { time_ms, stream, bytes, partial } => {
                    let piece = self.piece(stream);
                    if piece.bytes.is_empty() {
                        piece.time_ms = signed(time_ms);
                    }
                    piece.bytes.extend(bytes);
                    if !partial || piece.bytes.len() >= LINE_BYTES_MAX {
                        lines.extend(self.take(stream));
                    }
                }
                Record::Gap { time_ms, dropped } => lines.push(LogLine {
                    time_ms: signed(time_ms),
                    stream: Stream::Stderr,
                    bytes: format!(
                        "[{dropped} log lines were dropped: the container wrote faster than they could be shipped]"
                    )
                    .into_bytes(),
                }),
                Record::End { .. } => {
                    lines.extend(self.take(Stream::Stdout));
                    lines.extend(self.take(Stream::Stderr));
                }
            }
        }
        lines
    }

    /// Nothing waits for its end.
    pub fn is_empty(&self) -> bool {
        self.stdout.bytes.is_empty() && self.stderr.bytes.is_empty()
    }

    fn piece(&mut self, stream: Stream) -> &mut Piece {
        match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        }
    }

    fn take(&mut self, stream: Stream) -> Option<LogLine> {
        let piece = self.piece(stream);
        let (time_ms, bytes) = (piece.time_ms, mem::take(&mut piece.bytes));
        (!bytes.is_empty()).then_some(LogLine { time_ms, stream, bytes })
    }
}

fn signed(time_ms: u64) -> i64 {
    i64::try_from(time_ms).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str, stream: Stream, partial: bool) -> Record {
        Record::Line { time_ms: 1, stream, bytes: text.into(), partial }
    }

    fn texts(lines: &[LogLine]) -> Vec<&str> {
        lines.iter().map(|line| std::str::from_utf8(&line.bytes).unwrap()).collect()
    }

    #[test]
    fn pieces_of_one_stream_become_one_line() {
        let mut assembler = Assembler::default();
        let lines = assembler.lines(vec![
            line("a", Stream::Stdout, true),
            line("x", Stream::Stderr, false),
            line("b", Stream::Stdout, false),
            line("", Stream::Stdout, false),
        ]);
        assert_eq!(texts(&lines), ["x", "ab"]);
        assert!(assembler.is_empty());
    }

    #[test]
    fn the_last_line_needs_no_newline() {
        let mut assembler = Assembler::default();
        assert!(assembler.lines(vec![line("cut", Stream::Stdout, true)]).is_empty());
        assert!(!assembler.is_empty());
        let lines = assembler.lines(vec![Record::End { time_ms: 2, dropped: 0 }]);
        assert_eq!(texts(&lines), ["cut"]);
    }

    #[test]
    fn a_line_without_end_is_cut() {
        let long = "x".repeat(LINE_BYTES_MAX);
        assert_eq!(Assembler::default().lines(vec![line(&long, Stream::Stdout, true)]).len(), 1);
    }
}
