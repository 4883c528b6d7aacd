//! The shim's end: append, close segments, know how full the spool is.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
    time::{Duration, Instant},
};

use nix::fcntl::OFlag;

use super::{
    Position,
    format::{Line, MAGIC, encode_end, encode_gap, encode_line, segment_path, segments},
};

/// A full spool is looked at this often: the reader says when it has deleted something, but an agent of another version
/// says nothing, and one that was killed may have deleted before it could speak.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// See [`LogSink::Spool`](crate::spec::LogSink::Spool).
#[derive(Debug, Clone)]
pub(crate) struct SpoolOptions {
    pub dir: PathBuf,
    pub segment_bytes: u64,
    pub max_bytes: u64,
    pub blocking: bool,
}

/// Appends to one spool.
#[derive(Debug)]
pub(crate) struct Writer {
    options: SpoolOptions,
    looked_at: Instant,
    /// The bytes of every segment that the reader has not deleted.
    sizes: BTreeMap<u64, u64>,
    number: u64,
    file: File,
    buffer: Vec<u8>,
    buffered_lines: u64,
    /// What the gap records in the buffer tell of.
    buffered_gap: u64,
    dropped: u64,
    /// Dropped since the last gap record.
    gap: u64,
}

impl Writer {
    pub(crate) fn open(options: SpoolOptions) -> io::Result<Self> {
        fs::create_dir_all(&options.dir)?;
        let mut sizes = BTreeMap::new();
        for number in segments(&options.dir)? {
            sizes.insert(number, fs::metadata(segment_path(&options.dir, number))?.len());
        }
        let number = sizes.last_key_value().map_or(1, |(last, _)| last + 1);
        let file = create(&options, number)?;
        sizes.insert(number, MAGIC.len() as u64);
        let (buffer, buffered_lines, buffered_gap, dropped, gap) = (Vec::new(), 0, 0, 0, 0);
        let looked_at = Instant::now();
        Ok(Self { options, looked_at, sizes, number, file, buffer, buffered_lines, buffered_gap, dropped, gap })
    }

    /// The reader may have deleted something.
    pub(crate) fn note_deletions(&mut self) {
        self.looked_at = Instant::now();
        if let Ok(present) = segments(&self.options.dir) {
            self.sizes.retain(|number, _| *number == self.number || present.contains(number));
        }
    }

    /// When a full spool is to be looked at again though the reader has said nothing.
    pub(crate) fn look_at(&self) -> Option<Instant> {
        self.is_full().then(|| self.looked_at + LOOK_INTERVAL)
    }

    /// Looks when it is time to.
    pub(crate) fn look_if_due(&mut self, now: Instant) {
        if self.look_at().is_some_and(|at| at <= now) {
            self.note_deletions();
        }
    }

    /// Where the next record will be written: what a reader has read to the end when it is there too.
    pub(crate) fn position(&self) -> Position {
        Position { segment: self.number, offset: self.sizes.get(&self.number).copied().unwrap_or_default() }
    }

    /// The container must wait: do not read its output for now.
    pub(crate) fn must_block(&self) -> bool {
        self.options.blocking && self.is_full()
    }

    fn is_full(&self) -> bool {
        self.sizes.values().sum::<u64>() >= self.options.max_bytes
    }

    pub(crate) fn append(&mut self, time_ms: u64, line: &Line<'_>) {
        if !self.options.blocking && self.is_full() {
            self.look_if_due(Instant::now());
        }
        if !self.options.blocking && self.is_full() {
            self.dropped += 1;
            self.gap += 1;
            return;
        }
        self.append_gap(time_ms);
        encode_line(&mut self.buffer, time_ms, line);
        self.buffered_lines += 1;
    }

    fn append_gap(&mut self, time_ms: u64) {
        if self.gap > 0 {
            encode_gap(&mut self.buffer, time_ms, self.gap);
            self.buffered_gap += std::mem::take(&mut self.gap);
        }
    }

