//! Entries of an archive: each makes one thing in the root.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{FchmodatFlags, Mode, SFlag, fchmodat, makedev, mknodat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchownat, linkat, symlinkat};
use tar::{Entry, EntryType};

use super::root::{Dir, Root};
use super::whiteout::{Whiteout, is_whiteout, make_opaque, set_xattr};
use super::{Budget, UnpackError};

/// How PAX headers name extended attributes.
const PAX_XATTR_PREFIX: &str = "SCHILY.xattr.";
/// Attributes that mean something to the programs of an image. Others, overlayfs' own above all, are not taken.
const XATTRS: [&str; 1] = ["security.capability"];
const XATTR_USER_PREFIX: &str = "user.";
/// Overlayfs' own where it is mounted in a user namespace.
const XATTR_OVERLAY_PREFIX: &str = "user.overlay.";
/// What GNU tar writes of a file with holes; its contents are then not the file's.
const PAX_SPARSE_PREFIX: &str = "GNU.sparse.";
const DIRECTORY_NAMES_BYTES_MAX: usize = 64 << 20;
const COPY_BYTES: usize = 64 << 10;

/// Unpacks entries, one by one.
pub(super) struct Unpacker {
    root: Root,
    pub budget: Budget,
    /// Directories' times, set at the end: whatever is put into a directory changes its own.
    times: Vec<(PathBuf, TimeSpec)>,
    /// Of the paths in `times`.
    times_bytes: usize,
    /// The directory of the entry before, in which the next one mostly is. Forgotten when something was removed, for it
    /// may have been a part of the way there.
    last: Option<(PathBuf, Rc<Dir>)>,
}

impl Unpacker {
    pub fn new(root: Root, budget: Budget) -> Self {
        Self { root, budget, times: Vec::new(), times_bytes: 0, last: None }
    }

    pub fn entry<R: Read>(&mut self, entry: &mut Entry<'_, R>) -> Result<(), UnpackError> {
        self.budget.entry()?;
        let kind = kind_of(entry);
        if matches!(kind, EntryType::XGlobalHeader) {
            return Ok(());
        }
        let named = PathBuf::from(OsStr::from_bytes(&entry.path_bytes()));
        let path = inside(&named)?;
        let extensions = Extensions::of(entry).map_err(|source| UnpackError::Archive { source })?;
        if extensions.sparse {
            return Err(UnpackError::Sparse { path: named });
        }
        let seconds = i64::try_from(entry.header().mtime().unwrap_or(0)).unwrap_or(0);
        let time = extensions.time.unwrap_or_else(|| TimeSpec::new(seconds, 0));
        let Some(name) = path.file_name().map(OsStr::to_owned) else {
            // The root itself: its owner and mode are the image's.
            if kind.is_dir() {
                let dir = self.root.dir(Path::new(""), &mut self.budget)?;
                own(&dir, OsStr::new("."), entry, kind).map_err(UnpackError::io(&named))?;
                self.time_later(path, time)?;
            }
            return Ok(());
        };
        let dir = self.dir(path.parent().unwrap_or(Path::new("")))?;
        if let Some(whiteout) = Whiteout::of(&name) {
            return whiteout.apply(&dir).map_err(UnpackError::io(&named));
        }
        let removed = match kind {
            EntryType::Directory => {
                self.time_later(path.clone(), time)?;
                directory(&dir, &name).map_err(UnpackError::io(&named))?
            }
            EntryType::Symlink => symlink(&dir, &name, &path, entry)?,
            EntryType::Link => hard_link(&self.root, &dir, &name, &path, entry)?,
            EntryType::Char | EntryType::Block | EntryType::Fifo => {
                device(&dir, &name, entry, kind).map_err(UnpackError::io(&named))?
            }
            _ => regular(&dir, &name, &named, entry, &mut self.budget)?,
        };
        if removed {
            self.last = None;
        }
        if kind.is_hard_link() {
            return Ok(());
        }
        let finish = || -> io::Result<()> {
            own(&dir, &name, entry, kind)?;
            for (attribute, value) in &extensions.xattrs {
                set_xattr(&dir.path_to(&name), attribute, value)?;
            }
            dir.set_time(&name, time)
        };
        finish().map_err(UnpackError::io(&named))
    }

    /// Sets what had to wait.
    pub fn finish(self) -> Result<(), UnpackError> {
        self.times.iter().rev().try_for_each(|(path, time)| self.root.set_dir_time(path, *time))
    }

    fn dir(&mut self, path: &Path) -> Result<Rc<Dir>, UnpackError> {
        if let Some((last, dir)) = &self.last
            && last == path
        {
            return Ok(Rc::clone(dir));
        }
        let dir = Rc::new(self.root.dir(path, &mut self.budget)?);
        self.last = Some((path.to_owned(), Rc::clone(&dir)));
        Ok(dir)
    }

