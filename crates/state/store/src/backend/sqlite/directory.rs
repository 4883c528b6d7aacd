//! The directory that a store lives in: made for its owner only, and locked, so that one process at a time has it open.
//!
//! A database appears under its name only when it is complete. An empty file of that name is thus not a new store, but
//! what was left of an old one.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, Read, Seek, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
};

use crate::error::BackendError;

const OWNER_ONLY_DIRECTORY: u32 = 0o700;
pub(super) const OWNER_ONLY_FILE: u32 = 0o600;
const GROUP_OR_OTHERS_WRITE: u32 = 0o022;
/// More than a process id has digits.
const LOCK_BYTES_MAX: u64 = 32;

/// A directory, locked unless it is only read.
pub(super) struct Directory {
    path: PathBuf,
    _lock: Option<Flock<File>>,
}

impl Directory {
    /// Makes the directory if need be, and locks it.
    pub(super) fn lock(path: &Path) -> Result<Self, BackendError> {
        make(path)?;
        let file = path.join("store.lock");
        let lock = owner_only().read(true).create(true).truncate(false).open(&file);
        let lock = lock.map_err(|source| failure("open", &file, source))?;
        let mut lock = match Flock::lock(lock, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => lock,
            Err((held, Errno::EWOULDBLOCK)) => {
                return Err(BackendError::Locked { path: path.to_owned(), pid: holder(held) });
            }
            Err((_, errno)) => return Err(failure("lock", &file, errno.into())),
        };
        leave_pid(&mut lock).map_err(|source| failure("write", &file, source))?;
        Ok(Self { path: path.to_owned(), _lock: Some(lock) })
    }

    /// For a reader, beside the process that has the store open.
    pub(super) fn unlocked(path: &Path) -> Self {
        Self { path: path.to_owned(), _lock: None }
    }

    pub(super) fn database(&self) -> PathBuf {
        self.path.join("store.db")
    }

    /// The file of the commit mark.
    pub(super) fn mark(&self) -> PathBuf {
        self.path.join("store.mark")
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The state of the log's file, for an error: the log itself cannot be asked what it has lost.
    pub(super) fn log_as_found(&self) -> String {
        match fs::metadata(self.log()) {
            Ok(metadata) if metadata.len() > 0 => {
                format!("store.db-wal ({} bytes) is damaged, cut short or an older copy", metadata.len())
            }
            Ok(_) => "store.db-wal is empty, or store.db is an older copy".to_owned(),
            Err(_) => "store.db-wal is missing, or store.db is an older copy".to_owned(),
        }
    }

    fn log(&self) -> PathBuf {
        self.path.join("store.db-wal")
    }

    /// Whether there is a database (then it is made its owner's only), or a place for a new one.
    pub(super) fn has_database(&self) -> Result<bool, BackendError> {
        let path = self.database();
        let detail = match fs::metadata(&path) {
            Ok(metadata) if metadata.len() > 0 => {
                let set = fs::set_permissions(&path, Permissions::from_mode(OWNER_ONLY_FILE));
                return set.map(|()| true).map_err(|source| failure("protect", &path, source));
            }
            Ok(_) => "it is empty",
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failure("inspect", &path, error)),
            Err(_) if !self.log().exists() => return Ok(false),
            Err(_) => "it is missing, but its log is there",
        };
        Err(BackendError::Damaged { path, detail: detail.to_owned() })
    }

    /// An empty file for a new database.
    pub(super) fn new_database(&self) -> Result<PathBuf, BackendError> {
        let path = self.unpublished();
        // What an earlier attempt left has never been a store.
        let journal = self.path.join("store.db.new-journal");
        for leftover in [&path, &journal] {
            match fs::remove_file(leftover) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(failure("remove", leftover, error));
                }
                _ => {}
            }
        }
        owner_only().create_new(true).open(&path).map_err(|source| failure("make", &path, source))?;
        Ok(path)
    }

    /// Gives the new database its name, durably.
    pub(super) fn publish_database(&self) -> Result<(), BackendError> {
        let (from, to) = (self.unpublished(), self.database());
        fs::rename(&from, &to).map_err(|source| failure("rename", &from, source))?;
        File::open(&self.path)
            .and_then(|directory| directory.sync_all())
            .map_err(|source| failure("synchronise", &self.path, source))
    }

    fn unpublished(&self) -> PathBuf {
        self.path.join("store.db.new")
    }
}

fn make(path: &Path) -> Result<(), BackendError> {
    let done = DirBuilder::new().recursive(true).mode(OWNER_ONLY_DIRECTORY).create(path);
    done.map_err(|source| failure("make directory", path, source))?;
    let metadata = fs::metadata(path).map_err(|source| failure("inspect", path, source))?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & GROUP_OR_OTHERS_WRITE == 0 {
        return Ok(());
    }
    Err(BackendError::Exposed { path: path.to_owned(), mode })
}

fn owner_only() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).mode(OWNER_ONLY_FILE);
    options
}

fn leave_pid(lock: &mut File) -> io::Result<()> {
    lock.set_len(0)?;
    lock.rewind()?;
    writeln!(lock, "{}", std::process::id())
}

fn holder(lock: File) -> Option<u32> {
    let mut text = String::new();
    lock.take(LOCK_BYTES_MAX).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

pub(super) fn failure(doing: &'static str, path: &Path, source: io::Error) -> BackendError {
    BackendError::File { doing, path: path.to_owned(), source }
}
