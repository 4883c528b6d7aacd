//! A volume's first content, as Docker has it: what the image has at the place where an empty volume is mounted.
//!
//! Everything goes by descriptors and follows no link: another container may have the volume already, and the image is a
//! stranger's.

use std::{
    ffi::CStr,
    fs::{self, File},
    io::{self, Read, Seek, Write},
    os::{
        fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd},
        unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
    },
    path::Path,
    thread,
    time::{Duration, Instant},
};

use nix::{
    dir::Dir,
    errno::Errno,
    fcntl::{AtFlags, Flock, FlockArg, OFlag, openat, readlinkat},
    sys::stat::{FileStat, Mode, SFlag, fstatat, mkdirat},
    unistd::{Gid, Uid, fchownat, symlinkat},
};
use pathrs::flags::OpenFlags;

/// Deeper than any image goes; a limit on our stack.
const DEPTH_MAX: usize = 128;
/// A boot's id and a line feed; more is no mark.
const MARK_BYTES_MAX: u64 = 64;

/// How long a volume may be under way to be filled by another task. The shim, which does nothing else meanwhile, gives up
/// then, and its container does not start.
const LOCK_WAIT_MAX: Duration = Duration::from_secs(20);
/// Between two tries: no event tells that a lock is free.
const LOCK_RETRY: Duration = Duration::from_millis(10);

/// Copies what `root` has at `destination` to the directory `volume`, with owners and modes, if the volume is empty.
pub(crate) fn populate(root: &Path, destination: &Path, volume: &Path) -> io::Result<()> {
    let mut lock = lock_beside(volume, LOCK_WAIT_MAX)?;
    let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    let mut mark = String::new();
    (&*lock).take(MARK_BYTES_MAX).read_to_string(&mut mark)?;
    if mark == boot_id {
        // A shim that was killed has copied a part of it. Nobody had the volume yet: each fills it before it is mounted.
        clear(volume)?;
    } else if fs::read_dir(volume)?.next().is_some() {
        return Ok(());
    }
    let root = pathrs::Root::open(root).map_err(io::Error::other)?;
    let Ok(found) = root.resolve(destination) else { return Ok(()) };
    let flags = OpenFlags::O_RDONLY | OpenFlags::O_CLOEXEC | OpenFlags::O_DIRECTORY;
    // A file at this place is hidden by the volume.
    let Ok(from) = found.reopen(flags) else { return Ok(()) };
    let metadata = from.metadata()?;
    let to = File::open(volume)?;
    lock.rewind()?;
    lock.write_all(boot_id.as_bytes())?;
    copy_entries(&from.into(), to.as_raw_fd(), 0)?;
    std::os::unix::fs::fchown(&to, Some(metadata.uid()), Some(metadata.gid()))?;
    to.set_permissions(fs::Permissions::from_mode(metadata.mode() & 0o7777))?;
    lock.set_len(0)
}

/// The volume's lock: a file beside it, in the node's own directory, where no container can see or hold it. It says in which
/// boot somebody began to fill the volume, until that is done; after another boot the mark says nothing, for it may be
/// older than what was written to the volume.
fn lock_beside(volume: &Path, wait_max: Duration) -> io::Result<Flock<File>> {
    let name = volume.file_name().ok_or_else(|| io::Error::other("a volume has a name"))?.to_string_lossy();
    // No volume's name begins with a dot.
    let path = volume.with_file_name(format!(".{name}.lock"));
    let mut file = File::options().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
    let deadline = Instant::now() + wait_max;
    loop {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Ok(lock),
            Err((_, Errno::EWOULDBLOCK)) if Instant::now() >= deadline => {
                let message = format!("another task has been filling it for {} s", wait_max.as_secs());
                return Err(io::Error::new(io::ErrorKind::TimedOut, message));
            }
            Err((again, Errno::EWOULDBLOCK)) => file = again,
            Err((_, errno)) => return Err(errno.into()),
        }
        thread::sleep(LOCK_RETRY);
    }
}

