//! Names of what is stored: groups, streams, segments, and the place of one event among all of a group.

use std::fmt;

/// A log group for as long as it lives: deleted and created anew under its old name it is another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupId(pub u128);

/// A log stream, unique among all streams that its group ever had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(pub u64);

/// The total order of a group's events. No two events of a group have one position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Position {
    /// The event's own time, in milliseconds since 1970.
    pub timestamp: i64,
    /// The event's stream.
    pub stream: StreamId,
    /// The number of the event in its stream, in order of arrival, from 0.
    pub sequence: u64,
}

impl Position {
    /// Before all events of this time.
    pub const fn at(timestamp: i64) -> Self {
        Self { timestamp, stream: StreamId(0), sequence: 0 }
    }

    /// The least position that is greater.
    #[must_use]
    pub const fn successor(self) -> Self {
        Self { sequence: self.sequence.saturating_add(1), ..self }
    }

    /// The greatest time that an event before this position can have.
    pub(super) const fn time_before(self) -> i64 {
        match self {
            Self { timestamp, stream: StreamId(0), sequence: 0 } => timestamp.saturating_sub(1),
            Self { timestamp, .. } => timestamp,
        }
    }
}

/// One file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct SegmentId {
    pub(super) group: GroupId,
    pub(super) stream: StreamId,
    /// The sequence number of the first event that was, or would be, written to it.
    pub(super) first: u64,
}

impl fmt::Display for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl GroupId {
    /// What [`fmt::Display`] wrote.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let id = Self(u128::from_str_radix(text, 16).ok()?);
        (id.to_string() == text).then_some(id)
    }
}

impl SegmentId {
    /// The file's name within the directory of the group.
    pub(super) fn file_name(self) -> String {
        format!("{:016x}.{:016x}.log", self.stream.0, self.first)
    }

    /// What a file of a group's directory is, if it is a segment.
    pub(super) fn parse(group: GroupId, file_name: &str) -> Option<Self> {
        let (stream, first) = file_name.strip_suffix(".log")?.split_once('.')?;
        let number = |text: &str| u64::from_str_radix(text, 16).ok();
        let id = Self { group, stream: StreamId(number(stream)?), first: number(first)? };
        (id.file_name() == file_name).then_some(id)
    }
}
