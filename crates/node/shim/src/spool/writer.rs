//! The shim's end: append, close segments, know how full the spool is.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Write},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::fs::OpenOptionsExt,
    },
    path::PathBuf,
};

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use super::format::{Line, MAGIC, encode_end, encode_gap, encode_line, segment_number, segment_path, segments};

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
    watch: Inotify,
    /// The bytes of every segment that the reader has not deleted.
    sizes: BTreeMap<u64, u64>,
    number: u64,
    file: File,
    buffer: Vec<u8>,
    buffered_lines: u64,
    dropped: u64,
    /// Dropped since the last gap record.
    gap: u64,
}

impl Writer {
    pub(crate) fn open(options: SpoolOptions) -> io::Result<Self> {
        fs::create_dir_all(&options.dir)?;
        let watch = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        watch.add_watch(&options.dir, AddWatchFlags::IN_DELETE)?;
        let mut sizes = BTreeMap::new();
        for number in segments(&options.dir)? {
            sizes.insert(number, fs::metadata(segment_path(&options.dir, number))?.len());
        }
        let number = sizes.last_key_value().map_or(1, |(last, _)| last + 1);
        let file = create(&options, number)?;
        sizes.insert(number, MAGIC.len() as u64);
        let (buffer, dropped, gap) = (Vec::new(), 0, 0);
        Ok(Self { options, watch, sizes, number, file, buffer, buffered_lines: 0, dropped, gap })
    }

    /// Becomes readable when the reader has deleted something; then call [`Self::note_deletions`].
    pub(crate) fn deletions(&self) -> BorrowedFd<'_> {
        self.watch.as_fd()
    }

    pub(crate) fn note_deletions(&mut self) {
        while let Ok(events) = self.watch.read_events() {
            for number in events.iter().filter_map(|event| segment_number(event.name.as_deref()?)) {
                self.sizes.remove(&number);
            }
        }
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
            self.dropped += 1;
            self.gap += 1;
            return;
        }
        if self.gap > 0 {
            encode_gap(&mut self.buffer, time_ms, self.gap);
            self.gap = 0;
        }
        encode_line(&mut self.buffer, time_ms, line);
        self.buffered_lines += 1;
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
            self.gap += self.buffered_lines;
        }
        // A burst's memory is not kept for the quiet times.
        self.buffer = Vec::new();
        self.buffered_lines = 0;
        written
    }

    /// Nothing follows. Returns the lines dropped in all.
    pub(crate) fn end(&mut self, time_ms: u64) -> (u64, io::Result<()>) {
        let flushed = self.flush();
        encode_end(&mut self.buffer, time_ms, self.dropped);
        (self.dropped, flushed.and(self.write_buffer()))
    }

    fn write_buffer(&mut self) -> io::Result<()> {
        let Some(size) = self.sizes.get(&self.number).copied() else { return Err(io::ErrorKind::NotFound.into()) };
        if let Err(error) = self.file.write_all(&self.buffer) {
            // Part of it may be there: take it back, or the next record would be read as its rest.
            self.file.set_len(size)?;
            return Err(error);
        }
        let size = size + self.buffer.len() as u64;
        self.sizes.insert(self.number, size);
        // A full spool closes its last segment too, so that the reader may delete all there is.
        if size >= self.options.segment_bytes || self.is_full() {
            self.next_segment()?;
        }
        Ok(())
    }

    fn next_segment(&mut self) -> io::Result<()> {
        self.file = create(&self.options, self.number + 1)?;
        self.number += 1;
        self.sizes.insert(self.number, MAGIC.len() as u64);
        Ok(())
    }
}

fn create(options: &SpoolOptions, number: u64) -> io::Result<File> {
    let path = segment_path(&options.dir, number);
    // Appending: after a failed write was taken back, the next one goes to the new end.
    let mut file = File::options().append(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(MAGIC)?;
    Ok(file)
}