fn clear(volume: &Path) -> io::Result<()> {
    for entry in fs::read_dir(volume)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() { fs::remove_dir_all(entry.path())? } else { fs::remove_file(entry.path())? }
    }
    Ok(())
}

fn copy_entries(from: &OwnedFd, to: i32, depth: usize) -> io::Result<()> {
    if depth > DEPTH_MAX {
        return Err(io::Error::other("the image's directories are too deep"));
    }
    let mut entries = Dir::from_fd(from.try_clone()?.into_raw_fd())?;
    for entry in entries.iter() {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let stat = fstatat(Some(from.as_raw_fd()), name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
        match SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT {
            SFlag::S_IFDIR => copy_directory(from, to, name, depth)?,
            SFlag::S_IFREG => copy_file(from, to, name)?,
            SFlag::S_IFLNK => {
                let target = readlinkat(Some(from.as_raw_fd()), name)?;
                symlinkat(target.as_os_str(), Some(to), name)?;
            }
            // Sockets are nobody's after a copy, and devices are not for volumes.
            _ => continue,
        }
        keep_owner(to, name, &stat)?;
    }
    Ok(())
}

fn copy_directory(from: &OwnedFd, to: i32, name: &CStr, depth: usize) -> io::Result<()> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let inside = owned(openat(Some(from.as_raw_fd()), name, flags, Mode::empty())?);
    mkdirat(Some(to), name, Mode::from_bits_truncate(0o700))?;
    let made = owned(openat(Some(to), name, flags, Mode::empty())?);
    copy_entries(&inside, made.as_raw_fd(), depth + 1)
}

fn copy_file(from: &OwnedFd, to: i32, name: &CStr) -> io::Result<()> {
    let reading = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
    let writing = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let mut source = File::from(owned(openat(Some(from.as_raw_fd()), name, reading, Mode::empty())?));
    let mut copy = File::from(owned(openat(Some(to), name, writing, Mode::from_bits_truncate(0o600))?));
    io::copy(&mut source, &mut copy).map(drop)
}

/// Owner first: changing it takes set-user-id bits away.
fn keep_owner(dir: i32, name: &CStr, stat: &FileStat) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    fchownat(Some(dir), name, Some(uid), Some(gid), AtFlags::AT_SYMLINK_NOFOLLOW)?;
    if SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFLNK {
        return Ok(());
    }
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
    let copy = File::from(owned(openat(Some(dir), name, flags, Mode::empty())?));
    copy.set_permissions(fs::Permissions::from_mode(stat.st_mode & 0o7777))
}

