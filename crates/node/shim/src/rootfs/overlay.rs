//! Mounting an overlay of image layers.

use std::{
    ffi::CString,
    io,
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

use libc::{c_long, c_uint};

use crate::spec::Rootfs;

const FSCONFIG_SET_STRING: c_uint = 1;
const FSCONFIG_CMD_CREATE: c_uint = 6;

/// Mounts `rootfs` with the kernel's file system configuration calls.
///
/// `mount(2)` takes all options in one page, which an image of many layers with long paths overflows. Here each layer
/// is given by itself (`lowerdir+`, Linux 6.5, paths of up to 255 bytes); where that fails, `mount(2)` is tried.
pub(super) fn mount(rootfs: &Rootfs) -> io::Result<()> {
    match mount_by_layer(rootfs) {
        // The kernel does not know `lowerdir+`.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => mount_by_page(rootfs).map_err(|_| error),
        other => other,
    }
}

fn mount_by_layer(rootfs: &Rootfs) -> io::Result<()> {
    // SAFETY: the name is a NUL-terminated string; the result is checked.
    let context = owned(unsafe { libc::syscall(libc::SYS_fsopen, c"overlay".as_ptr(), libc::FSOPEN_CLOEXEC) })?;
    for layer in &rootfs.lower {
        set(&context, c"lowerdir+", layer)?;
    }
    set(&context, c"upperdir", &rootfs.upper)?;
    set(&context, c"workdir", &rootfs.work)?;
    // SAFETY: this command takes no key and no value.
    let created = unsafe {
        let none = std::ptr::null::<libc::c_char>();
        libc::syscall(libc::SYS_fsconfig, context.as_raw_fd(), FSCONFIG_CMD_CREATE, none, none, 0)
    };
    check(created)?;
    // SAFETY: plain numbers; the result is checked.
    let mounted = owned(unsafe {
        libc::syscall(libc::SYS_fsmount, context.as_raw_fd(), libc::FSMOUNT_CLOEXEC, libc::MOUNT_ATTR_NODEV)
    })?;
    let target = path(&rootfs.target)?;
    // SAFETY: both paths are NUL-terminated strings that outlive the call.
    check(unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            mounted.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_FDCWD,
            target.as_ptr(),
            libc::MOVE_MOUNT_F_EMPTY_PATH,
        )
    })
}

fn set(context: &OwnedFd, key: &std::ffi::CStr, value: &Path) -> io::Result<()> {
    let value = path(value)?;
    // SAFETY: key and value are NUL-terminated strings that outlive the call.
    check(unsafe {
        libc::syscall(libc::SYS_fsconfig, context.as_raw_fd(), FSCONFIG_SET_STRING, key.as_ptr(), value.as_ptr(), 0)
    })
}

/// The classic call, for kernels before 6.5: as many layers as fit in a page.
fn mount_by_page(rootfs: &Rootfs) -> io::Result<()> {
    let layers: Vec<_> = rootfs.lower.iter().map(|layer| escaped(layer)).collect();
    let options =
        format!("lowerdir={},upperdir={},workdir={}", layers.join(":"), escaped(&rootfs.upper), escaped(&rootfs.work));
    let flags = nix::mount::MsFlags::MS_NODEV;
    Ok(nix::mount::mount(Some("overlay"), &rootfs.target, Some("overlay"), flags, Some(options.as_str()))?)
}

fn escaped(path: &Path) -> String {
    path.to_string_lossy().replace('\\', "\\\\").replace(':', "\\:").replace(',', "\\,")
}

fn path(path: &Path) -> io::Result<CString> {
    Ok(CString::new(path.as_os_str().as_bytes())?)
}

fn check(result: c_long) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn owned(result: c_long) -> io::Result<OwnedFd> {
    check(result)?;
    let fd = RawFd::try_from(result).map_err(io::Error::other)?;
    // SAFETY: the kernel has just opened it for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
