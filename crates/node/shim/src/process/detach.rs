//! Becoming a process of its own: from a sealed program, nobody's child, in a mount namespace of its own.

use std::{
    convert::Infallible,
    ffi::{CStr, CString, OsString},
    fs, io,
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
        unix::ffi::OsStrExt,
    },
};

use nix::{
    fcntl::{OFlag, open},
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
    sys::{
        prctl,
        stat::{Mode, umask},
        wait::waitpid,
    },
    unistd::{ForkResult, chdir, dup2, fork, pipe2, read, setsid, write},
};

use super::SEALED;

/// `struct mount_attr` of `mount_setattr(2)`.
#[repr(C)]
struct MountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

/// Executes this program again from a read-only clone of the mount that it lies on, with an empty environment.
///
/// A container can make the process that becomes its program open `/proc/self/exe` (CVE-2019-5736); through this clone
/// it gets at most a file on a read-only mount. A clone shares the page cache: unlike a sealed copy in memory
/// (what runc does) it costs a shim nothing.
pub(super) fn execute_sealed(args: &[OsString]) -> io::Result<Infallible> {
    close_on_exec()?;
    let flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC;
    // SAFETY: the path is a NUL-terminated string; the result is checked.
    let fd = unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, c"/proc/self/exe".as_ptr(), flags) };
    let tree = owned(fd)?;
    let attr = MountAttr { attr_set: libc::MOUNT_ATTR_RDONLY, attr_clr: 0, propagation: 0, userns_fd: 0 };
    // SAFETY: the structure is the kernel's and outlives the call.
    let sealed = unsafe {
        let (path, size) = (c"".as_ptr(), size_of::<MountAttr>());
        libc::syscall(libc::SYS_mount_setattr, tree.as_raw_fd(), path, libc::AT_EMPTY_PATH, &raw const attr, size)
    };
    if sealed < 0 {
        return Err(io::Error::last_os_error());
    }
    let own = [c"estiva-shim".to_owned(), c"shim".to_owned()].into_iter().map(Ok);
    let given = args.iter().map(|arg| CString::new(arg.as_bytes()));
    let all: Vec<CString> = own.chain(given).chain([CString::new(SEALED)]).collect::<Result<_, _>>()?;
    let none: [&CStr; 0] = [];
    Ok(nix::unistd::execveat(Some(tree.as_raw_fd()), c"", &all, &none, nix::fcntl::AtFlags::AT_EMPTY_PATH)?)
}

/// Whatever the agent's process had open (or inherited itself) ends here.
fn close_on_exec() -> io::Result<()> {
    // SAFETY: marks descriptors, closes none.
    let marked = unsafe { libc::close_range(3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC.cast_signed()) };
    if marked == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Which of the two processes this is after [`detach`].
pub(super) enum Detached {
    /// The one that was spawned.
    Foreground(Waiting),
    /// The one that stays.
    Shim(Ready),
}

/// Waits for the shim.
pub(super) struct Waiting {
    pipe: OwnedFd,
    child: nix::unistd::Pid,
}

/// Tells the waiting process.
pub(super) struct Ready(OwnedFd);

impl Waiting {
    /// Until the shim listens; an error when it ended before.
    pub(super) fn wait(self) -> io::Result<()> {
        let mut byte = [0];
        if read(self.pipe.as_raw_fd(), &mut byte)? == 1 {
            return Ok(());
        }
        // Its reason is in the log already; this one comes after it.
        Err(io::Error::other(format!("the shim ended: {:?}", waitpid(self.child, None)?)))
    }
}

impl Ready {
    pub(super) fn announce(self) -> io::Result<()> {
        match write(&self.0, b"!") {
            // Nobody waits any more; the shim serves whoever connects.
            Ok(_) | Err(nix::errno::Errno::EPIPE) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Forks; the child leaves the session, the standard streams and the host's mount namespace behind.
pub(super) fn detach() -> io::Result<Detached> {
    let (pipe, ready) = pipe2(OFlag::O_CLOEXEC)?;
    // SAFETY: this process has one thread.
    if let ForkResult::Parent { child } = unsafe { fork() }? {
        return Ok(Detached::Foreground(Waiting { pipe, child }));
    }
    setsid()?;
    chdir("/")?;
    umask(Mode::from_bits_truncate(0o022));
    let null = open("/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty())?;
    // SAFETY: just opened.
    let null = unsafe { OwnedFd::from_raw_fd(null) };
    for standard in 0..3 {
        dup2(null.as_raw_fd(), standard)?;
    }
    prctl::set_name(c"estiva-shim")?;
    // What a container leaves behind when its first process ends becomes our child: we reap it, and so hear of it.
    prctl::set_child_subreaper(true)?;
    unshare(CloneFlags::CLONE_NEWNS)?;
    // Slave: volumes that the host mounts later appear here too, our mounts never appear there.
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_SLAVE, None::<&str>)?;
    set_oom_score(OOM_SCORE_SHIM);
    Ok(Detached::Shim(Ready(ready)))
}

/// The kernel takes containers before the shim that knows about them.
pub(super) const OOM_SCORE_SHIM: i32 = -998;
/// What containers get.
pub(super) const OOM_SCORE_CONTAINER: i32 = 0;

/// Sets this process's, and by inheritance its coming children's, preference as a victim. Lowering it needs
/// `CAP_SYS_RESOURCE`, which Estiva has not everywhere (itself in a container): then all are equal.
pub(super) fn set_oom_score(score: i32) {
    let _ = fs::write("/proc/self/oom_score_adj", score.to_string());
}

fn owned(result: libc::c_long) -> io::Result<OwnedFd> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    let fd = RawFd::try_from(result).map_err(io::Error::other)?;
    // SAFETY: the kernel has just opened it for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
