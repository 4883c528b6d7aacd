//! The agent's end: read, ship, commit.

use std::{
    fs::{self, File},
    io::{self, ErrorKind},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::format::{Decoded, MAGIC, Record, decode, segment_path, segments};

/// Bytes of a segment read at once; more than the largest record.
const CHUNK_BYTES: usize = 64 * 1024;

/// Why a spool could not be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} {path}")]
pub struct SpoolError {
    operation: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// A place between two records of a spool; later ones are greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Position {
    /// The segment's number.
    pub segment: u64,
    /// Bytes from the segment's beginning.
    pub offset: u64,
}

/// Records read together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// In order, each behind the place where it begins. Empty: nothing new yet, see
    /// [`Client::await_log`](crate::client::Client::await_log).
    pub records: Vec<(Position, Record)>,
    /// Damaged places that were skipped (a shim or a machine died in mid-write).
    pub corrupt: u64,
}

/// Follows one spool. There must be only one reader of it at a time.
///
/// It holds nothing of the kernel's but the file that it reads. A watch on the directory would be one of the few that a
/// user may have, and containers run as the same user as the agent: they could take them all.
///
/// ```no_run
/// # use estiva_shim::{client::Client, spool::Reader};
/// # async fn example(dir: &std::path::Path, shim: Client) -> Result<(), Box<dyn std::error::Error>> {
/// let mut reader = Reader::open(dir)?;
/// while !reader.is_ended() {
///     let batch = reader.read(1 << 20)?;
///     if batch.records.is_empty() { shim.await_log("web", reader.position()).await?; continue; }
///     // ship the batch, then:
///     reader.commit(reader.position())?;
/// }
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Reader {
    dir: PathBuf,
    position: Position,
    /// What is known to be saved, and cleared away, since this was opened.
    committed: Position,
    open: Option<(u64, File)>,
    ended: bool,
}

impl Reader {
    /// Opens the spool in `dir` (made when absent) at the position that was committed last.
    ///
    /// # Errors
    /// The directory or its position cannot be read.
    pub fn open(dir: &Path) -> Result<Self, SpoolError> {
        let failed = |operation| move |source| SpoolError { operation, path: dir.to_owned(), source };
        fs::create_dir_all(dir).map_err(failed("create"))?;
        let position = Position::load(dir).map_err(failed("read the position of"))?;
        Ok(Self { dir: dir.to_owned(), position, committed: Position::START, open: None, ended: false })
    }

    /// Reads what there is, whole records up to about `bytes_max` bytes (at least one record). Never waits.
    ///
    /// # Errors
    /// A segment cannot be read; nothing was consumed since the last successful read.
    pub fn read(&mut self, bytes_max: usize) -> Result<Batch, SpoolError> {
        let mut batch = Batch::default();
        let mut bytes = 0;
        while !self.ended && (bytes < bytes_max || batch.records.is_empty()) {
            match self.read_next(&mut batch) {
                Ok(Some(consumed)) => bytes += consumed,
                Ok(None) => break,
                // What was read before it is not to be lost; the error comes again.
                Err(_) if !batch.records.is_empty() => break,
                Err(error) => return Err(error),
            }
        }
        Ok(batch)
    }

    /// Reads one chunk, or goes on to the next segment; returns the bytes consumed, `None` when there is nothing more.
    fn read_next(&mut self, batch: &mut Batch) -> Result<Option<usize>, SpoolError> {
        // Listed before the segment is read: what is read after a successor was seen is all there will ever be.
        let successor = self.successor()?;
        let consumed = self.read_chunk(batch, successor.is_some())?;
        if consumed == 0 {
            let Some(next) = successor else { return Ok(None) };
            self.position = Position { segment: next, offset: 0 };
            self.open = None;
        }
        Ok(Some(consumed))
    }

