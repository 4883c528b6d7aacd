//! From records of a spool to what PutLogEvents takes.

use std::mem;

use estiva_api_logs::types::InputLogEvent;
use estiva_shim::spool::{Record, Stream};

/// PutLogEvents: at most 10,000 events a call.
const EVENTS_MAX: usize = 10_000;
/// PutLogEvents: at most 1 MiB a call, each event counted with 26 bytes more than its text.
const BYTES_MAX: usize = 1_048_576;
const EVENT_OVERHEAD_BYTES: usize = 26;
/// PutLogEvents: a call spans at most 24 hours.
const SPAN_MS: i64 = 24 * 3600 * 1000;
/// A line without an end is cut here: CloudWatch Logs' limit for an event for most of its life, and what fits into a
/// call whole also when each byte becomes three.
const LINE_BYTES_MAX: usize = 256 * 1024;

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
    /// The events that `records` complete.
    pub fn events(&mut self, records: Vec<Record>) -> Vec<InputLogEvent> {
        let mut events = Vec::with_capacity(records.len());
        for record in records {
            match record {
                Record::Line { time_ms, stream, bytes, partial } => {
                    let piece = match stream {
                        Stream::Stdout => &mut self.stdout,
                        Stream::Stderr => &mut self.stderr,
                    };
                    if piece.bytes.is_empty() {
                        piece.time_ms = signed(time_ms);
                    }
                    piece.bytes.extend(bytes);
                    if !partial || piece.bytes.len() >= LINE_BYTES_MAX {
                        events.extend(piece.take());
                    }
                }
                Record::Gap { time_ms, dropped } => events.push(InputLogEvent {
                    message: format!(
                        "[{dropped} log lines were dropped: the container wrote faster than they could be shipped]"
                    ),
                    timestamp: signed(time_ms),
                }),
                Record::End { .. } => {
                    events.extend(self.stdout.take());
                    events.extend(self.stderr.take());
                }
            }
        }
        events
    }

    /// Nothing waits for its end.
    pub fn is_empty(&self) -> bool {
        self.stdout.bytes.is_empty() && self.stderr.bytes.is_empty()
    }
}

impl Piece {
    /// CloudWatch Logs takes no empty events.
    fn take(&mut self) -> Option<InputLogEvent> {
        let bytes = mem::take(&mut self.bytes);
        let message = String::from_utf8_lossy(&bytes).into_owned();
        (!message.is_empty()).then_some(InputLogEvent { message, timestamp: self.time_ms })
    }
}

/// Calls' worth of events, each in order of time.
pub(super) fn batches(mut events: Vec<InputLogEvent>) -> Vec<Vec<InputLogEvent>> {
    events.sort_by_key(|event| event.timestamp);
    let mut batches: Vec<Vec<InputLogEvent>> = Vec::new();
    let mut bytes = 0;
    for event in events {
        let size = event.message.len() + EVENT_OVERHEAD_BYTES;
        match batches.last_mut() {
            Some(batch)
                if batch.len() < EVENTS_MAX
                    && bytes + size <= BYTES_MAX
                    && batch.first().is_some_and(|first| event.timestamp - first.timestamp < SPAN_MS) =>
            {
                bytes += size;
                batch.push(event);
            }
            _ => {
                bytes = size;
                batches.push(vec![event]);
            }
        }
    }
    batches
}

fn signed(time_ms: u64) -> i64 {
    i64::try_from(time_ms).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line(text: &str, stream: Stream, partial: bool) -> Record {
        Record::Line { time_ms: 1, stream, bytes: text.into(), partial }
    }

    fn messages(events: &[InputLogEvent]) -> Vec<&str> {
        events.iter().map(|event| event.message.as_str()).collect()
    }

    #[test]
    fn pieces_of_one_stream_become_one_event() {
        let mut assembler = Assembler::default();
        let events = assembler.events(vec![
            line("a", Stream::Stdout, true),
            line("x", Stream::Stderr, false),
            line("b", Stream::Stdout, false),
            line("", Stream::Stdout, false),
        ]);
        assert_eq!(messages(&events), ["x", "ab"]);
        assert!(assembler.is_empty());
    }

    #[test]
    fn the_last_line_needs_no_newline() {
        let mut assembler = Assembler::default();
        assert!(assembler.events(vec![line("cut", Stream::Stdout, true)]).is_empty());
        assert!(!assembler.is_empty());
        let events = assembler.events(vec![Record::End { time_ms: 2, dropped: 0 }]);
        assert_eq!(messages(&events), ["cut"]);
    }

    #[test]
    fn a_line_without_end_is_cut() {
        let long = "x".repeat(LINE_BYTES_MAX);
        let events = Assembler::default().events(vec![line(&long, Stream::Stdout, true)]);
        assert_eq!(events.len(), 1);
    }

    proptest! {
        #[test]
        fn batches_keep_every_event_and_every_limit(
            sizes in proptest::collection::vec((1_usize..300_000, 0_i64..SPAN_MS * 2), 0..60),
        ) {
            let event = |(size, timestamp): &(usize, i64)| InputLogEvent { message: "x".repeat(*size), timestamp: *timestamp };
            let batches = batches(sizes.iter().map(event).collect());
            prop_assert_eq!(batches.iter().map(Vec::len).sum::<usize>(), sizes.len());
            for batch in &batches {
                let bytes: usize = batch.iter().map(|event| event.message.len() + EVENT_OVERHEAD_BYTES).sum();
                prop_assert!(!batch.is_empty() && batch.len() <= EVENTS_MAX && bytes <= BYTES_MAX);
                prop_assert!(batch.is_sorted_by_key(|event| event.timestamp));
                prop_assert!(batch[batch.len() - 1].timestamp - batch[0].timestamp < SPAN_MS);
            }
        }
    }
}
