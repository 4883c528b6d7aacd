//! The commit mark: which revision was acknowledged last, kept in a file of its own beside the database.
//!
//! SQLite ends its log at the first frame whose checksum is wrong, because a crash leaves such a frame where a write was cut
//! short. A flipped bit in the middle, a truncated log or a missing one therefore looks like an older, sound store. The mark
//! tells the two apart: a store that is behind its mark has lost something that was acknowledged.
//!
//! The mark is written after the log's fsync has returned and before anyone is told, so it is never ahead of what is durable:
//! a start after an honest crash is never refused. It is not synchronised with every commit, and need not be: the page cache
//! outlives `kill -9`, and after a power cut the mark may be a few revisions behind, which makes the check weaker and never
//! wrong. It is synchronised when the store is idle or closes.
//!
//! ```text
//! slot at 0, slot at 4096:   magic 8 · revision u64 · CRC-32 of both u32      little-endian
//! ```
//!
//! The slots are written in turn and lie in sectors of their own, so a torn write leaves the other one.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::Path,
};

use super::directory::{OWNER_ONLY_FILE, failure};
use crate::{error::BackendError, row::Revision};

const MAGIC: [u8; 8] = *b"EstvMrk1";
const SLOT_BYTES: usize = 20;
/// The largest sector of today's disks.
const SLOT_DISTANCE: u64 = 4096;
const SLOTS: u64 = 2;

/// What a file says, if it is there.
pub(super) enum Found {
    Missing,
    /// No slot is sound.
    Damaged,
    Revision(Revision),
}

/// The mark of a store that is open.
pub(super) struct Mark {
    file: File,
    /// The slot that is written next: never the one with the greatest revision.
    slot: u64,
}

/// What the file at `path` says.
pub(super) fn read(path: &Path) -> Result<Found, BackendError> {
    match File::open(path) {
        Ok(file) => {
            let newest = newest(&file).map_err(|source| failure("read", path, source))?;
            Ok(newest.map_or(Found::Damaged, |(_, revision)| Found::Revision(revision)))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Found::Missing),
        Err(source) => Err(failure("open", path, source)),
    }
}

impl Mark {
    /// Goes on with the mark at `path`.
    pub(super) fn open(path: &Path) -> Result<Self, BackendError> {
        let file = OpenOptions::new().read(true).write(true).open(path);
        let file = file.map_err(|source| failure("open", path, source))?;
        let newest = newest(&file).map_err(|source| failure("read", path, source))?;
        Ok(Self { file, slot: newest.map_or(0, |(slot, _)| (slot + 1) % SLOTS) })
    }

    /// Puts a new mark at `path`, durable when it returns, in place of one that may be there.
    pub(super) fn create(path: &Path, revision: Revision) -> Result<Self, BackendError> {
        let staged = path.with_extension("mark.new");
        let make = || {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(true).mode(OWNER_ONLY_FILE);
            let mut mark = Self { file: options.open(&staged)?, slot: 0 };
            (0..SLOTS).try_for_each(|_| mark.note(revision))?;
            mark.file.sync_all()?;
            fs::rename(&staged, path)?;
            path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())?;
            Ok(mark)
        };
        make().map_err(|source| failure("make", path, source))
    }

    /// Says that everything up to `revision` is durable. Overwrites in place, so a full disk is no obstacle.
    pub(super) fn note(&mut self, revision: Revision) -> io::Result<()> {
        self.file.write_all_at(&encode(revision), self.slot * SLOT_DISTANCE)?;
        self.slot = (self.slot + 1) % SLOTS;
        Ok(())
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

fn encode(revision: Revision) -> [u8; SLOT_BYTES] {
    let mut slot = [0; SLOT_BYTES];
    slot[..8].copy_from_slice(&MAGIC);
    slot[8..16].copy_from_slice(&revision.to_le_bytes());
    let checksum = crc32fast::hash(&slot[..16]);
    slot[16..].copy_from_slice(&checksum.to_le_bytes());
    slot
}

/// The slot with the greatest revision, and that revision.
fn newest(file: &File) -> io::Result<Option<(u64, Revision)>> {
    let mut newest = None;
    for slot in 0..SLOTS {
        let mut bytes = [0; SLOT_BYTES];
        match file.read_exact_at(&mut bytes, slot * SLOT_DISTANCE) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => continue,
            other => other?,
        }
        let mut number = [0; 8];
        number.copy_from_slice(&bytes[8..16]);
        let revision = Revision::from_le_bytes(number);
        if bytes == encode(revision) && newest.is_none_or(|(_, other)| revision > other) {
            newest = Some((slot, revision));
        }
    }
    Ok(newest)
}
