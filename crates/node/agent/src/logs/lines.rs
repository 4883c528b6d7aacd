//! From records of a spool to lines.

use std::mem;

use estiva_shim::spool::{Position, Record, Stream};

/// A line without an end is cut here: CloudWatch Logs' limit for an event for most of its life, and what fits into a
/// call whole also when each byte becomes three.
pub(super) const LINE_BYTES_MAX: usize = 256 * 1024;
/// A line whose end has not come when so much of the spool lies behind its beginning is cut too: all that is kept until the
/// line is whole, and the container may be waiting for room.
const HELD_BYTES_MAX: usize = 512 * 1024;

/// One line of a container's output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LogLine {
    /// When it began, milliseconds since 1970.
    pub time_ms: i64,
    /// What it was written to.
    pub stream: Stream,
    /// Without the newline; any bytes.
    pub bytes: Vec<u8>,
    /// Where its first record begins.
    pub begin: Position,
}

/// Puts pieces of lines together.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    stdout: Piece,
    stderr: Piece,
}

/// What there is of one stream's unfinished line.
#[derive(Debug, Default)]
struct Piece {
    line: Option<LogLine>,
    /// What has been read of the spool since it began, of either stream.
    spool_bytes: usize,
}

impl Assembler {
    /// The lines that `records` complete; empty ones are left out.
    pub fn lines(&mut self, records: Vec<(Position, Record)>) -> Vec<LogLine> {
        let mut lines = Vec::with_capacity(records.len());
        for (begin, record) in records {
            let bytes = record.encoded_bytes();
            match record {
                Record::Line { time_ms, stream, bytes, partial } => {
                    let new = LogLine { time_ms: signed(time_ms), stream, bytes: Vec::new(), begin };
                    let line = self.piece(stream).line.get_or_insert(new);
                    line.bytes.extend(bytes);
                    if !partial || line.bytes.len() >= LINE_BYTES_MAX {
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
                    begin,
                }),
                Record::End { .. } => {
                    lines.extend(self.take(Stream::Stdout));
                    lines.extend(self.take(Stream::Stderr));
                }
            }
            for stream in [Stream::Stdout, Stream::Stderr] {
                let piece = self.piece(stream);
                piece.spool_bytes = if piece.line.is_some() { piece.spool_bytes + bytes } else { 0 };
                if piece.spool_bytes > HELD_BYTES_MAX {
                    lines.extend(self.take(stream));
                }
            }
        }
        lines
    }

    /// Where the first of the lines begins that wait for their end.
    pub fn held_from(&self) -> Option<Position> {
        [&self.stdout, &self.stderr].into_iter().filter_map(|piece| Some(piece.line.as_ref()?.begin)).min()
    }

    fn piece(&mut self, stream: Stream) -> &mut Piece {
        match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        }
    }

    fn take(&mut self, stream: Stream) -> Option<LogLine> {
        mem::take(self.piece(stream)).line.filter(|line| !line.bytes.is_empty())
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

    /// The records, each at the place of its number.
    fn placed(records: Vec<Record>) -> Vec<(Position, Record)> {
        records.into_iter().enumerate().map(|(number, record)| (at(number), record)).collect()
    }

    fn at(number: usize) -> Position {
        Position { segment: 1, offset: number as u64 }
    }

    fn texts(lines: &[LogLine]) -> Vec<&str> {
        lines.iter().map(|line| std::str::from_utf8(&line.bytes).unwrap()).collect()
    }

    #[test]
    fn pieces_of_one_stream_become_one_line() {
        let mut assembler = Assembler::default();
        let lines = assembler.lines(placed(vec![
            line("a", Stream::Stdout, true),
            line("x", Stream::Stderr, false),
            line("b", Stream::Stdout, false),
            line("", Stream::Stdout, false),
        ]));
        assert_eq!(texts(&lines), ["x", "ab"]);
        assert_eq!((lines[1].begin, assembler.held_from()), (at(0), None));
    }

    #[test]
    fn the_last_line_needs_no_newline() {
        let mut assembler = Assembler::default();
        let records = vec![line("whole", Stream::Stdout, false), line("cut", Stream::Stdout, true)];
        assert_eq!(texts(&assembler.lines(placed(records))), ["whole"]);
        assert_eq!(assembler.held_from(), Some(at(1)));
        let lines = assembler.lines(placed(vec![Record::End { time_ms: 2, dropped: 0 }]));
        assert_eq!(texts(&lines), ["cut"]);
    }

    #[test]
    fn a_line_without_end_is_cut() {
        let long = "x".repeat(LINE_BYTES_MAX);
        assert_eq!(Assembler::default().lines(placed(vec![line(&long, Stream::Stdout, true)])).len(), 1);
    }

    #[test]
    fn a_line_without_end_does_not_hold_back_the_other_stream() {
        let mut assembler = Assembler::default();
        let mut records = vec![line("begun", Stream::Stdout, true)];
        records.extend((0..HELD_BYTES_MAX / 1000).map(|_| line(&"e".repeat(1000), Stream::Stderr, false)));
        let lines = assembler.lines(placed(records));
        assert!(lines.iter().any(|line| line.bytes == b"begun"));
        assert_eq!(assembler.held_from(), None);
    }
}
