//! Bytes of a segment.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
};

/// Where a line is cut, as Docker does.
pub const LINE_BYTES_MAX: usize = 16 * 1024;
/// What every segment begins with.
pub(super) const MAGIC: &[u8; 8] = b"ESTVSPL1";

const LENGTH_BYTES: usize = 4;
const HEAD_BYTES: usize = 10;
const FLAG_PARTIAL: u8 = 1;

const KIND_STDOUT: u8 = 0;
const KIND_STDERR: u8 = 1;
const KIND_GAP: u8 = 2;
const KIND_END: u8 = 3;

/// Which of the two standard streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stream {
    /// File descriptor 1, or a terminal's only stream.
    Stdout,
    /// File descriptor 2.
    Stderr,
}

/// A line as the shim has it in hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Line<'a> {
    /// Where it came from.
    pub stream: Stream,
    /// Without the newline, at most [`LINE_BYTES_MAX`].
    pub bytes: &'a [u8],
    /// The line goes on.
    pub partial: bool,
}

/// One record of a spool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// A line, or a piece of one.
    Line {
        /// When the shim read it, milliseconds since 1970.
        time_ms: u64,
        /// Where it came from.
        stream: Stream,
        /// Without the newline; at most [`LINE_BYTES_MAX`] bytes, any bytes.
        bytes: Vec<u8>,
        /// No newline followed: the line goes on in the next record of this stream, or the stream has ended.
        partial: bool,
    },
    /// Lines were dropped here because the spool was full.
    Gap {
        /// When there was room again, milliseconds since 1970.
        time_ms: u64,
        /// How many.
        dropped: u64,
    },
    /// The container's output is over; nothing follows.
    End {
        /// Milliseconds since 1970.
        time_ms: u64,
        /// Lines dropped in all.
        dropped: u64,
    },
}

impl Record {
    /// What it takes of the spool.
    pub fn encoded_bytes(&self) -> usize {
        let payload = match self {
            Self::Line { bytes, .. } => bytes.len(),
            Self::Gap { dropped, .. } | Self::End { dropped, .. } => size_of_val(dropped),
        };
        LENGTH_BYTES + HEAD_BYTES + payload
    }
}

/// What there is at some place of a segment.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decoded {
    /// A record, and its bytes in all.
    Record(Record, usize),
    /// Not (yet) a whole record.
    Incomplete,
    /// Never a record.
    Corrupt,
}

pub(super) fn encode_line(buffer: &mut Vec<u8>, time_ms: u64, line: &Line<'_>) {
    let kind = match line.stream {
        Stream::Stdout => KIND_STDOUT,
        Stream::Stderr => KIND_STDERR,
    };
    encode(buffer, kind, u8::from(line.partial), time_ms, line.bytes);
}

pub(super) fn encode_gap(buffer: &mut Vec<u8>, time_ms: u64, dropped: u64) {
    encode(buffer, KIND_GAP, 0, time_ms, &dropped.to_le_bytes());
}

pub(super) fn encode_end(buffer: &mut Vec<u8>, time_ms: u64, dropped: u64) {
    encode(buffer, KIND_END, 0, time_ms, &dropped.to_le_bytes());
}

fn encode(buffer: &mut Vec<u8>, kind: u8, flags: u8, time_ms: u64, payload: &[u8]) {
    // Lines are cut at LINE_BYTES_MAX, so the length always fits.
    let length = u32::try_from(HEAD_BYTES + payload.len()).unwrap_or(u32::MAX);
    buffer.extend_from_slice(&length.to_le_bytes());
    buffer.extend_from_slice(&[kind, flags]);
    buffer.extend_from_slice(&time_ms.to_le_bytes());
    buffer.extend_from_slice(payload);
}

pub(super) fn decode(bytes: &[u8]) -> Decoded {
    let Some((length, rest)) = bytes.split_first_chunk::<LENGTH_BYTES>() else { return Decoded::Incomplete };
    let length = u32::from_le_bytes(*length) as usize;
    if !(HEAD_BYTES..=HEAD_BYTES + LINE_BYTES_MAX).contains(&length) {
        return Decoded::Corrupt;
    }
    let Some(body) = rest.get(..length) else { return Decoded::Incomplete };
    decode_body(body).map_or(Decoded::Corrupt, |record| Decoded::Record(record, LENGTH_BYTES + length))
}

fn decode_body(body: &[u8]) -> Option<Record> {
    let ([kind, flags], rest) = body.split_first_chunk::<2>()?;
    let (time, payload) = rest.split_first_chunk::<8>()?;
    let time_ms = u64::from_le_bytes(*time);
    let stream = match *kind {
        KIND_STDOUT => Stream::Stdout,
        KIND_STDERR => Stream::Stderr,
        KIND_GAP => return Some(Record::Gap { time_ms, dropped: u64::from_le_bytes(payload.try_into().ok()?) }),
        KIND_END => return Some(Record::End { time_ms, dropped: u64::from_le_bytes(payload.try_into().ok()?) }),
        _ => return None,
    };
    Some(Record::Line { time_ms, stream, bytes: payload.to_vec(), partial: flags & FLAG_PARTIAL != 0 })
}

/// The file of segment `number`.
pub(super) fn segment_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:016x}.seg"))
}

/// The number in a segment's file name; `None` for any other file.
pub(super) fn segment_number(name: &OsStr) -> Option<u64> {
    let digits = name.to_str()?.strip_suffix(".seg")?;
    (digits.len() == 16).then(|| u64::from_str_radix(digits, 16).ok())?
}

/// All segments of `dir`, ascending.
pub(super) fn segments(dir: &Path) -> std::io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        numbers.extend(segment_number(&entry?.file_name()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}
