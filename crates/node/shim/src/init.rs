//! `estiva-init` (see `init/main.rs`): the only program of Estiva's that runs in a container's PID namespace.

use std::{
    convert::Infallible,
    ffi::{CStr, CString},
    fs::File,
    io::{self, Write},
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
};

use nix::fcntl::{AtFlags, FcntlArg, FdFlag, SealFlag, fcntl};

const PROGRAM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/estiva-init"));
/// The system calls of its mode `pause`, and the one that starts it.
pub(crate) const PAUSE_CALLS: [libc::c_long; 6] = [
    libc::SYS_execveat,
    libc::SYS_exit_group,
    libc::SYS_prctl,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_wait4,
];
/// `MFD_EXEC` of Linux 6.3: without it a newer kernel writes a line to its log, an older one refuses it.
const MFD_EXEC: libc::c_uint = 0x0010;

/// The program as a file in memory that nobody can write to, closed on exec.
pub(crate) fn program() -> io::Result<OwnedFd> {
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    let file = match memfd(flags | MFD_EXEC) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => memfd(flags),
        made => made,
    }?;
    let mut file = File::from(file);
    file.write_all(PROGRAM)?;
    let seals = SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_SEAL;
    fcntl(file.as_raw_fd(), FcntlArg::F_ADD_SEALS(seals))?;
    Ok(file.into())
}

fn memfd(flags: libc::c_uint) -> io::Result<OwnedFd> {
    // SAFETY: the name is a NUL-terminated string; the result is checked.
    let fd = unsafe { libc::memfd_create(c"estiva-init".as_ptr(), flags) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just opened it for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Becomes [`program`], which a process may have inherited by its number.
pub(crate) fn execute(program: RawFd, mode: &CStr, args: &[CString], env: &[CString]) -> nix::Result<Infallible> {
    let own = [c"estiva-init".to_owned(), mode.to_owned()];
    let all: Vec<CString> = own.into_iter().chain(args.iter().cloned()).collect();
    nix::unistd::execveat(Some(program), c"", &all, env, AtFlags::AT_EMPTY_PATH)
}

/// Leaves a descriptor open across the next exec.
pub(crate) fn keep_across_exec(fd: BorrowedFd<'_>) -> nix::Result<()> {
    fcntl(fd.as_raw_fd(), FcntlArg::F_SETFD(FdFlag::empty())).map(drop)
}

/// What [`program`] takes a descriptor by.
pub(crate) fn number(fd: RawFd) -> io::Result<CString> {
    CString::new(fd.to_string()).map_err(io::Error::other)
}
