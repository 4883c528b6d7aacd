//! The first process of a container whose task definition says `initProcessEnabled`: it passes signals on and reaps, as the
//! program that Docker calls `docker-init` does.

use std::{convert::Infallible, io};

use nix::{
    errno::Errno,
    sys::{
        signal::{SigSet, Signal},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::{ForkResult, Pid, fork},
};

/// As a shell numbers the end by a signal.
const CODE_SIGNAL_BASE: i32 = 128;

/// Forks. Returns in the child, which goes on to become the program; the parent stays and ends as the program does.
/// `in_parent` is called there at once.
pub(crate) fn stay_as_init(in_parent: impl FnOnce()) -> io::Result<()> {
    // Before the fork, so that no signal falls between.
    SigSet::all().thread_set_mask()?;
    // SAFETY: this process has one thread.
    match unsafe { fork() }? {
        ForkResult::Child => {
            // The program is a process group of its own, in the foreground of its terminal if it has one.
            nix::unistd::setpgid(Pid::from_raw(0), Pid::from_raw(0))?;
            // SAFETY: the argument points to a number that outlives the call; SIGTTOU is blocked.
            unsafe {
                let own = libc::getpid();
                libc::ioctl(0, libc::TIOCSPGRP, &raw const own);
            }
            Ok(())
        }
        ForkResult::Parent { child } => {
            in_parent();
            match serve(child) {
                Ok(never) => match never {},
                // SAFETY: ends this process without running anything that belongs to the shim.
                Err(code) => unsafe { libc::_exit(code) },
            }
        }
    }
}

/// Until the program has ended: its exit code.
fn serve(program: Pid) -> Result<Infallible, i32> {
    loop {
        let signal = SigSet::all().wait().map_err(|_| CODE_SIGNAL_BASE)?;
        if signal != Signal::SIGCHLD {
            // It may have ended in this moment, which SIGCHLD tells.
            let _: Result<(), Errno> = nix::sys::signal::kill(program, signal);
            continue;
        }
        loop {
            match waitpid(None::<Pid>, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) if pid == program => return Err(code),
                Ok(WaitStatus::Signaled(pid, signal, _)) if pid == program => {
                    return Err(CODE_SIGNAL_BASE + signal as i32);
                }
                Ok(WaitStatus::StillAlive) => break,
                Ok(_) | Err(Errno::EINTR) => {}
                // Nothing is left to wait for, the program included.
                Err(_) => return Err(CODE_SIGNAL_BASE),
            }
        }
    }
}