    /// Writes what was appended. When the disk refuses, those lines are counted as dropped: a full disk must not stop
    /// a container.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let written = self.write_buffer();
        if written.is_err() {
            self.dropped += self.buffered_lines;
            self.gap += self.buffered_lines + self.buffered_gap;
        }
        // A burst's memory is not kept for the quiet times.
        self.buffer = Vec::new();
        (self.buffered_lines, self.buffered_gap) = (0, 0);
        written
    }

    /// Nothing follows; how many lines were dropped last is said although the spool is full. Returns the lines dropped in all.
    pub(crate) fn end(&mut self, time_ms: u64) -> (u64, io::Result<()>) {
        let flushed = self.flush();
        self.append_gap(time_ms);
        encode_end(&mut self.buffer, time_ms, self.dropped);
        (self.dropped, flushed.and(self.write_buffer()))
    }

    fn write_buffer(&mut self) -> io::Result<()> {
        // A segment that could not be followed by another is not written on: it would outgrow what the reader may delete.
        if self.size()? >= self.options.segment_bytes {
            self.next_segment()?;
        }
        let size = self.size()?;
        if let Err(error) = self.file.write_all(&self.buffer) {
            // Part of it may be there: take it back, or the next record would be read as its rest.
            self.file.set_len(size)?;
            return Err(error);
        }
        let size = size + self.buffer.len() as u64;
        self.sizes.insert(self.number, size);
        // A full spool closes its last segment too, so that the reader may delete all there is. What was written is there,
        // whether or not that can be done now.
        if size >= self.options.segment_bytes || self.is_full() {
            let _ = self.next_segment();
        }
        Ok(())
    }

    /// Bytes of the segment that is written to.
    fn size(&self) -> io::Result<u64> {
        self.sizes.get(&self.number).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn next_segment(&mut self) -> io::Result<()> {
        self.file = create(&self.options, self.number + 1)?;
        self.number += 1;
        self.sizes.insert(self.number, MAGIC.len() as u64);
        Ok(())
    }
}

/// A segment appears whole or not at all: where a higher number is, the reader takes all lower ones for complete.
fn create(spool: &SpoolOptions, number: u64) -> io::Result<File> {
    let staged = spool.dir.join("segment.tmp");
    // Appending: after a failed write was taken back, the next one goes to the new end.
    let mut options = File::options();
    options.write(true).create(true).truncate(true).mode(0o600).custom_flags(OFlag::O_APPEND.bits());
    let mut file = options.open(&staged)?;
    file.write_all(MAGIC)?;
    fs::rename(&staged, segment_path(&spool.dir, number))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::super::{Reader, Record, Stream};
    use super::*;

    fn put(writer: &mut Writer, text: &[u8]) -> io::Result<()> {
        writer.append(7, &Line { stream: Stream::Stdout, bytes: text, partial: false });
        writer.flush()
    }

    /// What was dropped, as the reader is told of it: in gaps, and in all at the end.
    fn told(dir: &TempDir) -> (u64, Option<u64>) {
        let records = Reader::open(dir.path()).unwrap().read(1 << 20).unwrap().records;
        let (mut gaps, mut all) = (0, None);
        for (_, record) in records {
            match record {
                Record::Gap { dropped, .. } => gaps += dropped,
                Record::End { dropped, .. } => all = Some(dropped),
                Record::Line { .. } => {}
            }
        }
        (gaps, all)
    }

    #[tokio::test]
    async fn the_last_gap_is_told_though_there_was_never_room_again() {
        let dir = TempDir::new().unwrap();
        let options = SpoolOptions { dir: dir.path().to_owned(), segment_bytes: 200, max_bytes: 1000, blocking: false };
        let mut writer = Writer::open(options).unwrap();
        for _ in 0..100 {
            put(&mut writer, &[b'x'; 60]).unwrap();
        }
        let (dropped, ended) = writer.end(9);
        ended.unwrap();
        assert!(dropped > 0);
        assert_eq!(told(&dir), (dropped, Some(dropped)));
    }

    #[tokio::test]
    async fn a_gap_that_the_disk_refused_is_told_when_it_takes_it() {
        let dir = TempDir::new().unwrap();
        let options =
            SpoolOptions { dir: dir.path().to_owned(), segment_bytes: 1000, max_bytes: 10_000, blocking: false };
        let mut writer = Writer::open(options).unwrap();
        put(&mut writer, b"whole").unwrap();
        // Open for reading alone: every write fails, as on a disk that is full.
        let segment = File::open(segment_path(dir.path(), 1)).unwrap();
        let good = std::mem::replace(&mut writer.file, segment);
        for _ in 0..5 {
            assert!(put(&mut writer, b"lost").is_err());
        }
        writer.file = good;
        put(&mut writer, b"again").unwrap();
        let (dropped, ended) = writer.end(9);
        ended.unwrap();
        assert_eq!((dropped, told(&dir)), (5, (5, Some(5))));
    }
}
