//! From a container's pipes to its log sink: lines, and where they are written.

mod json_file;
mod lines;

use std::{
    io,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use self::json_file::JsonFile;
pub(crate) use self::lines::LineSplitter;
use crate::{
    spec::LogSink,
    spool::{Line, Position, SpoolOptions, Writer},
};

/// Where lines are written.
#[derive(Debug)]
pub(crate) enum Sink {
    None,
    JsonFile(Box<JsonFile>),
    Spool(Box<Writer>),
}

impl Sink {
    pub(crate) fn open(spec: &LogSink) -> io::Result<Self> {
        Ok(match spec {
            LogSink::None => Self::None,
            LogSink::JsonFile { path, max_size_bytes, max_files } => {
                Self::JsonFile(Box::new(JsonFile::open(path.clone(), *max_size_bytes, *max_files)?))
            }
            LogSink::Spool { dir, segment_bytes, max_bytes, blocking } => {
                let (dir, segment_bytes, max_bytes, blocking) = (dir.clone(), *segment_bytes, *max_bytes, *blocking);
                Self::Spool(Box::new(Writer::open(SpoolOptions { dir, segment_bytes, max_bytes, blocking })?))
            }
        })
    }

    /// Buffers one line that was read at `now` since 1970.
    pub(crate) fn append(&mut self, now: Now, line: &Line<'_>) {
        match self {
            Self::None => {}
            Self::JsonFile(file) => file.append(now, line),
            Self::Spool(spool) => spool.append(now.ms(), line),
        }
    }

    /// Writes what was appended. An error costs lines, which are counted, never the container.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::None => Ok(()),
            Self::JsonFile(file) => file.flush(),
            Self::Spool(spool) => spool.flush(),
        }
    }

    /// Nothing follows; the number of lines dropped in all.
    pub(crate) fn end(&mut self, now: Now) -> (u64, io::Result<()>) {
        match self {
            Self::None => (0, Ok(())),
            Self::JsonFile(file) => {
                let flushed = file.flush();
                (file.dropped(), flushed)
            }
            Self::Spool(spool) => spool.end(now.ms()),
        }
    }

    /// The container must not be read from until the reader has made room.
    pub(crate) fn must_block(&self) -> bool {
        matches!(self, Self::Spool(spool) if spool.must_block())
    }

    /// The reader may have made room.
    pub(crate) fn note_deletions(&mut self) {
        if let Self::Spool(spool) = self {
            spool.note_deletions();
        }
    }

    /// When to call [`Self::look_if_due`], where the container waits for it.
    pub(crate) fn look_at(&self) -> Option<Instant> {
        match self {
            Self::Spool(spool) if spool.must_block() => spool.look_at(),
            Self::Spool(_) | Self::None | Self::JsonFile(_) => None,
        }
    }

    /// Looks for room that nobody told of.
    pub(crate) fn look_if_due(&mut self, now: Instant) {
        if let Self::Spool(spool) = self {
            spool.look_if_due(now);
        }
    }

    /// Up to where there is something to read.
    pub(crate) fn position(&self) -> Option<Position> {
        match self {
            Self::Spool(spool) => Some(spool.position()),
            Self::None | Self::JsonFile(_) => None,
        }
    }
}

/// A moment, as time since 1970.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now(std::time::Duration);

impl Now {
    pub(crate) fn read() -> Self {
        // A clock before 1970 reads as 1970.
        Self(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
    }

    pub(crate) fn ms(self) -> u64 {
        u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX)
    }

    fn ns(self) -> i128 {
        i128::try_from(self.0.as_nanos()).unwrap_or(i128::MAX)
    }
}
