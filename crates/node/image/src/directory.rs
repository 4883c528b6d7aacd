//! The images' directory: what is where, how things appear in it, and who may remove.
//!
//! What is being made is made in a [`Temporary`], which its maker holds locked (`flock`): one that nobody holds was left by
//! a crash. Whoever is about to use layers claims them there first, so that a removal in between leaves them alone and no
//! lock is held for as long as a pull takes.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::digest::Digest;
use crate::error::FileError;

/// In a temporary directory: the layers that its maker needs.
const CLAIM: &str = "claim.json";
/// What a file is called while it is written.
const NEW: &str = "new";

static NEXT_NUMBER: AtomicU64 = AtomicU64::new(0);

/// The images' directory.
#[derive(Debug, Clone)]
pub(crate) struct Directory(PathBuf);

/// A directory for what is being made; removed when it is dropped.
#[derive(Debug)]
pub(crate) struct Temporary {
    path: PathBuf,
    _held: Flock<File>,
}

impl Directory {
    /// Makes what is not there, and removes what a process that is gone has left half made.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        for dir in ["", "layers/sha256", "images", "names", "leases", "tmp"] {
            make(&path.join(dir))?;
        }
        // Images bring set-user-id programs: nobody else on this machine may come by them.
        fs::set_permissions(path, Permissions::from_mode(0o700)).map_err(FileError::new("protect", path))?;
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

    fn temporaries(&self) -> PathBuf {
        self.0.join("tmp")
    }

    /// Held while names, leases and claims are made. Blocks, but shortly.
    pub fn lock_shared(&self) -> Result<Flock<File>, FileError> {
        self.lock(FlockArg::LockShared)
    }

    /// Held while something is taken away. Blocks, but shortly.
    pub fn lock_exclusive(&self) -> Result<Flock<File>, FileError> {
        self.lock(FlockArg::LockExclusive)
    }

    fn lock(&self, how: FlockArg) -> Result<Flock<File>, FileError> {
        let path = self.0.join("lock");
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let mut file = file.map_err(FileError::new("open", &path))?;
        loop {
            match Flock::lock(file, how) {
                Ok(lock) => return Ok(lock),
                Err((back, Errno::EINTR)) => file = back,
                Err((_, errno)) => return Err(FileError::new("lock", &path)(errno.into())),
            }
        }
    }

    /// A new directory for what is being made, on the file system that it will stay on.
    pub fn temporary(&self) -> Result<Temporary, FileError> {
        loop {
            let number = NEXT_NUMBER.fetch_add(1, Ordering::Relaxed);
            let path = self.temporaries().join(format!("{}-{number}", std::process::id()));
            match DirBuilder::new().mode(0o700).create(&path) {
                // A process of the same number in another container, or before a reboot.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                made => made.map_err(FileError::new("make", &path))?,
            }
            // Until it is held, it looks as if it were left over: somebody who sweeps may be quicker.
            if let Some(held) = try_hold(&path)? {
                return Ok(Temporary { path, _held: held });
            }
        }
    }

    /// Keeps these layers, there already or not, from being removed until the claim is dropped.
    pub fn claim(&self, diff_ids: &[Digest]) -> Result<Temporary, FileError> {
        let claim = self.temporary()?;
        let _together = self.lock_shared()?;
        write_json_until_reboot(&claim.path.join(CLAIM), &diff_ids)?;
        Ok(claim)
    }

    /// All claimed layers. Whole under the exclusive lock.
    pub fn claimed(&self) -> Result<Vec<Digest>, FileError> {
        let mut claimed = Vec::new();
        for name in file_names(&self.temporaries())? {
            let claim = self.temporaries().join(name).join(CLAIM);
            claimed.extend(read_json::<Vec<Digest>>(&claim)?.unwrap_or_default());
        }
        Ok(claimed)
    }

    fn sweep(&self) -> Result<(), FileError> {
        let dir = self.temporaries();
        for name in file_names(&dir)? {
            let path = dir.join(name);
            let held = try_hold(&path)?;
            if held.is_some() {
                remove_all(&path)?;
            }
        }
        let _alone = self.lock_exclusive()?;
        for dir in [self.images(), self.names(), self.leases()] {
            let half_written = all_names(&dir)?.into_iter().map(|name| dir.join(name)).filter(|path| is_new(path));
            for path in half_written {
                remove_file(&path)?;
            }
        }
        Ok(())
    }
}

/// Locks a temporary directory; `None` if another has it, or it is gone.
fn try_hold(path: &Path) -> Result<Option<Flock<File>>, FileError> {
    let dir = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(FileError::new("open", path))?,
    };
    match Flock::lock(dir, FlockArg::LockExclusiveNonblock) {
        Ok(held) => Ok(path.exists().then_some(held)),
        Err((_, Errno::EWOULDBLOCK)) => Ok(None),
        Err((_, errno)) => Err(FileError::new("lock", path)(errno.into())),
    }
}

