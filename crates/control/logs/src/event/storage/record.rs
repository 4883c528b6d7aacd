//! A record: the events of one put, as bytes.
//!
//! ```text
//! magic u32 · body length u32 · CRC-32 of the body u32 │ first sequence u64 · ingestion i64 · first timestamp i64 · count u32 │ events
//! event: milliseconds after the first timestamp u32 · length u32 · UTF-8 text
//! ```
//! All numbers are little-endian.

use std::ops::Range;

use super::EngineError;

const MAGIC: [u8; 4] = *b"ELR1";
const HEADER_BYTES: usize = 12;
const BODY_HEAD_BYTES: usize = 28;

/// The longest body: the largest put that the API takes (1 MiB, of which each event takes 26 bytes), with room to spare.
const BODY_BYTES_MAX: usize = 2 * 1024 * 1024;

/// An event that is to be stored.
#[derive(Debug, Clone, Copy)]
pub struct NewEvent<'e> {
    /// Milliseconds since 1970.
    pub timestamp: i64,
    /// The text.
    pub message: &'e str,
}

/// The record of events in order of time, at least one, appended to `out`.
pub(super) fn encode(
    out: &mut Vec<u8>,
    first_sequence: u64,
    ingestion: i64,
    events: &[NewEvent<'_>],
) -> Result<(), EngineError> {
    let first = events.first().ok_or(EngineError::Batch("there are none"))?.timestamp;
    let start = out.len();
    let count = u32::try_from(events.len()).map_err(|_| EngineError::Batch("there are too many"))?;
    out.extend_from_slice(&[0; HEADER_BYTES]);
    out.extend_from_slice(&first_sequence.to_le_bytes());
    out.extend_from_slice(&ingestion.to_le_bytes());
    out.extend_from_slice(&first.to_le_bytes());
    out.extend_from_slice(&count.to_le_bytes());
    let mut previous = first;
    for event in events {
        if event.timestamp < previous {
            return Err(EngineError::Batch("they are not in order of time"));
        }
        previous = event.timestamp;
        let after = event.timestamp.checked_sub(first).and_then(|after| u32::try_from(after).ok());
        let after = after.ok_or(EngineError::Batch("they are too far apart"))?;
        let length = u32::try_from(event.message.len()).map_err(|_| EngineError::Batch("one is too long"))?;
        out.extend_from_slice(&after.to_le_bytes());
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(event.message.as_bytes());
    }
    let body = start + HEADER_BYTES..out.len();
    let length = match u32::try_from(body.len()) {
        Ok(length) if body.len() <= BODY_BYTES_MAX => length,
        _ => return Err(EngineError::Batch("they are too long together")),
    };
    let crc = crc32fast::hash(&out[body]);
    out[start..start + 4].copy_from_slice(&MAGIC);
    out[start + 4..start + 8].copy_from_slice(&length.to_le_bytes());
    out[start + 8..start + 12].copy_from_slice(&crc.to_le_bytes());
    Ok(())
}

/// A record whose checksum is right.
#[derive(Debug, Clone, Copy)]
pub(super) struct Record<'b> {
    pub(super) first_sequence: u64,
    pub(super) ingestion: i64,
    pub(super) first_timestamp: i64,
    pub(super) count: u32,
    events: &'b [u8],
}

/// An event as it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StoredEvent<'b> {
    pub(super) sequence: u64,
    pub(super) timestamp: i64,
    pub(super) message: &'b [u8],
}

impl<'b> Record<'b> {
    /// The record that `bytes` start with, and its length.
    fn parse(bytes: &'b [u8]) -> Option<(Self, usize)> {
        let header = bytes.get(..HEADER_BYTES)?;
        let length = usize::try_from(number(header, 4)?).ok()?;
        if header[..4] != MAGIC || !(BODY_HEAD_BYTES..=BODY_BYTES_MAX).contains(&length) {
            return None;
        }
        let end = HEADER_BYTES + length;
        let body = bytes.get(HEADER_BYTES..end)?;
        if crc32fast::hash(body) != number(header, 8)? {
            return None;
        }
        let record = Self {
            first_sequence: u64::from_le_bytes(array(body, 0)?),
            ingestion: i64::from_le_bytes(array(body, 8)?),
            first_timestamp: i64::from_le_bytes(array(body, 16)?),
            count: number(body, 24)?,
            events: &body[BODY_HEAD_BYTES..],
        };
        Some((record, end))
    }

    /// The events, in order of time.
    pub(super) fn events(&self) -> impl Iterator<Item = StoredEvent<'b>> + use<'b> {
        let Self { first_sequence, first_timestamp, mut events, .. } = *self;
        (0..u64::from(self.count)).map_while(move |index| {
            let after = i64::from(number(events, 0)?);
            let length = usize::try_from(number(events, 4)?).ok()?;
            let message = events.get(8..length.checked_add(8)?)?;
            events = &events[8 + length..];
            let sequence = first_sequence.saturating_add(index);
            Some(StoredEvent { sequence, timestamp: first_timestamp.saturating_add(after), message })
        })
    }

    /// The sequence number of the event that follows the last one.
    pub(super) fn next_sequence(&self) -> u64 {
        self.first_sequence.saturating_add(u64::from(self.count))
    }

    /// The time of the last event.
    pub(super) fn last_timestamp(&self) -> i64 {
        self.events().last().map_or(self.first_timestamp, |event| event.timestamp)
    }
}

/// What a run of bytes that should be records holds.
#[derive(Debug)]
pub(super) enum Found<'b> {
    /// A record, and where.
    Record(Range<usize>, Record<'b>),
    /// No records, but there is one after it.
    Damage(Range<usize>),
    /// No record from here to the end.
    Tail(Range<usize>),
}

/// The records of `bytes`, in order.
pub(super) fn read(bytes: &[u8]) -> impl Iterator<Item = Found<'_>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = at;
        if start == bytes.len() {
            return None;
        }
        if let Some((record, length)) = Record::parse(&bytes[start..]) {
            at = start + length;
            return Some(Found::Record(start..at, record));
        }
        let next = next_record(bytes, start + 1);
        at = next.unwrap_or(bytes.len());
        Some(if next.is_some() { Found::Damage(start..at) } else { Found::Tail(start..at) })
    })
}

/// Whether the header of a tail says that the record ends with it: its write was not cut short, so it is damaged.
pub(super) fn was_whole(tail: &[u8]) -> bool {
    let body = number(tail, 4).and_then(|length| usize::try_from(length).ok());
    tail.starts_with(&MAGIC) && body.is_some_and(|length| length.checked_add(HEADER_BYTES) == Some(tail.len()))
}

/// Where the first sound record at or after `from` starts.
fn next_record(bytes: &[u8], from: usize) -> Option<usize> {
    let mut starts = (from..bytes.len().saturating_sub(HEADER_BYTES)).filter(|&at| bytes[at..].starts_with(&MAGIC));
    starts.find(|&at| Record::parse(&bytes[at..]).is_some())
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(u32::from_le_bytes)
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}