    fn time_later(&mut self, path: PathBuf, time: TimeSpec) -> Result<(), UnpackError> {
        self.times_bytes += path.as_os_str().len();
        if self.times_bytes > DIRECTORY_NAMES_BYTES_MAX {
            return Err(UnpackError::TooLarge {
                max: format!("{DIRECTORY_NAMES_BYTES_MAX} bytes of directories' names"),
            });
        }
        self.times.push((path, time));
        Ok(())
    }
}

/// Archives from before POSIX have directories as files whose name ends with a slash.
fn kind_of<R: Read>(entry: &Entry<'_, R>) -> EntryType {
    let kind = entry.header().entry_type();
    if kind.is_file() && entry.header().as_ustar().is_none() && entry.path_bytes().ends_with(b"/") {
        return EntryType::Directory;
    }
    kind
}

/// The path relative to the root, without `.`; one with `..` is refused.
fn inside(path: &Path) -> Result<PathBuf, UnpackError> {
    let mut relative = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => relative.push(name),
            Component::CurDir | Component::RootDir => {}
            Component::ParentDir | Component::Prefix(_) => return Err(UnpackError::Escape { path: path.to_owned() }),
        }
    }
    Ok(relative)
}

/// Whether a link's target, taken by its letters, goes above the root. An absolute one is inside: the root is `/`.
fn leads_out(link: &Path, target: &Path) -> bool {
    let mut depth = if target.is_absolute() { 0 } else { link.components().count().saturating_sub(1) };
    for component in target.components() {
        match component {
            Component::Normal(_) => depth += 1,
            Component::ParentDir if depth == 0 => return !target.is_absolute(),
            Component::ParentDir => depth -= 1,
            _ => {}
        }
    }
    false
}

/// Whether another thing had to go for it, as with all of these.
fn directory(dir: &Dir, name: &OsStr) -> io::Result<bool> {
    match dir.kind(name)? {
        Some((SFlag::S_IFDIR, _)) => Ok(false),
        None => dir.make_dir(name).map(|()| false),
        Some(found) => {
            dir.remove(name)?;
            dir.make_dir(name)?;
            // The layer takes away what is below, and then has a directory of its own there.
            if is_whiteout(found) {
                make_opaque(dir, name)?;
            }
            Ok(true)
        }
    }
}

fn symlink<R: Read>(dir: &Dir, name: &OsStr, path: &Path, entry: &Entry<'_, R>) -> Result<bool, UnpackError> {
    let target = link_target(entry, path)?;
    if leads_out(path, &target) {
        return Err(UnpackError::LinkEscape { path: path.to_owned(), target });
    }
    let make = || -> io::Result<bool> {
        let removed = dir.remove(name)?;
        symlinkat(&target, Some(dir.raw()), name)?;
        Ok(removed)
    };
    make().map_err(UnpackError::io(path))
}

fn hard_link<R: Read>(
    root: &Root,
    dir: &Dir,
    name: &OsStr,
    path: &Path,
    entry: &Entry<'_, R>,
) -> Result<bool, UnpackError> {
    let target = link_target(entry, path)?;
    let target =
        inside(&target).map_err(|_| UnpackError::LinkEscape { path: path.to_owned(), target: target.clone() })?;
    let existing = root.existing(&target)?;
    let make = || -> io::Result<bool> {
        let removed = dir.remove(name)?;
        linkat(Some(existing.as_raw_fd()), OsStr::new(""), Some(dir.raw()), name, AtFlags::AT_EMPTY_PATH)?;
        Ok(removed)
    };
    make().map_err(UnpackError::io(path))
}

fn link_target<R: Read>(entry: &Entry<'_, R>, path: &Path) -> Result<PathBuf, UnpackError> {
    let target = entry.link_name_bytes().filter(|target| !target.is_empty());
    let missing = || UnpackError::io(path)(io::Error::new(io::ErrorKind::InvalidData, "the link has no target"));
    target.map(|target| PathBuf::from(OsStr::from_bytes(&target))).ok_or_else(missing)
}

fn device<R: Read>(dir: &Dir, name: &OsStr, entry: &Entry<'_, R>, kind: EntryType) -> io::Result<bool> {
    let numbers = || -> io::Result<_> {
        let major = entry.header().device_major()?.unwrap_or(0);
        let minor = entry.header().device_minor()?.unwrap_or(0);
        Ok(makedev(major.into(), minor.into()))
    };
    let (flag, device) = match kind {
        EntryType::Char => (SFlag::S_IFCHR, numbers()?),
        EntryType::Block => (SFlag::S_IFBLK, numbers()?),
        // Tools leave the fields of a pipe blank.
        _ => (SFlag::S_IFIFO, 0),
    };
    let removed = dir.remove(name)?;
    mknodat(Some(dir.raw()), name, flag, Mode::from_bits_truncate(0o600), device)?;
    Ok(removed)
}

