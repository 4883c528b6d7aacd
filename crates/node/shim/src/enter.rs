//! Running a further program inside a container: the way in, which libcontainer's own needs a bundle on disk for.
//!
//! A child of the shim joins the container's cgroup and namespaces, locks itself down exactly as a container's first
//! process does (see [`executor`](crate::executor)), and becomes `estiva-init`. A PID namespace holds for children only:
//! up to here the container cannot see the process. `estiva-init` starts the program as a sibling, so that the shim reaps
//! it. That one the container sees and may trace: it has no memory, descriptor, capability or mount that the program has
//! not, but for two pipes until its exec. So what comes out of these is the container's word. The number of the program's
//! process counts only if the kernel says that it is a new child of the shim's; a reason is a text and no more.

use std::{
    convert::Infallible,
    ffi::CString,
    fs, io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
    path::Path,
};

use nix::{
    fcntl::OFlag,
    poll::{PollFd, PollFlags, poll},
    sched::CloneFlags,
    sys::{
        signal::{self, Signal},
        wait::{Id, WaitPidFlag, waitid, waitpid},
    },
    unistd::{self, ForkResult, Gid, Pid, Uid},
};
use seccompiler::BpfProgram;

use crate::{
    executor::{EXEC_WAIT_MS_MAX, StartPipe, find_in_path, limit_bounding, limit_held, reset_signals, wait_for_exec},
    init,
    oci::Capability,
    rootfs::Identity,
    seccomp,
};

/// `RLIM_NLIMITS` of the kernel.
const LIMITS: libc::c_int = 16;

/// Everything about the program and the process that it will be.
pub(crate) struct Program<'a> {
    pub args: &'a [String],
    /// All variables.
    pub env: &'a [String],
    pub cwd: &'a Path,
    pub identity: &'a Identity,
    pub capabilities: &'a [Capability],
    pub filter: Option<&'a BpfProgram>,
    pub no_new_privileges: bool,
    /// The `cgroup.procs` of its cgroup in every hierarchy.
    pub cgroup: &'a [std::path::PathBuf],
    /// Stdin, stdout, stderr; the same one three times is a terminal.
    pub stdio: [BorrowedFd<'a>; 3],
    pub tty: bool,
}

/// Runs `program` in the namespaces of `target`; it is running when this returns. `known` are the shim's children so far.
///
/// # Errors
/// The reason, of whichever process failed.
pub(crate) fn enter(target: Pid, program: &Program<'_>, known: &[Pid]) -> Result<Pid, String> {
    let start = StartPipe::new().map_err(|error| error.to_string())?;
    let (pid_read, pid_write) = unistd::pipe2(OFlag::O_CLOEXEC).map_err(|error| error.to_string())?;
    let init = init::program().map_err(|error| format!("cannot prepare estiva-init: {error}"))?;
    // SAFETY: this process has one thread.
    let child = match unsafe { unistd::fork() }.map_err(|error| error.to_string())? {
        ForkResult::Parent { child } => child,
        ForkResult::Child => {
            let error =
                match join(target, program).and_then(|()| execute(program, &init, start.child_end(), &pid_write)) {
                    Ok(never) => match never {},
                    Err(error) => error,
                };
            start.tell(&error);
            // SAFETY: ends this process without running anything that belongs to its parent.
            unsafe { libc::_exit(0) }
        }
    };
    drop(pid_write);
    // Nothing comes when the child has failed; then it has told why.
    let told = read_number(&pid_read).map_err(|error| error.to_string());
    let executed = wait_for_exec(&start.into_read()).map_err(|error| error.to_string()).and_then(|executed| executed);
    // It has ended, unless the container's limits hold it up.
    let _ = signal::kill(child, Signal::SIGKILL);
    waitpid(child, None).map_err(|error| error.to_string())?;
    let pid = told?.filter(|pid| !known.contains(pid) && is_own_child(*pid));
    match (executed, pid) {
        (Ok(()), Some(pid)) => Ok(pid),
        (Ok(()), None) => Err("no process, or one that is not the program's".to_owned()),
        (Err(error), pid) => {
            if let Some(pid) = pid {
                // It ends by itself, unless it was stopped. Reaped by nobody but us, the number is still its own.
                let _ = signal::kill(pid, Signal::SIGKILL);
            }
            Err(error)
        }
    }
}

fn read_number(pipe: &OwnedFd) -> io::Result<Option<Pid>> {
    if poll(&mut [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)], EXEC_WAIT_MS_MAX)? == 0 {
        return Err(io::ErrorKind::TimedOut.into());
    }
    let mut number = [0; size_of::<i32>()];
    let read = unistd::read(pipe.as_raw_fd(), &mut number)?;
    Ok((read == number.len()).then(|| Pid::from_raw(i32::from_ne_bytes(number))))
}

/// Whether the process, which may have ended, is a child that was not reaped: then the number is its own. Of numbers that are not positive the kernel makes groups of processes.
pub(crate) fn is_own_child(pid: Pid) -> bool {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    pid.as_raw() > 0 && waitid(Id::Pid(pid), flags).is_ok()
}

