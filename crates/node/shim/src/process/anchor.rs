//! What holds the namespaces that a task's containers share: a process that does nothing but reap.
//!
//! A PID namespace lives as long as its first process. That one must be nobody's container, for containers come and go; it is
//! a fork of the shim, which costs the pages that it writes and no more.

use std::{
    fs, io,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
};

use nix::{
    sched::CloneFlags,
    sys::{
        prctl,
        signal::{SigSet, Signal},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::{Pid, dup2},
};

use crate::{rootfs::Mounts, spec::TaskSpec};

/// Holds the namespaces of one task until it is dropped.
#[derive(Debug)]
pub(super) struct Anchor {
    process: Pid,
    pid_namespace: bool,
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
        // SAFETY: without CLONE_VM this is fork(2), in a process of one thread.
        let forked = unsafe { libc::syscall(libc::SYS_clone, flags.bits() | libc::SIGCHLD, 0, 0, 0, 0) };
        match i32::try_from(forked).unwrap_or(-1) {
            0 => {
                let _: io::Result<()> = reap_for_ever();
                // SAFETY: ends this process without running anything that belongs to its parent.
                unsafe { libc::_exit(1) }
            }
            process if process > 0 => Ok(Some(Self {
                process: Pid::from_raw(process),
                pid_namespace: task.shared_pid_namespace,
                shm: task.shared_ipc_namespace.then_some(shm),
                _mounts: mounts,
            })),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// The PID namespace's file, if it is shared.
    pub(super) fn pid_namespace(&self) -> Option<PathBuf> {
        self.pid_namespace.then(|| self.namespace("pid"))
    }

    /// The IPC namespace's file and where its `/dev/shm` comes from, if it is shared.
    pub(super) fn ipc_namespace(&self) -> Option<(PathBuf, &Path)> {
        self.shm.as_deref().map(|shm| (self.namespace("ipc"), shm))
    }

    fn namespace(&self, kind: &str) -> PathBuf {
        format!("/proc/{}/ns/{kind}", self.process).into()
    }
}

impl Drop for Anchor {
    fn drop(&mut self) {
        // Unreaped, the number is still its own; reaped, the task is ending anyway and nobody has it yet.
        let _ = nix::sys::signal::kill(self.process, Signal::SIGKILL);
        let _ = waitpid(self.process, None);
    }
}

/// Takes no signal but SIGKILL: that of its parent's death, and, in the end, its parent's.
fn reap_for_ever() -> io::Result<()> {
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    prctl::set_dumpable(false)?;
    prctl::set_name(c"estiva-pause")?;
    SigSet::all().thread_set_mask()?;
    let null = fs::File::open("/dev/null")?;
    for standard in 0..3 {
        dup2(null.as_raw_fd(), standard)?;
    }
    // SAFETY: what is closed is this process's copy, and nothing of it is used again.
    unsafe { libc::close_range(3, libc::c_uint::MAX, 0) };
    std::mem::forget(null);
    let mut children = SigSet::empty();
    children.add(Signal::SIGCHLD);
    loop {
        children.wait()?;
        while let Ok(status) = waitpid(None::<Pid>, Some(WaitPidFlag::WNOHANG)) {
            if status == WaitStatus::StillAlive {
                break;
            }
        }
    }
}