fn regular<R: Read>(
    dir: &Dir,
    name: &OsStr,
    path: &Path,
    entry: &mut Entry<'_, R>,
    budget: &mut Budget,
) -> Result<bool, UnpackError> {
    let removed = dir.remove(name).map_err(UnpackError::io(path))?;
    let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let raw = openat(Some(dir.raw()), name, flags, Mode::from_bits_truncate(0o600));
    let raw = raw.map_err(|errno| UnpackError::io(path)(errno.into()))?;
    // SAFETY: the kernel just gave us this descriptor, and nobody else knows it.
    let mut file = unsafe { File::from_raw_fd(raw) };
    let mut buffer = vec![0; COPY_BYTES];
    loop {
        let count = entry.read(&mut buffer).map_err(|source| UnpackError::Archive { source })?;
        if count == 0 {
            return Ok(removed);
        }
        budget.bytes(count as u64)?;
        file.write_all(&buffer[..count]).map_err(UnpackError::io(path))?;
    }
}

/// Owner first: the kernel takes set-user-id away from a file that changes hands.
fn own<R: Read>(dir: &Dir, name: &OsStr, entry: &Entry<'_, R>, kind: EntryType) -> io::Result<()> {
    let id = |id: io::Result<u64>| {
        u32::try_from(id.unwrap_or(0)).map_err(|_| io::Error::other("an owner's id is too large"))
    };
    let (uid, gid) = (Uid::from_raw(id(entry.header().uid())?), Gid::from_raw(id(entry.header().gid())?));
    fchownat(Some(dir.raw()), name, Some(uid), Some(gid), AtFlags::AT_SYMLINK_NOFOLLOW)?;
    if kind.is_symlink() {
        return Ok(());
    }
    let mode = Mode::from_bits_truncate(entry.header().mode()? & 0o7777);
    // What was just made by this name is no link.
    Ok(fchmodat(Some(dir.raw()), name, mode, FchmodatFlags::FollowSymlink)?)
}

/// What PAX headers say of an entry beyond what the library itself takes from them.
#[derive(Default)]
struct Extensions {
    xattrs: Vec<(String, Vec<u8>)>,
    time: Option<TimeSpec>,
    sparse: bool,
}

impl Extensions {
    fn of<R: Read>(entry: &mut Entry<'_, R>) -> io::Result<Self> {
        let mut found = Self::default();
        let Some(extensions) = entry.pax_extensions()? else { return Ok(found) };
        for extension in extensions {
            let extension = extension?;
            let Ok(key) = extension.key() else { continue };
            if let Some(name) = key.strip_prefix(PAX_XATTR_PREFIX) {
                if is_taken(name) {
                    found.xattrs.push((name.to_owned(), extension.value_bytes().to_vec()));
                }
            } else if key == "mtime" {
                found.time = extension.value().ok().and_then(pax_time);
            } else if key.starts_with(PAX_SPARSE_PREFIX) {
                found.sparse = true;
            }
        }
        Ok(found)
    }
}

/// Seconds since 1970 with a fraction.
fn pax_time(text: &str) -> Option<TimeSpec> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    let (seconds, nanoseconds): (i64, u32) = (seconds.parse().ok()?, digits.parse().ok()?);
    // Before 1970 the fraction counts downwards; nobody needs it there.
    Some(TimeSpec::new(seconds, if text.starts_with('-') { 0 } else { nanoseconds.into() }))
}

fn is_taken(xattr: &str) -> bool {
    XATTRS.contains(&xattr) || (xattr.starts_with(XATTR_USER_PREFIX) && !xattr.starts_with(XATTR_OVERLAY_PREFIX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_relative_to_the_root_or_refused() {
        assert_eq!(inside(Path::new("./a//b/.")).unwrap(), Path::new("a/b"));
        assert_eq!(inside(Path::new("/etc/passwd")).unwrap(), Path::new("etc/passwd"));
        for path in ["..", "../x", "a/../../x", "a/.."] {
            assert!(inside(Path::new(path)).is_err(), "{path}");
        }
    }

    #[test]
    fn a_link_may_go_up_as_far_as_the_root() {
        for (link, target) in
            [("a", "b"), ("a/b/c", "../../x"), ("a", "/etc/x"), ("a", "/../../etc"), ("a/b", "../..//c/../../x")]
        {
            let expected = target == "../..//c/../../x";
            assert_eq!(leads_out(Path::new(link), Path::new(target)), expected, "{link} {target}");
        }
        assert!(leads_out(Path::new("a"), Path::new("../x")));
        assert!(leads_out(Path::new("a/b"), Path::new("../../x")));
    }
}
