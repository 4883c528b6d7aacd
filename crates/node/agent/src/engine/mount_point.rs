//! Whether something is mounted on a directory. Asked of the kernel, for what is below a mount is not ours to remove.

use std::ffi::CString;
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::mount::{MntFlags, umount2};

/// Whether `path` is where something is mounted; false if there is no such path. `statx(2)`, since Linux 5.8.
pub(super) fn is_mount_point(path: &Path) -> io::Result<bool> {
    let text = CString::new(path.as_os_str().as_bytes())?;
    let mut stat = MaybeUninit::<libc::statx>::zeroed();
    let flags = libc::AT_SYMLINK_NOFOLLOW | libc::AT_NO_AUTOMOUNT;
    // SAFETY: the path is a NUL-terminated string and the structure is the kernel's; both outlive the call.
    let result =
        unsafe { libc::statx(libc::AT_FDCWD, text.as_ptr(), flags, libc::STATX_BASIC_STATS, stat.as_mut_ptr()) };
    if result != 0 {
        let error = io::Error::last_os_error();
        return if error.kind() == io::ErrorKind::NotFound { Ok(false) } else { Err(error) };
    }
    // SAFETY: the kernel has filled it, and before that it was zero.
    let stat = unsafe { stat.assume_init() };
    let mount_root = u64::try_from(libc::STATX_ATTR_MOUNT_ROOT).unwrap_or_default();
    if stat.stx_attributes_mask & mount_root == 0 {
        return Err(io::Error::other("the kernel does not tell mount points"));
    }
    Ok(stat.stx_attributes & mount_root != 0)
}

/// Unmounts everything that is mounted on `path`.
pub(super) fn unmount(path: &Path) -> io::Result<()> {
    while is_mount_point(path)? {
        umount2(path, MntFlags::MNT_DETACH).map_err(|errno: Errno| io::Error::from(errno))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_told_from_directories() {
        let dir = tempfile::tempdir().unwrap();
        assert!(is_mount_point(Path::new("/proc")).unwrap());
        assert!(!is_mount_point(dir.path()).unwrap());
        assert!(!is_mount_point(&dir.path().join("absent")).unwrap());
    }
}
