//! The directory that an archive is unpacked to, and the open directories inside it that things are made in.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::stat::{UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{UnlinkatFlags, unlinkat};
use pathrs::flags::OpenFlags;

use super::UnpackError;

/// The root.
pub(crate) struct Root(pathrs::Root);

/// An open directory inside the root, by which entries in it are made.
pub(crate) struct Dir(OwnedFd);

impl Root {
    pub fn open(path: &Path) -> Result<Self, UnpackError> {
        pathrs::Root::open(path).map(Self).map_err(|error| refused(path, &error))
    }

    /// The directory, made with everything above it where it is not there. Links on the way stay inside the root.
    pub fn dir(&self, path: &Path) -> Result<Dir, UnpackError> {
        use std::os::unix::fs::PermissionsExt;
        let handle = self.0.mkdir_all(path, &std::fs::Permissions::from_mode(0o755));
        let handle = handle.map_err(|error| refused(path, &error))?;
        let opened = handle.reopen(OpenFlags::O_DIRECTORY | OpenFlags::O_RDONLY);
        opened.map(|file: File| Dir(file.into())).map_err(|error| refused(path, &error))
    }

    /// What is there, without following a link at its end.
    pub fn existing(&self, path: &Path) -> Result<OwnedFd, UnpackError> {
        self.0.resolve_nofollow(path).map(OwnedFd::from).map_err(|error| refused(path, &error))
    }

    /// Opens a file for reading. Links on the way, and the file itself being one, stay inside the root.
    pub fn read(&self, path: &Path) -> Result<File, UnpackError> {
        let handle = self.0.resolve(path).map_err(|error| refused(path, &error))?;
        handle.reopen(OpenFlags::O_RDONLY).map_err(|error| refused(path, &error))
    }

    pub fn set_time(&self, path: &Path, time: TimeSpec) -> Result<(), UnpackError> {
        let dir = self.dir(path)?;
        let set = nix::sys::stat::futimens(dir.0.as_raw_fd(), &time, &time);
        set.map_err(|errno| UnpackError::io(path)(errno.into()))
    }
}

impl Dir {
    /// Removes what has that name, with all that is in it. Nothing is fine.
    pub fn remove(&self, name: &OsStr) -> io::Result<()> {
        match unlinkat(Some(self.raw()), name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(Errno::EISDIR) => {
                let inside = pathrs::Root::from_fd(self.0.try_clone()?);
                inside.remove_all(Path::new(name)).map_err(|error| io_error(&error))
            }
            Err(errno) => Err(errno.into()),
        }
    }

    /// Sets the time of what has that name, a link itself included.
    pub fn set_time(&self, name: &OsStr, time: TimeSpec) -> io::Result<()> {
        Ok(utimensat(Some(self.raw()), name, &time, &time, UtimensatFlags::NoFollowSymlink)?)
    }

    /// A path of the kernel's to what has that name, for calls that take no descriptor.
    pub fn path_to(&self, name: &OsStr) -> PathBuf {
        Path::new("/proc/self/fd").join(self.raw().to_string()).join(name)
    }

    pub fn raw(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

fn refused(path: &Path, error: &pathrs::error::Error) -> UnpackError {
    UnpackError::io(path)(io_error(error))
}

fn io_error(error: &pathrs::error::Error) -> io::Error {
    match error.kind() {
        pathrs::error::ErrorKind::OsError(Some(code)) => io::Error::from_raw_os_error(code),
        _ => io::Error::other(error.to_string()),
    }
}
