//! One entry of an archive.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{FchmodatFlags, Mode, SFlag, fchmodat, makedev, mkdirat, mknodat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchownat, linkat, symlinkat};
use tar::{Entry, EntryType};

use super::root::{Dir, Root};
use super::whiteout::{Whiteout, set_xattr};
use super::{Budget, UnpackError};

/// How PAX headers name extended attributes.
const PAX_XATTR_PREFIX: &str = "SCHILY.xattr.";
/// Attributes that mean something to the programs of an image. Others, overlayfs' own above all, are not taken.
const XATTRS: [&str; 1] = ["security.capability"];
const XATTR_USER_PREFIX: &str = "user.";
const COPY_BYTES: usize = 64 << 10;

/// Unpacks one entry; a directory's time is noted for later.
pub(super) fn unpack<R: Read>(
    root: &Root,
    entry: &mut Entry<'_, R>,
    budget: &mut Budget,
    directories: &mut Vec<(PathBuf, TimeSpec)>,
) -> Result<(), UnpackError> {
    let kind = entry.header().entry_type();
    if matches!(kind, EntryType::XGlobalHeader) {
        return Ok(());
    }
    let named = PathBuf::from(OsStr::from_bytes(&entry.path_bytes()));
    let path = inside(&named)?;
    let time = TimeSpec::new(i64::try_from(entry.header().mtime().unwrap_or(0)).unwrap_or(0), 0);
    let Some(name) = path.file_name().map(OsStr::to_owned) else {
        // The root itself: its owner and mode are the image's.
        if kind.is_dir() {
            let dir = root.dir(Path::new("/"))?;
            own(&dir, OsStr::new("."), entry, kind).map_err(UnpackError::io(&named))?;
        }
        return Ok(());
    };
    let dir = root.dir(path.parent().unwrap_or(Path::new("")))?;
    if let Some(whiteout) = Whiteout::of(&name) {
        return whiteout.apply(&dir).map_err(UnpackError::io(&named));
    }
    match kind {
        EntryType::Directory => {
            directory(&dir, &name).map_err(UnpackError::io(&named))?;
            directories.push((path.clone(), time));
        }
        EntryType::Symlink => symlink(&dir, &name, &path, entry)?,
        EntryType::Link => return hard_link(root, &dir, &name, &path, entry),
        EntryType::Char | EntryType::Block | EntryType::Fifo => {
            device(&dir, &name, entry, kind).map_err(UnpackError::io(&named))?;
        }
        _ => regular(&dir, &name, &named, entry, budget)?,
    }
    let finish = || -> io::Result<()> {
        own(&dir, &name, entry, kind)?;
        dir.set_time(&name, time)
    };
    finish().map_err(UnpackError::io(&named))?;
    for (attribute, value) in xattrs(entry).map_err(|source| UnpackError::Archive { source })? {
        set_xattr(&dir.path_to(&name), &attribute, &value).map_err(UnpackError::io(&named))?;
    }
    Ok(())
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

fn directory(dir: &Dir, name: &OsStr) -> io::Result<()> {
    let mode = Mode::from_bits_truncate(0o755);
    match mkdirat(Some(dir.raw()), name, mode) {
        Err(nix::errno::Errno::EEXIST) => {}
        other => return Ok(other?),
    }
    let found = nix::sys::stat::fstatat(Some(dir.raw()), name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
    if SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT == SFlag::S_IFDIR {
        return Ok(());
    }
    dir.remove(name)?;
    Ok(mkdirat(Some(dir.raw()), name, mode)?)
}

fn symlink<R: Read>(dir: &Dir, name: &OsStr, path: &Path, entry: &Entry<'_, R>) -> Result<(), UnpackError> {
    let target = link_target(entry, path)?;
    if leads_out(path, &target) {
        return Err(UnpackError::LinkEscape { path: path.to_owned(), target });
    }
    let make = || -> io::Result<()> {
        dir.remove(name)?;
        Ok(symlinkat(&target, Some(dir.raw()), name)?)
    };
    make().map_err(UnpackError::io(path))
}

fn hard_link<R: Read>(
    root: &Root,
    dir: &Dir,
    name: &OsStr,
    path: &Path,
    entry: &Entry<'_, R>,
) -> Result<(), UnpackError> {
    let target = link_target(entry, path)?;
    let target =
        inside(&target).map_err(|_| UnpackError::LinkEscape { path: path.to_owned(), target: target.clone() })?;
    let existing = root.existing(&target)?;
    let make = || -> io::Result<()> {
        dir.remove(name)?;
        Ok(linkat(Some(existing.as_raw_fd()), OsStr::new(""), Some(dir.raw()), name, AtFlags::AT_EMPTY_PATH)?)
    };
    make().map_err(UnpackError::io(path))
}

fn link_target<R: Read>(entry: &Entry<'_, R>, path: &Path) -> Result<PathBuf, UnpackError> {
    let target = entry.link_name_bytes().filter(|target| !target.is_empty());
    let missing = || UnpackError::io(path)(io::Error::new(io::ErrorKind::InvalidData, "the link has no target"));
    target.map(|target| PathBuf::from(OsStr::from_bytes(&target))).ok_or_else(missing)
}

fn device<R: Read>(dir: &Dir, name: &OsStr, entry: &Entry<'_, R>, kind: EntryType) -> io::Result<()> {
    let flag = match kind {
        EntryType::Char => SFlag::S_IFCHR,
        EntryType::Block => SFlag::S_IFBLK,
        _ => SFlag::S_IFIFO,
    };
    let major = entry.header().device_major()?.unwrap_or(0);
    let minor = entry.header().device_minor()?.unwrap_or(0);
    dir.remove(name)?;
    Ok(mknodat(Some(dir.raw()), name, flag, Mode::from_bits_truncate(0o600), makedev(major.into(), minor.into()))?)
}

fn regular<R: Read>(
    dir: &Dir,
    name: &OsStr,
    path: &Path,
    entry: &mut Entry<'_, R>,
    budget: &mut Budget,
) -> Result<(), UnpackError> {
    dir.remove(name).map_err(UnpackError::io(path))?;
    let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let raw = openat(Some(dir.raw()), name, flags, Mode::from_bits_truncate(0o600));
    let raw = raw.map_err(|errno| UnpackError::io(path)(errno.into()))?;
    // SAFETY: the kernel just gave us this descriptor, and nobody else knows it.
    let mut file = unsafe { File::from_raw_fd(raw) };
    let mut buffer = vec![0; COPY_BYTES];
    loop {
        let count = entry.read(&mut buffer).map_err(|source| UnpackError::Archive { source })?;
        if count == 0 {
            return Ok(());
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

fn xattrs<R: Read>(entry: &mut Entry<'_, R>) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut found = Vec::new();
    let Some(extensions) = entry.pax_extensions()? else { return Ok(found) };
    for extension in extensions {
        let extension = extension?;
        let Some(name) = extension.key().ok().and_then(|key| key.strip_prefix(PAX_XATTR_PREFIX)) else { continue };
        if XATTRS.contains(&name) || name.starts_with(XATTR_USER_PREFIX) {
            found.push((name.to_owned(), extension.value_bytes().to_vec()));
        }
    }
    Ok(found)
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
