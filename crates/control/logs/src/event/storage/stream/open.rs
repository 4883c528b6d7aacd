//! Opening a stream: from files to what is known of them, and the repair of what a crash has left.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::{Segments, Stream, write_footer};
use crate::event::storage::chunk::{Index, Summary};
use crate::event::storage::files::Files;
use crate::event::storage::id::{GroupId, SegmentId, StreamId};
use crate::event::storage::options::Options;
use crate::event::storage::record::{self, Found};
use crate::event::storage::{EngineError, footer};

/// No stream gets this many events: a greater jump of sequence numbers is damage that looks like a record.
const SEQUENCE_JUMP_MAX: u64 = 1 << 40;

impl Stream {
    /// Opens the stream that has segments with these first sequence numbers, in ascending order.
    pub(in crate::event::storage) fn open(
        group: GroupId,
        id: StreamId,
        segments: &[u64],
        files: &Files,
        options: &Options,
    ) -> Result<Self, EngineError> {
        let Some((&last, earlier)) = segments.split_last() else { return Ok(Self::new(group, id, options)) };
        let segment = |first| SegmentId { group, stream: id, first };
        let sealed = earlier.iter().map(|&first| open_sealed(segment(first), files, options));
        let sealed = sealed.collect::<Result<Vec<_>, _>>()?;
        let (path, file) = (files.path(segment(last)), files.get(segment(last))?);
        let footer = footer::read(&file, last).map_err(EngineError::file("read", &path))?;
        let segments = match footer {
            // Sealed, and the process ended before it started the next one.
            Some((summary, _)) => Segments { sealed: [sealed, vec![summary]].concat(), active: None },
            None => Segments { sealed, active: Some(scan(&file, &path, last, options)?) },
        };
        Ok(Self::with(group, id, options, segments))
    }
}

/// A segment that is not the last. One without a footer gets it now.
fn open_sealed(segment: SegmentId, files: &Files, options: &Options) -> Result<Summary, EngineError> {
    let (path, file) = (files.path(segment), files.get(segment)?);
    if let Some((summary, _)) = footer::read(&file, segment.first).map_err(EngineError::file("read", &path))? {
        return Ok(summary);
    }
    let index = scan(&file, &path, segment.first, options)?;
    write_footer(&file, index.summary.end, &footer::encode(&index)).map_err(EngineError::file("seal", &path))?;
    Ok(index.summary)
}

/// Reads a whole segment: its index. A write that was cut short at its end is cut off; a last record of full length whose
/// checksum is wrong was acknowledged, as a rule, and stays for whoever can repair it.
fn scan(file: &File, path: &Path, first: u64, options: &Options) -> Result<Index, EngineError> {
    let length = file.metadata().map_err(EngineError::file("read", path))?.len();
    let size = usize::try_from(length).unwrap_or(usize::MAX);
    let mut bytes = vec![0; size];
    file.read_exact_at(&mut bytes, 0).map_err(EngineError::file("read", path))?;
    let mut index = Index::empty(first, options.chunk_bytes);
    for found in record::read(&bytes) {
        match found {
            Found::Record(at, record) if is_next(&index, &record) => index.add(at.start as u64, at.end as u64, &record),
            Found::Tail(at) if record::was_whole(&bytes[at.clone()]) => report_damage(path, &at),
            Found::Record(at, _) | Found::Damage(at) => report_damage(path, &at),
            Found::Tail(at) => {
                let (file_name, bytes) = (path.display(), at.len());
                tracing::warn!(file = %file_name, at = at.start, bytes, "a torn write at the end is cut off");
                file.set_len(at.start as u64).map_err(EngineError::file("truncate", path))?;
            }
        }
    }
    // New records go after all that stays, also after damage at the very end.
    index.summary.end = file.metadata().map_err(EngineError::file("read", path))?.len();
    Ok(index)
}

fn report_damage(path: &Path, at: &Range<usize>) {
    tracing::error!(file = %path.display(), from = at.start, to = at.end, "damaged log events are skipped");
}

fn is_next(index: &Index, record: &record::Record<'_>) -> bool {
    let expected = index.summary.next;
    (expected..expected.saturating_add(SEQUENCE_JUMP_MAX)).contains(&record.first_sequence)
}