/// Joins the container's cgroup and namespaces; that of PIDs holds for children only.
fn join(target: Pid, program: &Program<'_>) -> Result<(), String> {
    let failed = |what: &'static str| move |error: io::Error| format!("cannot {what}: {error}");
    let own = std::process::id().to_string();
    for procs in program.cgroup {
        fs::write(procs, &own).map_err(failed("join the cgroup"))?;
    }
    // Higher is always allowed: the shim's own preference is not for programs.
    let _ = fs::write("/proc/self/oom_score_adj", "0");
    copy_limits(target);
    let namespaces = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWCGROUP;
    // SAFETY: plain numbers; the results are checked.
    let joined = unsafe {
        let process = libc::syscall(libc::SYS_pidfd_open, target.as_raw(), 0);
        if process < 0 { process } else { libc::syscall(libc::SYS_setns, process, namespaces.bits()) }
    };
    if joined < 0 {
        return Err(failed("join the container's namespaces")(io::Error::last_os_error()));
    }
    Ok(())
}

/// Locks this process down and becomes `estiva-init`, which starts the program.
fn execute(program: &Program<'_>, init: &OwnedFd, start: RawFd, pid_write: &OwnedFd) -> Result<Infallible, String> {
    let failed = |what: &'static str| move |error: io::Error| format!("cannot {what}: {error}");
    let errno = |what: &'static str| move |error: nix::Error| format!("cannot {what}: {error}");
    for (number, fd) in (0..).zip(program.stdio) {
        unistd::dup2(fd.as_raw_fd(), number).map_err(errno("set the standard streams"))?;
    }
    // All are opened so, ours and the libraries'; nothing rests on that alone.
    // SAFETY: marks descriptors, closes none.
    if unsafe { libc::close_range(3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC.cast_signed()) } != 0 {
        return Err(failed("mark descriptors")(io::Error::last_os_error()));
    }
    // SAFETY: the pipe was inherited open and is this process's own copy; nothing else uses the number.
    for kept in [unsafe { BorrowedFd::borrow_raw(start) }, pid_write.as_fd()] {
        init::keep_across_exec(kept).map_err(errno("pass descriptors on"))?;
    }
    unistd::chdir(program.cwd).map_err(errno("enter the working directory"))?;
    // A directory outside of the root can be reached through /proc only, and shows as unreachable (CVE-2024-21626).
    let inside = unistd::getcwd().is_ok_and(|cwd| cwd.is_absolute());
    if !inside {
        return Err(format!("the working directory {} is outside of the container", program.cwd.display()));
    }
    let path = find_in_path(program.args.first().map_or("", String::as_str), program.env)?;
    let text = |text: &str| CString::new(text).map_err(|error| error.to_string());
    let descriptors = [start, pid_write.as_raw_fd(), program.tty.into()];
    let descriptors = descriptors.into_iter().map(|number| init::number(number).map_err(|error| error.to_string()));
    let program_args = program.args.iter().map(|arg| text(arg));
    let args = descriptors.chain([text(&path.to_string_lossy())]).chain(program_args).collect::<Result<Vec<_>, _>>()?;
    let env = program.env.iter().map(|entry| text(entry)).collect::<Result<Vec<_>, _>>()?;
    reset_signals().map_err(errno("reset signals"))?;
    if program.no_new_privileges {
        nix::sys::prctl::set_no_new_privs().map_err(errno("set no_new_privs"))?;
    }
    if let Some(filter) = program.filter {
        seccomp::install(filter).map_err(failed("install the seccomp filter"))?;
    }
    limit_bounding(program.capabilities).map_err(failed("drop capabilities"))?;
    let Identity { uid, gid, additional_gids, .. } = program.identity;
    let (uid, gid) = (Uid::from_raw(*uid), Gid::from_raw(*gid));
    let groups: Vec<_> = additional_gids.iter().copied().map(Gid::from_raw).collect();
    unistd::setgroups(&groups).map_err(errno("set groups"))?;
    unistd::setresgid(gid, gid, gid).map_err(errno("set the group"))?;
    unistd::setresuid(uid, uid, uid).map_err(errno("set the user"))?;
    limit_held(program.capabilities).map_err(failed("drop capabilities"))?;
    init::execute(init.as_raw_fd(), c"enter", &args, &env)
        .map_err(|error| format!("exec: estiva-init: {}", error.desc()))
}

/// Gives this process the resource limits of the container's first one. One that cannot be set stays as it is: raising
/// needs `CAP_SYS_RESOURCE`, which the machine may withhold.
fn copy_limits(target: Pid) {
    for resource in 0..LIMITS {
        let mut limit = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
        let none = std::ptr::null_mut::<libc::rlimit64>();
        // SAFETY: the structure is the kernel's and outlives both calls.
        unsafe {
            if libc::syscall(libc::SYS_prlimit64, target.as_raw(), resource, none, &raw mut limit) == 0 {
                libc::syscall(libc::SYS_prlimit64, 0, resource, &raw const limit, none);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_child_of_ones_own_is_taken_for_one() {
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let own = i32::try_from(std::process::id()).unwrap();
        let parent = unistd::getppid().as_raw();
        for other in [0, -1, -pid, 1, own, parent, i32::MIN, i32::MAX] {
            assert!(!is_own_child(Pid::from_raw(other)), "{other}");
        }
        assert!(is_own_child(Pid::from_raw(pid)));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!is_own_child(Pid::from_raw(pid)));
    }
}
