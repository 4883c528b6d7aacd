//! What holds the namespaces that a task's containers share: a process that does nothing but reap.
//!
//! A PID namespace lives as long as its first process. That one must be nobody's container, for containers come and go.
//! Containers see it, and with `CAP_SYS_PTRACE` look into it and make it act: it is locked in before there is the first
//! container. It has an empty root, no descriptors, no capabilities, a user of its own and six system calls, and it is
//! `estiva-init`, executed, so that it has no memory of the shim's either.

use std::{
    convert::Infallible,
    fs::File,
    io,
    os::fd::{AsRawFd, OwnedFd, RawFd},
    path::{Path, PathBuf},
};

use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::CloneFlags,
    sys::{
        prctl,
        signal::{SigSet, Signal},
        wait::waitpid,
    },
    unistd::{self, Gid, Pid, Uid},
};
use seccompiler::BpfProgram;

use crate::{
    enter::is_own_child,
    executor::{StartPipe, limit_bounding, limit_held, reset_signals, wait_for_exec},
    init,
    rootfs::Mounts,
    seccomp,
    spec::TaskSpec,
};

/// `nobody`, by the customary number: a user whom a container's programs seldom are, so that they cannot signal it.
const USER: u32 = 65_534;

/// Holds the namespaces of one task until it is dropped.
#[derive(Debug)]
pub(super) struct Anchor {
    process: Pid,
    /// The namespaces, if they are shared. Held open: a container may make the process end, and its number be another's then.
    pid_namespace: Option<File>,
    ipc_namespace: Option<File>,
    /// Of the shared IPC namespace.
    shm: Option<PathBuf>,
    _mounts: Mounts,
}

impl Anchor {
    /// `None` if the task's containers share neither kind.
    pub(super) fn of(task: &TaskSpec) -> io::Result<Option<Self>> {
        if !task.shared_pid_namespace && !task.shared_ipc_namespace {
            return Ok(None);
        }
        let mut mounts = Mounts::default();
        let shm = task.runtime_dir.join("shared-shm");
        if task.shared_ipc_namespace {
            mounts.shm(&shm, None)?;
        }
        let mut flags = CloneFlags::empty();
        flags.set(CloneFlags::CLONE_NEWPID, task.shared_pid_namespace);
        flags.set(CloneFlags::CLONE_NEWIPC, task.shared_ipc_namespace);
        let filter = seccomp::only(&init::PAUSE_CALLS).map_err(io::Error::other)?;
        let (init, start) = (init::program()?, StartPipe::new()?);
        // SAFETY: without CLONE_VM this is fork(2), in a process of one thread.
        let forked = unsafe {
            libc::syscall(libc::SYS_clone, (flags | CloneFlags::CLONE_NEWNS).bits() | libc::SIGCHLD, 0, 0, 0, 0)
        };
        let process = match i32::try_from(forked).unwrap_or(-1) {
            0 => {
                let error = match pause(&task.runtime_dir, &filter, &init, start.child_end()) {
                    Ok(never) => match never {},
                    Err(error) => error,
                };
                start.tell(&error.to_string());
                // SAFETY: ends this process without running anything that belongs to its parent.
                unsafe { libc::_exit(1) }
            }
            process if process > 0 => Pid::from_raw(process),
            _ => return Err(io::Error::last_os_error()),
        };
        // From here on its drop ends the process.
        let mut anchor = Self {
            process,
            pid_namespace: None,
            ipc_namespace: None,
            shm: task.shared_ipc_namespace.then_some(shm),
            _mounts: mounts,
        };
        let failed =
            |reason| io::Error::other(format!("cannot start the process that holds the task's namespaces: {reason}"));
        wait_for_exec(&start.into_read())?.map_err(failed)?;
        let open = |kind: &str| File::open(format!("/proc/{process}/ns/{kind}"));
        anchor.pid_namespace = task.shared_pid_namespace.then(|| open("pid")).transpose()?;
        anchor.ipc_namespace = task.shared_ipc_namespace.then(|| open("ipc")).transpose()?;
        Ok(Some(anchor))
    }

    /// The process that holds them.
    pub(super) fn process(&self) -> Pid {
        self.process
    }

    /// The PID namespace's file, if it is shared.
    pub(super) fn pid_namespace(&self) -> Option<PathBuf> {
        self.pid_namespace.as_ref().map(held)
    }

    /// The IPC namespace's file and where its `/dev/shm` comes from, if it is shared.
    pub(super) fn ipc_namespace(&self) -> Option<(PathBuf, &Path)> {
        self.ipc_namespace.as_ref().map(held).zip(self.shm.as_deref())
    }
}

/// Where others find a file that this process holds open.
fn held(file: &File) -> PathBuf {
    format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd()).into()
}

impl Drop for Anchor {
    fn drop(&mut self) {
        // Unreaped, the number is still its own.
        if is_own_child(self.process) {
            let _ = nix::sys::signal::kill(self.process, Signal::SIGKILL);
            let _ = waitpid(self.process, None);
        }
    }
}

/// Locks this process in, and becomes `estiva-init`. `place` is any directory that exists.
fn pause(place: &Path, filter: &BpfProgram, init: &OwnedFd, start: RawFd) -> io::Result<Infallible> {
    prctl::set_dumpable(false)?;
    enter_empty_root(place)?;
    for fd in 0..=libc::STDERR_FILENO {
        // SAFETY: this process's copies of the standard streams, which nothing uses.
        unsafe { libc::close(fd) };
    }
    close_all_but([init.as_raw_fd(), start])?;
    reset_signals()?;
    SigSet::all().thread_set_mask()?;
    limit_bounding(&[])?;
    unistd::setgroups(&[])?;
    unistd::setresgid(Gid::from_raw(USER), Gid::from_raw(USER), Gid::from_raw(USER))?;
    unistd::setresuid(Uid::from_raw(USER), Uid::from_raw(USER), Uid::from_raw(USER))?;
    limit_held(&[])?;
    // A change of user takes it away.
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    prctl::set_no_new_privs()?;
    seccomp::install(filter)?;
    Ok(init::execute(init.as_raw_fd(), c"pause", &[], &[])?)
}

/// Leaves the host's mounts for an empty directory that nobody can write to.
fn enter_empty_root(place: &Path) -> nix::Result<()> {
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC | MsFlags::MS_RDONLY;
    mount(Some("none"), place, Some("tmpfs"), flags, Some("size=0,nr_inodes=1"))?;
    unistd::chdir(place)?;
    unistd::pivot_root(".", ".")?;
    umount2(".", MntFlags::MNT_DETACH)?;
    unistd::chdir("/")
}

fn close_all_but(mut kept: [RawFd; 2]) -> io::Result<()> {
    kept.sort_unstable();
    let number = |fd: RawFd| libc::c_uint::try_from(fd).map_err(io::Error::other);
    let [low, high] = [number(kept[0])?, number(kept[1])?];
    let first = libc::c_uint::from(3_u8);
    for (from, to) in [(first, low.saturating_sub(1)), (low + 1, high.saturating_sub(1)), (high + 1, libc::c_uint::MAX)]
    {
        if from > to {
            continue;
        }
        // SAFETY: this process's copies; nothing of them is used again.
        if unsafe { libc::close_range(from, to, 0) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}
