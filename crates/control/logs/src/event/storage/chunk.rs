//! The index of a segment: which span of time each stretch of the file covers.

use super::record::Record;

/// A stretch of a segment that is read as a whole: some records, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chunk {
    /// Where it starts in the file.
    pub(super) start: u64,
    /// Where it ends.
    pub(super) end: u64,
    /// The span of time of its events, both ends included.
    pub(super) span: Span,
}

/// A span of time, both ends included; empty when `oldest` is after `newest`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) oldest: i64,
    pub(super) newest: i64,
}

/// What is known of a segment without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Summary {
    /// Sequence number of its first event: part of its name.
    pub(super) first: u64,
    /// Sequence number after its last event.
    pub(super) next: u64,
    /// Where its records end in the file.
    pub(super) end: u64,
    pub(super) span: Span,
    /// When its last record came.
    pub(super) last_ingestion: i64,
}

/// A segment's summary and its chunks.
#[derive(Debug, Clone)]
pub(super) struct Index {
    pub(super) summary: Summary,
    pub(super) chunks: Vec<Chunk>,
    chunk_bytes: u64,
}

impl Span {
    pub(super) const EMPTY: Self = Self { oldest: i64::MAX, newest: i64::MIN };

    pub(super) fn is_empty(self) -> bool {
        self.oldest > self.newest
    }

    /// The least span that contains both.
    #[must_use]
    pub(super) fn with(self, other: Self) -> Self {
        Self { oldest: self.oldest.min(other.oldest), newest: self.newest.max(other.newest) }
    }

    /// Whether a moment is in both.
    pub(super) fn meets(self, other: Self) -> bool {
        self.oldest <= other.newest && other.oldest <= self.newest && !self.is_empty() && !other.is_empty()
    }
}

impl Index {
    /// The index of a segment without records. A chunk is full when it has `chunk_bytes`.
    pub(super) fn empty(first: u64, chunk_bytes: u64) -> Self {
        let summary = Summary { first, next: first, end: 0, span: Span::EMPTY, last_ingestion: i64::MIN };
        Self { summary, chunks: Vec::new(), chunk_bytes }
    }

    /// Adds the record that follows, `start..end` in the file.
    pub(super) fn add(&mut self, start: u64, end: u64, record: &Record<'_>) {
        let span = Span { oldest: record.first_timestamp, newest: record.last_timestamp() };
        self.extend(start, end, span, record.next_sequence(), record.ingestion);
    }

    /// As [`Index::add`], for one who knows what the record holds.
    pub(super) fn extend(&mut self, start: u64, end: u64, span: Span, next: u64, ingestion: i64) {
        match self.chunks.last_mut() {
            Some(last) if last.end == start && last.end - last.start < self.chunk_bytes => {
                last.end = end;
                last.span = last.span.with(span);
            }
            _ => self.chunks.push(Chunk { start, end, span }),
        }
        let summary = &mut self.summary;
        summary.end = end;
        summary.next = summary.next.max(next);
        summary.span = summary.span.with(span);
        summary.last_ingestion = summary.last_ingestion.max(ingestion);
    }
}
