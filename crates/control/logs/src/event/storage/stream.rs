//! One stream: its segments, appending to the last of them, and what is known of them in memory.
//!
//! Locks, in the order in which they are taken: `sync` (one fdatasync at a time), `tail` (one writer at a time), `index`
//! (held for moments only: readers copy what they need, and never wait for a disk).

mod open;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::chunk::{Chunk, Index, Span, Summary};
use super::files::Files;
use super::id::{GroupId, SegmentId, StreamId};
use super::lazy::lock;
use super::options::Options;
use super::record::{self, NewEvent};
use super::{EngineError, footer};

/// What is known of a stream without reading its events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamStats {
    /// Time of the oldest and of the newest event, by their own timestamps.
    pub span: Option<(i64, i64)>,
    /// When the last put came.
    pub last_ingestion: Option<i64>,
    /// How many events have ever been put.
    pub events: u64,
}

/// A stream that has been opened.
pub(super) struct Stream {
    group: GroupId,
    id: StreamId,
    segment_bytes_max: u64,
    chunk_bytes: u64,
    sync: Mutex<Lost>,
    tail: Mutex<Tail>,
    index: Mutex<Segments>,
    /// Events below this sequence number are on the disk. Only these are shown.
    durable: AtomicU64,
}

/// The events after `.0` and up to `.1`, by sequence number: a sync of theirs failed last. The disk may have them or not.
#[derive(Default)]
struct Lost(u64, u64);

/// Where the next record goes.
struct Tail {
    /// The segment that is written, if there is one yet.
    segment: Option<u64>,
    /// Where its records end.
    end: u64,
    next: u64,
    /// A sync has failed: what the file holds from some place on is unknown, so nothing more is written to it.
    abandoned: bool,
}

/// All segments of the stream, oldest first.
struct Segments {
    sealed: Vec<Summary>,
    active: Option<Index>,
}

/// A segment that may hold what a reader looks for.
pub(super) enum Candidate {
    /// Its chunks are in its footer.
    Sealed(Summary),
    /// Its chunks so far.
    Active(u64, Vec<Chunk>),
}

impl Stream {
    /// A stream without events.
    pub(super) fn new(group: GroupId, id: StreamId, options: &Options) -> Self {
        Self::with(group, id, options, Segments { sealed: Vec::new(), active: None })
    }

    fn with(group: GroupId, id: StreamId, options: &Options, segments: Segments) -> Self {
        let active = segments.active.as_ref().map(|index| index.summary);
        let last = active.or_else(|| segments.sealed.last().copied());
        let next = last.map_or(0, |summary| summary.next);
        let tail = Tail {
            segment: active.map(|summary| summary.first),
            end: active.map_or(0, |summary| summary.end),
            next,
            abandoned: false,
        };
        Self {
            group,
            id,
            segment_bytes_max: options.segment_bytes_max,
            chunk_bytes: options.chunk_bytes,
            sync: Mutex::default(),
            tail: Mutex::new(tail),
            index: Mutex::new(segments),
            durable: AtomicU64::new(next),
        }
    }

    pub(super) fn id(&self) -> StreamId {
        self.id
    }

    pub(super) fn segment(&self, first: u64) -> SegmentId {
        SegmentId { group: self.group, stream: self.id, first }
    }

    /// Events below this sequence number may be shown.
    pub(super) fn durable(&self) -> u64 {
        self.durable.load(Ordering::Acquire)
    }