impl Temporary {
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A new directory inside, with the mode that an image's root has unless its archive says otherwise.
    pub fn root(&self, name: &str) -> Result<PathBuf, FileError> {
        let root = self.path.join(name);
        fs::create_dir(&root).map_err(FileError::new("make", &root))?;
        // Whatever the process' umask is.
        fs::set_permissions(&root, Permissions::from_mode(0o755)).map_err(FileError::new("make", &root))?;
        Ok(root)
    }

    /// Moves a directory inside to where it stays, durable with everything in it. If another has come to be there in the
    /// meantime, it is the same, and stays.
    pub fn publish(&self, name: &str, to: &Path) -> Result<(), FileError> {
        let from = self.path.join(name);
        let dir = File::open(&from).map_err(FileError::new("open", &from))?;
        nix::unistd::syncfs(dir.as_raw_fd()).map_err(|errno| FileError::new("write", &from)(errno.into()))?;
        match fs::rename(&from, to) {
            Err(error) if matches!(error.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists) => {
                return Ok(());
            }
            moved => moved.map_err(FileError::new("make", to))?,
        }
        sync_parent(to)
    }

    /// Removes it with all that is in it.
    pub fn remove(self) -> Result<(), FileError> {
        remove_all(&self.path)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Err(error) = remove_all(&self.path) {
            tracing::warn!(error = &error as &dyn std::error::Error, "left over until the next start");
        }
    }
}

/// Runs what blocks on a thread that may.
pub(crate) async fn blocking<T, E>(work: impl FnOnce() -> Result<T, E> + Send + 'static) -> Result<T, E>
where
    T: Send + 'static,
    E: From<FileError> + Send + 'static,
{
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
        let gone = io::Error::other(error.to_string());
        Err(FileError::new("work in", Path::new("the images' directory"))(gone).into())
    })
}

/// Writes a document so that a reader sees the old or the new one. Durable when it returns.
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> Result<(), FileError> {
    write(path, value, true)?;
    sync_parent(path)
}

/// As [`write_json`], but not durable: after a crash of the machine it may be there, or not, or empty.
pub(crate) fn write_json_until_reboot(path: &Path, value: &impl Serialize) -> Result<(), FileError> {
    write(path, value, false)
}

fn write(path: &Path, value: &impl Serialize, durable: bool) -> Result<(), FileError> {
    let json = serde_json::to_vec(value).map_err(|error| FileError::new("encode", path)(error.into()))?;
    let number = NEXT_NUMBER.fetch_add(1, Ordering::Relaxed);
    let new = path.with_extension(format!("{}-{number}.{NEW}", std::process::id()));
    let fill = || -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(&json)?;
        if durable {
            file.sync_data()?;
        }
        fs::rename(&new, path)
    };
    fill().map_err(|error| {
        // It may not even have come to be.
        let _ = fs::remove_file(&new);
        FileError::new("write", path)(error)
    })
}

/// `None` if there is no such file, or an empty one: see [`write_json_until_reboot`].
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, FileError> {
    match fs::read(path) {
        Ok(json) if json.is_empty() => Ok(None),
        Ok(json) => {
            serde_json::from_slice(&json).map(Some).map_err(|error| FileError::new("parse", path)(error.into()))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(FileError::new("read", path)(error)),
    }
}

/// As [`read_json`]; a file that is broken counts as absent, and the log names it: whoever needs it gets it anew.
pub(crate) fn read_json_if_whole<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, FileError> {
    read_json(path).or_else(|error| {
        if !error.is_malformed() {
            return Err(error);
        }
        tracing::warn!(error = &error as &dyn std::error::Error, "a broken record of the images counts as absent");
        Ok(None)
    })
}

/// Notes that a file was used now, in its modification time, which is not made durable. Whether there is such a file.
pub(crate) fn touch(path: &Path) -> Result<bool, FileError> {
    let touched = OpenOptions::new().write(true).open(path).and_then(|file| file.set_modified(SystemTime::now()));
    match touched {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        touched => touched.map(|()| true).map_err(FileError::new("touch", path)),
    }
}

/// When a file was written or touched; `None` if there is no such file.
pub(crate) fn modified(path: &Path) -> Result<Option<SystemTime>, FileError> {
    match fs::metadata(path).and_then(|found| found.modified()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        modified => modified.map(Some).map_err(FileError::new("look at", path)),
    }
}

/// The names of what is in a directory, those of files that are being written left out.
pub(crate) fn file_names(dir: &Path) -> Result<Vec<String>, FileError> {
    Ok(all_names(dir)?.into_iter().filter(|name| !is_new(Path::new(name))).collect())
}

fn all_names(dir: &Path) -> Result<Vec<String>, FileError> {
    let entries = fs::read_dir(dir).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let entries = entries.map_err(FileError::new("list", dir))?;
    Ok(entries.iter().filter_map(|entry| entry.file_name().into_string().ok()).collect())
}

fn is_new(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == NEW)
}

/// Removes a file. Nothing is fine.
pub(crate) fn remove_file(path: &Path) -> Result<(), FileError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(FileError::new("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Removes a directory with all that is in it. Nothing is fine.
fn remove_all(path: &Path) -> Result<(), FileError> {
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