fn owned(fd: i32) -> OwnedFd {
    // SAFETY: the kernel has just opened it for us.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn an_empty_volume_gets_what_the_image_has_there() {
        let dir = tempfile::tempdir().unwrap();
        let (root, volume) = (dir.path().join("root"), dir.path().join("volume"));
        fs::create_dir_all(root.join("srv/data/sub")).unwrap();
        fs::create_dir(&volume).unwrap();
        fs::write(root.join("srv/data/sub/file"), "content").unwrap();
        fs::set_permissions(root.join("srv/data/sub/file"), fs::Permissions::from_mode(0o640)).unwrap();
        fs::set_permissions(root.join("srv/data"), fs::Permissions::from_mode(0o1777)).unwrap();
        symlink("/etc/shadow", root.join("srv/data/link")).unwrap();
        populate(&root, Path::new("/srv/data"), &volume).unwrap();
        assert_eq!(fs::read_to_string(volume.join("sub/file")).unwrap(), "content");
        assert_eq!(fs::metadata(volume.join("sub/file")).unwrap().mode() & 0o7777, 0o640);
        assert_eq!(fs::metadata(&volume).unwrap().mode() & 0o7777, 0o1777);
        assert_eq!(fs::read_link(volume.join("link")).unwrap(), Path::new("/etc/shadow"));
    }

    #[test]
    fn a_volume_that_is_not_empty_stays_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let (root, volume) = (dir.path().join("root"), dir.path().join("volume"));
        fs::create_dir_all(root.join("data")).unwrap();
        fs::write(root.join("data/new"), "").unwrap();
        fs::create_dir(&volume).unwrap();
        fs::write(volume.join("old"), "").unwrap();
        populate(&root, Path::new("/data"), &volume).unwrap();
        populate(&root, Path::new("/absent"), &volume).unwrap();
        assert!(volume.join("old").exists() && !volume.join("new").exists());
    }

    fn image_and_volume(dir: &Path) -> (std::path::PathBuf, std::path::PathBuf) {
        let (root, volume) = (dir.join("root"), dir.join("volume"));
        fs::create_dir_all(root.join("data")).unwrap();
        fs::write(root.join("data/file"), "content").unwrap();
        fs::create_dir(&volume).unwrap();
        (root, volume)
    }

    #[test]
    fn a_container_that_holds_a_lock_on_the_volume_delays_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let (root, volume) = image_and_volume(dir.path());
        let _held = Flock::lock(File::open(&volume).unwrap(), FlockArg::LockExclusive).unwrap();
        populate(&root, Path::new("/data"), &volume).unwrap();
        assert!(volume.join("file").exists());
    }

    #[test]
    fn the_lock_is_waited_for_within_bounds_and_is_the_owners_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (_, volume) = image_and_volume(dir.path());
        let _held = lock_beside(&volume, Duration::ZERO).unwrap();
        let refused = lock_beside(&volume, Duration::from_millis(30)).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::TimedOut);
        assert_eq!(fs::metadata(dir.path().join(".volume.lock")).unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn all_who_start_at_once_see_the_whole_content() {
        let dir = tempfile::tempdir().unwrap();
        let (root, volume) = image_and_volume(dir.path());
        for number in 0..300 {
            fs::write(root.join(format!("data/{number}")), "x").unwrap();
        }
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    populate(&root, Path::new("/data"), &volume).unwrap();
                    assert_eq!(fs::read_dir(&volume).unwrap().count(), 301);
                });
            }
        });
    }

    #[test]
    fn what_a_killed_shim_had_begun_is_begun_again() {
        let dir = tempfile::tempdir().unwrap();
        let (root, volume) = image_and_volume(dir.path());
        fs::write(volume.join("half"), "con").unwrap();
        fs::create_dir(volume.join("sub")).unwrap();
        let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
        fs::write(dir.path().join(".volume.lock"), boot_id).unwrap();
        populate(&root, Path::new("/data"), &volume).unwrap();
        assert_eq!(fs::read_to_string(volume.join("file")).unwrap(), "content");
        assert!(!volume.join("half").exists() && !volume.join("sub").exists());
        fs::remove_file(volume.join("file")).unwrap();
        fs::write(volume.join("mine"), "").unwrap();
        // A mark of another boot may be older than what is there.
        fs::write(dir.path().join(".volume.lock"), "another boot\n").unwrap();
        populate(&root, Path::new("/data"), &volume).unwrap();
        assert!(volume.join("mine").exists() && !volume.join("file").exists());
    }

    #[test]
    fn a_link_in_the_image_leads_nowhere_outside() {
        let dir = tempfile::tempdir().unwrap();
        let (root, volume, host) = (dir.path().join("root"), dir.path().join("volume"), dir.path().join("host"));
        for made in [&root, &volume, &host] {
            fs::create_dir(made).unwrap();
        }
        fs::write(host.join("secret"), "").unwrap();
        symlink(&host, root.join("data")).unwrap();
        populate(&root, Path::new("/data"), &volume).unwrap();
        assert_eq!(fs::read_dir(&volume).unwrap().count(), 0);
    }
}