    /// Writes events as one record, and returns how many bytes it has. It is not durable before [`Stream::make_durable`].
    pub(super) fn append(
        &self,
        files: &Files,
        ingestion: i64,
        events: &[NewEvent<'_>],
    ) -> Result<Appended, EngineError> {
        let mut tail = lock(&self.tail);
        let mut bytes = Vec::with_capacity(events.iter().map(|event| event.message.len() + 8).sum::<usize>() + 64);
        record::encode(&mut bytes, tail.next, ingestion, events)?;
        let file = self.file_for(files, &mut tail)?;
        let (start, length) = (tail.end, bytes.len() as u64);
        if let Err(source) = file.write_all_at(&bytes, start) {
            // Best effort: what stays behind is no sound record, and the next one is written over it.
            let _ = file.set_len(start);
            let path = files.path(self.segment(tail.segment.unwrap_or_default()));
            return Err(EngineError::File { doing: "write", path, source });
        }
        tail.end = start + length;
        tail.next = tail.next.saturating_add(events.len() as u64);
        // `encode` has checked that the events are in order of time.
        let ends = [events.first(), events.last()].map(|event| event.map_or(0, |event| event.timestamp));
        let span = Span { oldest: ends[0], newest: ends[1] };
        if let Some(active) = &mut lock(&self.index).active {
            active.extend(start, tail.end, span, tail.next, ingestion);
        }
        Ok(Appended { next: tail.next, bytes: length })
    }

    /// Returns when all events below sequence number `next` are on the disk. Whoever waits meanwhile is served by one sync.
    pub(super) fn make_durable(&self, files: &Files, next: u64) -> Result<(), EngineError> {
        let mut lost = lock(&self.sync);
        let path = |first| files.path(self.segment(first));
        if lost.0 < next && next <= lost.1 {
            let source = std::io::Error::other("an earlier sync of the same events failed");
            return Err(EngineError::file("sync", &files.group_dir(self.group))(source));
        }
        if self.durable() >= next {
            return Ok(());
        }
        let (segment, written) = {
            let tail = lock(&self.tail);
            (tail.segment, tail.next)
        };
        let Some(first) = segment else { return Err(EngineError::Deleted) };
        let file = files.get(self.segment(first));
        let synced = file.and_then(|file| file.sync_data().map_err(EngineError::file("sync", &path(first))));
        match synced {
            Ok(()) => {
                self.durable.fetch_max(written, Ordering::AcqRel);
                Ok(())
            }
            Err(error) => {
                *lost = Lost(self.durable(), written);
                lock(&self.tail).abandoned = true;
                Err(error)
            }
        }
    }

    /// The file that the next record goes to, which is a new one when there is none or the last is full.
    fn file_for(&self, files: &Files, tail: &mut Tail) -> Result<Arc<File>, EngineError> {
        match tail.segment {
            Some(first) if !tail.abandoned && tail.end < self.segment_bytes_max => files.get(self.segment(first)),
            Some(first) => {
                self.seal(files, tail, first)?;
                self.start_segment(files, tail)
            }
            None => self.start_segment(files, tail),
        }
    }

    /// Ends a segment with its footer. An abandoned one is left as it is; it gets its footer when the stream is next opened.
    fn seal(&self, files: &Files, tail: &Tail, first: u64) -> Result<(), EngineError> {
        let footer = match &lock(&self.index).active {
            Some(active) if !tail.abandoned => footer::encode(active),
            _ => return Ok(()),
        };
        let path = files.path(self.segment(first));
        let file = files.get(self.segment(first))?;
        write_footer(&file, tail.end, &footer).map_err(EngineError::file("seal", &path))?;
        self.durable.fetch_max(tail.next, Ordering::AcqRel);
        Ok(())
    }

    /// Starts a new segment, and makes the one before it a sealed one.
    fn start_segment(&self, files: &Files, tail: &mut Tail) -> Result<Arc<File>, EngineError> {
        let file = files.create(self.segment(tail.next))?;
        let mut segments = lock(&self.index);
        let new = Index::empty(tail.next, self.chunk_bytes);
        if let Some(full) = segments.active.replace(new) {
            segments.sealed.push(full.summary);
        }
        *tail = Tail { segment: Some(tail.next), end: 0, next: tail.next, abandoned: false };
        Ok(file)
    }

    /// Removes the segments whose events are all older than `before`, and returns how many bytes of records they had.
    pub(super) fn expire(&self, files: &Files, before: i64) -> Result<u64, EngineError> {
        let mut freed = 0;
        {
            let mut tail = lock(&self.tail);
            let active = lock(&self.index).active.as_ref().map(|active| active.summary);
            if active.is_some_and(|active| !active.span.is_empty() && active.span.newest < before) {
                // The next segment's name keeps the count of events.
                self.start_segment(files, &mut tail)?;
                self.durable.fetch_max(tail.next, Ordering::AcqRel);
            }
        }
        loop {
            let expired = {
                let mut segments = lock(&self.index);
                let at = segments.sealed.iter().position(|segment| segment.span.newest < before);
                at.map(|at| segments.sealed.remove(at))
            };
            let Some(expired) = expired else { return Ok(freed) };
            files.remove(self.segment(expired.first))?;
            freed += expired.end;
        }
    }

    /// The segments there are, by their first sequence numbers.
    pub(super) fn segments(&self) -> Vec<u64> {
        let segments = lock(&self.index);
        let active = segments.active.as_ref().map(|active| &active.summary);
        segments.sealed.iter().chain(active).map(|summary| summary.first).collect()
    }

    /// How many bytes its records have.
    pub(super) fn bytes(&self) -> u64 {
        let segments = lock(&self.index);
        let active = segments.active.as_ref().map(|active| &active.summary);
        segments.sealed.iter().chain(active).map(|summary| summary.end).sum()
    }

    /// The segments that may hold events of this span.
    pub(super) fn candidates(&self, span: Span) -> Vec<Candidate> {
        let segments = lock(&self.index);
        let sealed = segments.sealed.iter().filter(|segment| segment.span.meets(span));
        let mut found: Vec<_> = sealed.map(|segment| Candidate::Sealed(*segment)).collect();
        if let Some(active) = segments.active.as_ref().filter(|active| active.summary.span.meets(span)) {
            let chunks = active.chunks.iter().filter(|chunk| chunk.span.meets(span)).copied().collect();
            found.push(Candidate::Active(active.summary.first, chunks));
        }
        found
    }

    /// The chunks of a sealed segment; of one that has been removed meanwhile there are none.
    pub(super) fn chunks(&self, files: &Files, segment: Summary) -> Result<Vec<Chunk>, EngineError> {
        let id = self.segment(segment.first);
        let read = || -> Result<Vec<Chunk>, EngineError> {
            let file = files.get(id)?;
            let footer = footer::read(&file, segment.first).map_err(EngineError::file("read", &files.path(id)))?;
            // Without a footer (it was abandoned, or is damaged) the segment is one chunk.
            let whole = || vec![Chunk { start: 0, end: segment.end, span: segment.span }];
            Ok(footer.map_or_else(whole, |(_, chunks)| chunks))
        };
        match read() {
            Err(_) if !self.has(segment.first) => Ok(Vec::new()),
            result => result,
        }
    }

    /// Whether the segment is still one of the stream's.
    pub(super) fn has(&self, first: u64) -> bool {
        self.segments().contains(&first)
    }

    /// The time of the newest event.
    pub(super) fn newest(&self) -> Option<i64> {
        self.stats().span.map(|(_, newest)| newest)
    }

    /// What is known of the stream.
    pub(super) fn stats(&self) -> StreamStats {
        let segments = lock(&self.index);
        let active = segments.active.as_ref().map(|active| &active.summary);
        let all = || segments.sealed.iter().chain(active);
        let span = all().fold(Span::EMPTY, |span, segment| span.with(segment.span));
        let last_ingestion = all().map(|segment| segment.last_ingestion).max().filter(|time| *time != i64::MIN);
        let events = all().map(|segment| segment.next).max().unwrap_or(0);
        StreamStats { span: (!span.is_empty()).then_some((span.oldest, span.newest)), last_ingestion, events }
    }
}

/// What [`Stream::append`] did.
pub(super) struct Appended {
    /// Sequence number after the last event: what to make durable.
    pub(super) next: u64,
    /// Length of the record.
    pub(super) bytes: u64,
}

/// Puts the footer right after the records, and makes both durable.
fn write_footer(file: &File, end: u64, footer: &[u8]) -> std::io::Result<()> {
    // A write that failed may have left something beyond the last record.
    file.set_len(end)?;
    file.write_all_at(footer, end)?;
    file.sync_data()
}
