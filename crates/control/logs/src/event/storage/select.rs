//! Reading: the first events of a range, in order, of one stream or of many.
//!
//! Segments and chunks wait in a queue by the first place in the order that an event of theirs can have. The first of the
//! queue is taken, a segment is replaced by its chunks, a chunk is read; events collect in a heap that never holds more than
//! a page. When the page is full and the first of the queue can only hold later events, the page is final. So a page costs
//! the chunks that it comes from, however large the group is, and memory is bounded by a page and a chunk.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::EngineError;
use super::chunk::{Chunk, Span, Summary};
use super::files::Files;
use super::group::Group;
use super::id::{Position, StreamId};
use super::options::Options;
use super::record::{self, Found};
use super::stream::{Candidate, Stream};

/// Which end of the range comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Ascending.
    OldestFirst,
    /// Descending.
    NewestFirst,
}

/// Whose events are asked for.
#[derive(Debug, Clone, Copy)]
pub enum Streams<'q> {
    /// Those of all streams.
    All,
    /// Those of these streams.
    Only(&'q [StreamId]),
}

/// What is asked for.
pub struct Query<'q> {
    /// Whose events.
    pub streams: Streams<'q>,
    /// Which events.
    pub range: Range<Position>,
    /// From which end.
    pub order: Order,
    /// How many events a page has at most.
    pub events_max: usize,
    /// How many bytes a page has at most, each event counted as its text and [`Query::EVENT_BYTES`]. One event always fits.
    pub bytes_max: usize,
    /// After about so many bytes of files the page ends, full or not.
    pub scan_bytes_max: u64,
    /// Events whose text does not match are left out.
    pub matches: &'q dyn Fn(&str) -> bool,
}

/// An event as it was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its time, its stream and its number in the stream.
    pub position: Position,
    /// When it was put.
    pub ingestion: i64,
    /// Its text.
    pub message: String,
}

/// The first events of a range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// In the order asked for.
    pub events: Vec<Event>,
    /// What of the range is left to read; `None` when this was all.
    pub rest: Option<Range<Position>>,
}

impl Query<'_> {
    /// What an event counts besides its text, in puts and in pages.
    pub const EVENT_BYTES: usize = 26;

    /// The times that events of the range can have.
    fn span(&self) -> Span {
        Span { oldest: self.range.start.timestamp, newest: self.range.end.time_before() }
    }

    /// The place of a position in the order asked for: less is earlier in the page.
    fn rank(&self, position: Position) -> Rank {
        let Position { timestamp, stream, sequence } = position;
        match self.order {
            Order::OldestFirst => (timestamp, stream.0, sequence),
            Order::NewestFirst => (!timestamp, !stream.0, !sequence),
        }
    }

    /// The least first part of a rank that an event of the range and of this span can have.
    fn first_rank(&self, span: Span) -> i64 {
        let range = self.span();
        match self.order {
            Order::OldestFirst => span.oldest.max(range.oldest),
            Order::NewestFirst => !span.newest.min(range.newest),
        }
    }

    /// The part of the range whose ranks start with `first_rank` or more.
    fn starting_at(&self, first_rank: i64) -> Range<Position> {
        match self.order {
            Order::OldestFirst => Position::at(first_rank)..self.range.end,
            Order::NewestFirst => self.range.start..Position::at((!first_rank).saturating_add(1)),
        }
    }

    /// The part of the range that comes after an event.
    fn after(&self, last: Position) -> Range<Position> {
        match self.order {
            Order::OldestFirst => last.successor()..self.range.end,
            Order::NewestFirst => self.range.start..last,
        }
    }
}

type Rank = (i64, u64, u64);

/// The first events of the query's range.
pub(super) fn select(group: &Group, query: &Query<'_>, files: &Files, options: &Options) -> Result<Page, EngineError> {
    let mut sources = Sources { query, queue: BinaryHeap::new(), entries: Vec::new() };
    if query.range.start < query.range.end {
        for stream in streams(group, query, files, options)? {
            sources.add_stream(stream);
        }
    }
    let mut page = Filling { query, kept: BinaryHeap::new(), bytes: 0, cut: None };
    let (mut scanned, mut buffer) = (0, Vec::new());
    let first_rank = query.first_rank(Span { oldest: i64::MIN, newest: i64::MAX });
    while let Some((rank, source)) = sources.next() {
        if page.cut.is_some_and(|cut| rank > cut.0) {
            break;
        }
        // Without progress there is no stopping: chunks that overlap the first moment of the range are read in one go.
        if scanned >= query.scan_bytes_max && rank > first_rank {
            return Ok(page.stop_before(rank));
        }
        match source {
            Source::Segment(listed, segment) => {
                for chunk in listed.stream.chunks(files, segment)? {
                    sources.add_chunk(&listed, segment.first, chunk);
                }
            }
            Source::Chunk(listed, first, chunk) => {
                scanned += chunk.end - chunk.start;
                if read_chunk(&listed.stream, first, chunk, files, &mut buffer)? {
                    page.take(&listed, &buffer);
                }
            }
        }
    }
    Ok(page.finish())
}

fn streams(
    group: &Group,
    query: &Query<'_>,
    files: &Files,
    options: &Options,
) -> Result<Vec<Arc<Stream>>, EngineError> {
    match query.streams {
        Streams::All => group.streams_with(query.span(), files, options),
        Streams::Only(ids) => ids.iter().filter_map(|&id| group.stream(id, files, options).transpose()).collect(),
    }
}

