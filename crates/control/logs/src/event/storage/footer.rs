//! The end of a sealed segment: its index, so that it need not be read to be known.
//!
//! ```text
//! records │ first u64 · next u64 · end u64 · oldest i64 · newest i64 · ingestion i64 │ chunks │ length u32 · CRC-32 u32 · magic
//! chunk: start u64 · end u64 · oldest i64 · newest i64
//! ```

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::chunk::{Chunk, Index, Span, Summary};

const MAGIC: [u8; 8] = *b"ELFOOT1\n";
const TRAILER_BYTES: usize = 16;
const SUMMARY_BYTES: usize = 48;
const CHUNK_BYTES: usize = 32;

/// The longest footer: of a segment of 1 GiB in chunks of 4 KiB.
const BODY_BYTES_MAX: usize = SUMMARY_BYTES + CHUNK_BYTES * 262_144;

/// The footer of a segment.
pub(super) fn encode(index: &Index) -> Vec<u8> {
    let Summary { first, next, end, span, last_ingestion } = index.summary;
    let mut out = Vec::with_capacity(SUMMARY_BYTES + index.chunks.len() * CHUNK_BYTES + TRAILER_BYTES);
    for number in [first, next, end] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    for number in [span.oldest, span.newest, last_ingestion] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    for chunk in &index.chunks {
        out.extend_from_slice(&chunk.start.to_le_bytes());
        out.extend_from_slice(&chunk.end.to_le_bytes());
        out.extend_from_slice(&chunk.span.oldest.to_le_bytes());
        out.extend_from_slice(&chunk.span.newest.to_le_bytes());
    }
    let crc = crc32fast::hash(&out);
    // The number of chunks is bounded by the size of a segment, far below 4 GiB.
    let length = u32::try_from(out.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(&MAGIC);
    out
}

/// The summary and the chunks of a segment; `None` when the file does not end with a sound footer that is its own.
pub(super) fn read(file: &File, first: u64) -> io::Result<Option<(Summary, Vec<Chunk>)>> {
    let length = file.metadata()?.len();
    let Some(trailer_at) = length.checked_sub(TRAILER_BYTES as u64) else { return Ok(None) };
    let mut trailer = [0; TRAILER_BYTES];
    file.read_exact_at(&mut trailer, trailer_at)?;
    let [l0, l1, l2, l3, c0, c1, c2, c3, magic @ ..] = trailer;
    let body_length = u32::from_le_bytes([l0, l1, l2, l3]);
    let Ok(size) = usize::try_from(body_length) else { return Ok(None) };
    let Some(body_at) = trailer_at.checked_sub(u64::from(body_length)) else { return Ok(None) };
    if magic != MAGIC || !(SUMMARY_BYTES..=BODY_BYTES_MAX).contains(&size) {
        return Ok(None);
    }
    let mut body = vec![0; size];
    file.read_exact_at(&mut body, body_at)?;
    if crc32fast::hash(&body) != u32::from_le_bytes([c0, c1, c2, c3]) {
        return Ok(None);
    }
    Ok(decode(&body).filter(|(summary, _)| summary.first == first && summary.end == body_at))
}

fn decode(body: &[u8]) -> Option<(Summary, Vec<Chunk>)> {
    let (words, rest) = body.as_chunks::<8>();
    let mut words = words.iter().copied();
    let mut unsigned = || words.next().map(u64::from_le_bytes);
    let [first, next, end] = [unsigned()?, unsigned()?, unsigned()?];
    let mut signed = || words.next().map(i64::from_le_bytes);
    let span = Span { oldest: signed()?, newest: signed()? };
    let last_ingestion = signed()?;
    let mut chunks = Vec::with_capacity(words.len() / 4);
    while let Some(start) = words.next() {
        let [end, oldest, newest] = [words.next()?, words.next()?, words.next()?];
        let span = Span { oldest: i64::from_le_bytes(oldest), newest: i64::from_le_bytes(newest) };
        chunks.push(Chunk { start: u64::from_le_bytes(start), end: u64::from_le_bytes(end), span });
    }
    let sound = chunks.iter().all(|chunk| chunk.start < chunk.end && chunk.end <= end);
    (rest.is_empty() && sound).then_some((Summary { first, next, end, span, last_ingestion }, chunks))
}
