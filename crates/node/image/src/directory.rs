//! The images' directory: what is where, how things appear in it, and who may remove.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use nix::fcntl::{Flock, FlockArg};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::digest::Digest;
use crate::error::FileError;

static NEXT_TEMPORARY: AtomicU64 = AtomicU64::new(0);

/// The images' directory.
#[derive(Debug, Clone)]
pub(crate) struct Directory(PathBuf);

/// A directory for what is being made; removed when it is dropped, unless it was moved away before.
#[derive(Debug)]
pub(crate) struct Temporary(PathBuf);

impl Directory {
    /// Makes what is not there, and removes what a process that is gone has left half made.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        for dir in ["", "layers/sha256", "images", "names", "leases", "tmp"] {
            make(&path.join(dir))?;
        }
        let directory = Self(path.to_owned());
        directory.sweep()?;
        Ok(directory)
    }

    /// A layer's files.
    pub fn layer(&self, diff_id: &Digest) -> PathBuf {
        self.layers().join(diff_id.hex())
    }

    pub fn layers(&self) -> PathBuf {
        self.0.join("layers/sha256")
    }

    pub fn images(&self) -> PathBuf {
        self.0.join("images")
    }

    pub fn names(&self) -> PathBuf {
        self.0.join("names")
    }

    pub fn leases(&self) -> PathBuf {
        self.0.join("leases")
    }

    /// Held while names and leases are made. Blocks.
    pub fn lock_shared(&self) -> Result<Flock<File>, FileError> {
        self.lock(FlockArg::LockShared)
    }

    /// Held while something is removed. Blocks.
    pub fn lock_exclusive(&self) -> Result<Flock<File>, FileError> {
        self.lock(FlockArg::LockExclusive)
    }

    fn lock(&self, how: FlockArg) -> Result<Flock<File>, FileError> {
        let path = self.0.join("lock");
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = file.map_err(FileError::new("open", &path))?;
        Flock::lock(file, how).map_err(|(_, errno)| FileError::new("lock", &path)(errno.into()))
    }

    /// A new directory for what is being made, on the file system that it will stay on.
    pub fn temporary(&self) -> Result<Temporary, FileError> {
        let number = NEXT_TEMPORARY.fetch_add(1, Ordering::Relaxed);
        let path = self.0.join("tmp").join(format!("{}-{number}", std::process::id()));
        make(&path)?;
        Ok(Temporary(path))
    }

    fn sweep(&self) -> Result<(), FileError> {
        let dir = self.0.join("tmp");
        for name in file_names(&dir)? {
            let process = name.split('-').next().unwrap_or_default();
            let alive = process != std::process::id().to_string() && Path::new("/proc").join(process).exists();
            if !alive || process.is_empty() {
                remove_all(&dir.join(name))?;
            }
        }
        Ok(())
    }
}

impl Temporary {
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// A new directory inside, with the mode that an image's root has unless its archive says otherwise.
    pub fn root(&self, name: &str) -> Result<PathBuf, FileError> {
        let root = self.0.join(name);
        fs::create_dir(&root).map_err(FileError::new("make", &root))?;
        // Whatever the process' umask is.
        fs::set_permissions(&root, Permissions::from_mode(0o755)).map_err(FileError::new("make", &root))?;
        Ok(root)
    }

    /// Moves a directory inside to where it stays, durable with everything in it. If another has come to be there in the
    /// meantime, it is the same, and stays.
    pub fn publish(&self, name: &str, to: &Path) -> Result<(), FileError> {
        let from = self.0.join(name);
        let dir = File::open(&from).map_err(FileError::new("open", &from))?;
        nix::unistd::syncfs(dir.as_raw_fd()).map_err(|errno| FileError::new("write", &from)(errno.into()))?;
        match fs::rename(&from, to) {
            Err(error) if matches!(error.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists) => {
                Ok(())
            }
            other => other.map_err(FileError::new("make", to)),
        }?;
        sync_parent(to)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Err(error) = remove_all(&self.0) {
            tracing::warn!(%error, "left over until the next start");
        }
    }
}

/// Writes a document so that a reader sees the old or the new one. Durable when it returns.
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> Result<(), FileError> {
    write(path, value, true)?;
    sync_parent(path)
}

/// As [`write_json`], but not durable.
pub(crate) fn write_json_until_reboot(path: &Path, value: &impl Serialize) -> Result<(), FileError> {
    write(path, value, false)
}

fn write(path: &Path, value: &impl Serialize, durable: bool) -> Result<(), FileError> {
    let json = serde_json::to_vec(value).map_err(|error| FileError::new("encode", path)(error.into()))?;
    let number = NEXT_TEMPORARY.fetch_add(1, Ordering::Relaxed);
    let temporary = path.with_extension(format!("{}-{number}.new", std::process::id()));
    let fill = || -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(&json)?;
        if durable {
            file.sync_data()?;
        }
        fs::rename(&temporary, path)
    };
    if let Err(error) = fill() {
        // It may not even have come to be.
        let _ = fs::remove_file(&temporary);
        return Err(FileError::new("write", path)(error));
    }
    Ok(())
}

/// `None` if there is no such file.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, FileError> {
    match fs::read(path) {
        Ok(json) => {
            serde_json::from_slice(&json).map(Some).map_err(|error| FileError::new("parse", path)(error.into()))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(FileError::new("read", path)(error)),
    }
}

/// The names of what is in a directory, those of files that are being written left out.
pub(crate) fn file_names(dir: &Path) -> Result<Vec<String>, FileError> {
    let entries =
        fs::read_dir(dir).and_then(Iterator::collect::<Result<Vec<_>, _>>).map_err(FileError::new("list", dir))?;
    let names = entries.iter().filter_map(|entry| entry.file_name().into_string().ok());
    Ok(names.filter(|name| Path::new(name).extension().is_none_or(|extension| extension != "new")).collect())
}

/// Removes a file; whether there was one.
pub(crate) fn remove_file(path: &Path) -> Result<bool, FileError> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(FileError::new("remove", path)(error)),
    }
}

/// Removes a directory with all that is in it. Nothing is fine.
pub(crate) fn remove_all(path: &Path) -> Result<(), FileError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(FileError::new("remove", path)(error)),
        _ => Ok(()),
    }
}

fn make(path: &Path) -> Result<(), FileError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(FileError::new("make", path))
}

fn sync_parent(path: &Path) -> Result<(), FileError> {
    let Some(parent) = path.parent() else { return Ok(()) };
    File::open(parent).and_then(|dir| dir.sync_all()).map_err(FileError::new("write", parent))
}
