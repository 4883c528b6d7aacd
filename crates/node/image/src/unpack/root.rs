//! The directory that an archive is unpacked to, and the open directories inside it that things are made in.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{FchmodatFlags, Mode, SFlag, UtimensatFlags, fchmodat, fstatat, mkdirat, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{UnlinkatFlags, unlinkat};
use pathrs::flags::OpenFlags;

use super::{Budget, UnpackError};

/// The root.
pub(crate) struct Root(pathrs::Root);

/// An open directory inside the root, by which entries in it are made.
pub(crate) struct Dir(OwnedFd);

impl Root {
    pub fn open(path: &Path) -> Result<Self, UnpackError> {
        pathrs::Root::open(path).map(Self).map_err(|error| refused(path, &error))
    }

    /// The directory, made with everything above it where it is not there. Links on the way stay inside the root.
    pub(super) fn dir(&self, path: &Path, budget: &mut Budget) -> Result<Dir, UnpackError> {
        let (mut there, mut missing) = (path, Vec::new());
        let mut dir = loop {
            match (self.open_dir(there), there.file_name(), there.parent()) {
                (Err(error), Some(name), Some(parent)) if error.kind() == io::ErrorKind::NotFound => {
                    missing.push(name);
                    there = parent;
                }
                (opened, ..) => break opened.map_err(UnpackError::io(path))?,
            }
        };
        for name in missing.into_iter().rev() {
            budget.entry()?;
            dir = dir.make_dir(name).and_then(|()| dir.open_dir(name)).map_err(UnpackError::io(path))?;
        }
        Ok(dir)
    }

    fn open_dir(&self, path: &Path) -> io::Result<Dir> {
        let path = if path.as_os_str().is_empty() { Path::new("/") } else { path };
        let opened = self.0.open_subpath(path, OpenFlags::O_DIRECTORY | OpenFlags::O_RDONLY);
        opened.map(|file| Dir(file.into())).map_err(|error| io_error(&error))
    }

    /// What is there, without following a link at its end.
    pub fn existing(&self, path: &Path) -> Result<OwnedFd, UnpackError> {
        self.0.resolve_nofollow(path).map(OwnedFd::from).map_err(|error| refused(path, &error))
    }

    /// Opens a regular file for reading. Links on the way, and the file itself being one, stay inside the root.
    pub fn read(&self, path: &Path) -> Result<File, UnpackError> {
        let handle = self.0.resolve(path).map_err(|error| refused(path, &error))?;
        let found = nix::sys::stat::fstat(handle.as_fd().as_raw_fd());
        let found = found.map_err(|errno| UnpackError::io(path)(errno.into()))?;
        // Opening a pipe would wait for ever, opening a device may do anything.
        if SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT != SFlag::S_IFREG {
            let odd = io::Error::new(io::ErrorKind::InvalidData, "it is no regular file");
            return Err(UnpackError::io(path)(odd));
        }
        handle.reopen(OpenFlags::O_RDONLY).map_err(|error| refused(path, &error))
    }

    /// Sets a directory's time, if it is one still.
    pub fn set_dir_time(&self, path: &Path, time: TimeSpec) -> Result<(), UnpackError> {
        let set = self.open_dir(path).and_then(|dir| Ok(nix::sys::stat::futimens(dir.raw(), &time, &time)?));
        match set {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(()),
            set => set.map_err(UnpackError::io(path)),
        }
    }
}

impl Dir {
    /// Removes what has that name, with all that is in it. Whether there was anything.
    pub fn remove(&self, name: &OsStr) -> io::Result<bool> {
        match unlinkat(Some(self.raw()), name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) => Ok(true),
            Err(Errno::ENOENT) => Ok(false),
            Err(Errno::EISDIR) => {
                let inside = pathrs::Root::from_fd(self.0.try_clone()?);
                inside.remove_all(Path::new(name)).map_err(|error| io_error(&error))?;
                Ok(true)
            }
            Err(errno) => Err(errno.into()),
        }
    }

    /// Makes a directory with the mode that one has unless the archive says otherwise, whatever the process' umask is.
    pub fn make_dir(&self, name: &OsStr) -> io::Result<()> {
        let mode = Mode::from_bits_truncate(0o755);
        mkdirat(Some(self.raw()), name, mode)?;
        Ok(fchmodat(Some(self.raw()), name, mode, FchmodatFlags::FollowSymlink)?)
    }

    /// A directory in this one.
    fn open_dir(&self, name: &OsStr) -> io::Result<Self> {
        let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        let raw = openat(Some(self.raw()), name, flags, Mode::empty())?;
        // SAFETY: the kernel just gave us this descriptor, and nobody else knows it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(raw) }))
    }

    /// Of what type that is which has the name, and for a device, which; `None` if nothing has it.
    pub fn kind(&self, name: &OsStr) -> io::Result<Option<(SFlag, u64)>> {
        match fstatat(Some(self.raw()), name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(found) => Ok(Some((SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT, found.st_rdev))),
            Err(Errno::ENOENT) => Ok(None),
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