/// Reads a chunk into the buffer; false when its segment has been removed meanwhile.
fn read_chunk(
    stream: &Stream,
    first: u64,
    chunk: Chunk,
    files: &Files,
    buffer: &mut Vec<u8>,
) -> Result<bool, EngineError> {
    let segment = stream.segment(first);
    // A chunk is not longer than a segment, which was in memory when it was written.
    buffer.resize(usize::try_from(chunk.end - chunk.start).unwrap_or(usize::MAX), 0);
    let read = files.get(segment).and_then(|file| {
        file.read_exact_at(buffer, chunk.start).map_err(EngineError::file("read", &files.path(segment)))
    });
    match read {
        Err(_) if !stream.has(first) => Ok(false),
        read => read.map(|()| true),
    }
}

/// What may hold events of the range, by where the first of them can be.
struct Sources<'s> {
    query: &'s Query<'s>,
    /// The least first rank first; among equals, the first to come.
    queue: BinaryHeap<Reverse<(i64, usize)>>,
    entries: Vec<Option<Source>>,
}

enum Source {
    Segment(Arc<Listed>, Summary),
    Chunk(Arc<Listed>, u64, Chunk),
}

/// A stream as it was when its segments were listed.
struct Listed {
    stream: Arc<Stream>,
    /// Events below this sequence number are shown. Later ones, which may become durable while the page is read, must not be: a
    /// reader goes on behind the last event of a page, and would never see what was put before that one and not shown.
    durable: u64,
}

impl Sources<'_> {
    fn add_stream(&mut self, stream: Arc<Stream>) {
        // In this order: what is durable is in the index.
        let durable = stream.durable();
        let candidates = stream.candidates(self.query.span());
        let listed = Arc::new(Listed { stream, durable });
        for candidate in candidates {
            match candidate {
                Candidate::Sealed(segment) => self.add(segment.span, Source::Segment(Arc::clone(&listed), segment)),
                Candidate::Active(first, chunks) => {
                    for chunk in chunks {
                        self.add_chunk(&listed, first, chunk);
                    }
                }
            }
        }
    }

    fn add_chunk(&mut self, listed: &Arc<Listed>, first: u64, chunk: Chunk) {
        if chunk.span.meets(self.query.span()) {
            self.add(chunk.span, Source::Chunk(Arc::clone(listed), first, chunk));
        }
    }

    fn add(&mut self, span: Span, source: Source) {
        self.queue.push(Reverse((self.query.first_rank(span), self.entries.len())));
        self.entries.push(Some(source));
    }

    fn next(&mut self) -> Option<(i64, Source)> {
        let Reverse((rank, entry)) = self.queue.pop()?;
        Some((rank, self.entries.get_mut(entry)?.take()?))
    }
}

/// A page that is being filled.
struct Filling<'p> {
    query: &'p Query<'p>,
    /// The greatest rank on top: what falls out when the page is too full.
    kept: BinaryHeap<Kept>,
    bytes: usize,
    /// The least rank that fell out: nothing from there on belongs to the page.
    cut: Option<Rank>,
}

struct Kept(Rank, Event);

impl Filling<'_> {
    /// Takes what belongs to the page from a chunk.
    fn take(&mut self, listed: &Listed, chunk: &[u8]) {
        let Listed { stream, durable } = listed;
        for found in record::read(chunk) {
            let record = match found {
                Found::Record(_, record) => record,
                Found::Damage(at) | Found::Tail(at) => {
                    let stream = stream.id().0;
                    tracing::error!(stream, bytes = at.len(), "damaged log events are left out of an answer");
                    continue;
                }
            };
            for event in record.events().take_while(|event| event.sequence < *durable) {
                let position = Position { timestamp: event.timestamp, stream: stream.id(), sequence: event.sequence };
                let rank = self.query.rank(position);
                if !self.query.range.contains(&position) || self.cut.is_some_and(|cut| rank >= cut) {
                    continue;
                }
                let message = String::from_utf8_lossy(event.message);
                if (self.query.matches)(&message) {
                    let message = message.into_owned();
                    self.keep(Kept(rank, Event { position, ingestion: record.ingestion, message }));
                }
            }
        }
    }

    fn keep(&mut self, event: Kept) {
        self.bytes += event.1.bytes();
        self.kept.push(event);
        while self.kept.len() > self.query.events_max || (self.bytes > self.query.bytes_max && self.kept.len() > 1) {
            let Some(Kept(rank, event)) = self.kept.pop() else { return };
            self.bytes -= event.bytes();
            self.cut = Some(rank);
        }
    }

    /// The page, when all that could belong to it has been read.
    fn finish(self) -> Page {
        let (query, cut) = (self.query, self.cut);
        let events = self.into_events();
        let last = events.last().map(|event| event.position);
        let rest = match (cut, last) {
            (Some(_), Some(last)) => Some(query.after(last)),
            // A page of no events at all was asked for.
            (Some(_), None) => Some(query.range.clone()),
            (None, _) => None,
        };
        Page { events, rest }
    }

    /// The page, when nothing of this first rank or a greater one has been read to the end.
    fn stop_before(mut self, first_rank: i64) -> Page {
        self.kept.retain(|Kept(rank, _)| rank.0 < first_rank);
        let rest = Some(self.query.starting_at(first_rank));
        Page { events: self.into_events(), rest }
    }

    fn into_events(self) -> Vec<Event> {
        self.kept.into_sorted_vec().into_iter().map(|Kept(_, event)| event).collect()
    }
}

impl Event {
    fn bytes(&self) -> usize {
        self.message.len() + Query::EVENT_BYTES
    }
}

impl Ord for Kept {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}

impl PartialOrd for Kept {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Kept {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Kept {}
