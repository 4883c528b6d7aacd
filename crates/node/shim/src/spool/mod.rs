//! Log records on disk, on their way from a container to a log service that the agent speaks to.
//!
//! The shim appends, the agent reads, ships, commits and so deletes; the two share nothing but a directory, so either
//! may die at any moment. Records are delivered in order and at least once: whatever was not committed is read again.
//!
//! # Format
//! The directory holds segments `<number, 16 hex digits>.seg`, numbered upwards, and the reader's `position`. A segment
//! is the 8 bytes `ESTVSPL1` and records; a record is, little-endian,
//!
//! | bytes | what |
//! |---|---|
//! | 4 | length of all that follows |
//! | 1 | kind: 0 stdout, 1 stderr, 2 gap, 3 end |
//! | 1 | flags: bit 0 = no newline followed: the line goes on in the next record of its stream, or the stream ended |
//! | 8 | when it was read from the container, milliseconds since 1970 |
//! | n | a line without its newline, at most 16 KiB; of a gap and of the end: lines dropped, 8 bytes |
//!
//! A segment never changes once a higher number exists; it appears with its first 8 bytes, by rename. A record is whole or it is the last of its segment, cut short
//! by the death of the shim or of the machine (where a file's end may read as zeros: a length below 10 ends a segment).
//! `position` is `<segment> <offset>\n` in decimal, replaced by rename; one that is not whole is none. Its segment may be
//! gone already: then the next one is read from its beginning.

mod format;
mod reader;
mod writer;

#[cfg(test)]
mod tests;

pub(crate) use self::{
    format::Line,
    writer::{SpoolOptions, Writer},
};
pub use self::{
    format::{LINE_BYTES_MAX, Record, Stream},
    reader::{Batch, Position, Reader, SpoolError},
};