    /// Where the next record will be read.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Everything before `up_to` is safe elsewhere: it will not be read again, and segments that are done are deleted.
    /// Returns whether any was: then the shim should be told, as the container may be waiting for room, see
    /// [`Client::log_freed`](crate::client::Client::log_freed).
    ///
    /// Deletion needs no position: a reader whose segment is gone begins with the next one that there is. So a disk that has
    /// no room for the position gets its room back, and what a death costs until the position is saved is that records of
    /// the segment of `up_to` are read twice. The next commit, of the same place too, saves it.
    ///
    /// # Errors
    /// The position cannot be saved though the disk has room (then what followed the last commit may be read again), or a
    /// segment not deleted.
    pub fn commit(&mut self, up_to: Position) -> Result<bool, SpoolError> {
        if up_to <= self.committed {
            return Ok(false);
        }
        let dir = self.dir.as_path();
        let failed = |operation| move |source| SpoolError { operation, path: dir.to_owned(), source };
        let mut saved = up_to.save(dir);
        let done = segments(dir).map_err(failed("list"))?;
        let mut freed = false;
        for segment in done.into_iter().filter(|segment| *segment < up_to.segment) {
            fs::remove_file(segment_path(dir, segment)).map_err(failed("delete a segment of"))?;
            freed = true;
        }
        if saved.is_err() {
            saved = up_to.save(dir);
        }
        match saved {
            Ok(()) => self.committed = up_to,
            Err(error) if is_full(&error) => {}
            Err(error) => return Err(failed("save the position in")(error)),
        }
        Ok(freed)
    }

    /// The end of the container's output has been read.
    pub fn is_ended(&self) -> bool {
        self.ended
    }

    /// The lowest segment above the present one.
    fn successor(&self) -> Result<Option<u64>, SpoolError> {
        let failed = |source| SpoolError { operation: "list", path: self.dir.clone(), source };
        let all = segments(&self.dir).map_err(failed)?;
        // A new spool is at segment 0, which never exists: the first is 1.
        Ok(all.into_iter().find(|segment| *segment > self.position.segment))
    }

    /// Reads one chunk; returns the bytes consumed, 0 when the segment has no more to give.
    fn read_chunk(&mut self, batch: &mut Batch, closed: bool) -> Result<usize, SpoolError> {
        let path = segment_path(&self.dir, self.position.segment);
        let failed = |source| SpoolError { operation: "read", path: path.clone(), source };
        let offset = self.position.offset;
        if self.open.as_ref().is_none_or(|(segment, _)| *segment != self.position.segment) {
            match File::open(&path) {
                Ok(file) => self.open = Some((self.position.segment, file)),
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(0),
                Err(error) => return Err(failed(error)),
            }
        }
        let Some((_, file)) = &self.open else { return Ok(0) };
        let mut chunk = vec![0; CHUNK_BYTES];
        let filled = file.read_at(&mut chunk, offset).map_err(failed)?;
        let consumed = self.decode_chunk(&chunk[..filled], batch);
        self.position.offset += consumed as u64;
        if consumed == 0 && filled > 0 && closed {
            batch.corrupt += 1;
        }
        Ok(consumed)
    }

    fn decode_chunk(&mut self, chunk: &[u8], batch: &mut Batch) -> usize {
        let mut at = 0;
        if self.position.offset == 0 {
            if !chunk.starts_with(MAGIC) {
                return 0;
            }
            at = MAGIC.len();
        }
        while let Decoded::Record(record, bytes) = decode(&chunk[at..]) {
            let begin = Position { offset: self.position.offset + at as u64, ..self.position };
            at += bytes;
            self.ended = matches!(record, Record::End { .. });
            batch.records.push((begin, record));
            if self.ended {
                break;
            }
        }
        at
    }
}

impl Position {
    /// A new spool's: segment 0 never exists.
    const START: Self = Self { segment: 0, offset: 0 };

    /// Where the machine died while it was being saved there may be nothing, or zeros: then all that there is is read again.
    fn load(dir: &Path) -> io::Result<Self> {
        match fs::read(dir.join("position")) {
            Ok(text) => Ok(Self::parse(&text).unwrap_or(Self::START)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Self::START),
            Err(error) => Err(error),
        }
    }

    /// `None` for anything that is not whole: a number cut short would be a place within a record.
    fn parse(text: &[u8]) -> Option<Self> {
        let (segment, offset) = std::str::from_utf8(text).ok()?.strip_suffix('\n')?.split_once(' ')?;
        Some(Self { segment: segment.parse().ok()?, offset: offset.parse().ok()? })
    }

    /// By rename: a death in between leaves the old position, and what followed it is read twice, never not at all.
    fn save(self, dir: &Path) -> io::Result<()> {
        let staged = dir.join("position.tmp");
        fs::write(&staged, format!("{} {}\n", self.segment, self.offset))?;
        fs::rename(&staged, dir.join("position"))
    }
}

/// The disk has no room, or the spool's owner has no more of it.
fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}
