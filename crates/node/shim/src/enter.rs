//! Running a further program inside a container: the way in, which libcontainer's own needs a bundle on disk for.
//!
//! Two forks. The first child joins the container's cgroup, then its namespaces; since a PID namespace holds for
//! children only, it forks once more, as a sibling, so that the shim reaps the program itself. The second child locks
//! itself down exactly as a container's first process does (see [`executor`](crate::executor)) and executes. Both run
//! code of ours only, hold no descriptor across the exec but their standard streams, and are not dumpable.

use std::{
    convert::Infallible,
    ffi::CString,
    fs, io,
    os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd},
    path::Path,
};

use nix::{
    fcntl::OFlag,
    sched::CloneFlags,
    unistd::{self, ForkResult, Gid, Pid, Uid},
};
use seccompiler::BpfProgram;

use crate::{
    executor::{StartPipe, find_in_path, limit_bounding, limit_held, reset_signals, wait_for_exec},
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

/// Runs `program` in the namespaces of `target`; it is running when this returns.
///
/// # Errors
/// The reason, of whichever process failed.
pub(crate) fn enter(target: Pid, program: &Program<'_>) -> Result<Pid, String> {
    let start = StartPipe::new().map_err(|error| error.to_string())?;
    let (pid_read, pid_write) = unistd::pipe2(OFlag::O_CLOEXEC).map_err(|error| error.to_string())?;
    // SAFETY: this process has one thread.
    let child = match unsafe { unistd::fork() }.map_err(|error| error.to_string())? {
        ForkResult::Parent { child } => child,
        ForkResult::Child => {
            if let Err(error) = join(target, program, start.child_end(), &pid_write) {
                tell(start.child_end(), &error);
            }
            // SAFETY: ends this process without running anything that belongs to its parent.
            unsafe { libc::_exit(0) }
        }
    };
    drop(pid_write);
    let mut pid = [0; size_of::<i32>()];
    // Nothing comes when the first child has failed; then it has told why.
    let read = unistd::read(pid_read.as_raw_fd(), &mut pid).map_err(|error| error.to_string())?;
    let pid = (read == pid.len()).then(|| Pid::from_raw(i32::from_ne_bytes(pid)));
    let executed = wait_for_exec(&start.into_read()).map_err(|error| error.to_string()).and_then(|executed| executed);
    nix::sys::wait::waitpid(child, None).map_err(|error| error.to_string())?;
    match (executed, pid) {
        (Ok(()), Some(pid)) => Ok(pid),
        (Ok(()), None) => Err("no process".to_owned()),
        (Err(error), pid) => {
            if let Some(pid) = pid {
                // It ends by itself, unless it was stopped. Reaped by nobody but us, the number is still its own.
                let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
            }
            Err(error)
        }
    }
}

/// The first child.
fn join(target: Pid, program: &Program<'_>, start: RawFd, pid_write: &OwnedFd) -> Result<(), String> {
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
    // SAFETY: without CLONE_VM this is fork(2), in a process of one thread.
    let forked = unsafe { libc::syscall(libc::SYS_clone, libc::CLONE_PARENT | libc::SIGCHLD, 0, 0, 0, 0) };
    match forked {
        0 => match execute(program) {
            Ok(never) => match never {},
            Err(error) => Err(error),
        },
        pid if pid > 0 => {
            let pid = i32::try_from(pid).map_err(|error| error.to_string())?;
            unistd::write(pid_write, &pid.to_ne_bytes()).map_err(|error| error.to_string())?;
            // Only the other one may tell how it went.
            unistd::close(start).map_err(|error| error.to_string())
        }
        _ => Err(failed("fork")(io::Error::last_os_error())),
    }
}

/// The second child.
fn execute(program: &Program<'_>) -> Result<Infallible, String> {
    let failed = |what: &'static str| move |error: io::Error| format!("cannot {what}: {error}");
    let errno = |what: &'static str| move |error: nix::Error| format!("cannot {what}: {error}");
    unistd::setsid().map_err(errno("leave the session"))?;
    for (number, fd) in (0..).zip(program.stdio) {
        unistd::dup2(fd.as_raw_fd(), number).map_err(errno("set the standard streams"))?;
    }
    // All are opened so, ours and the libraries'; nothing rests on that alone.
    // SAFETY: marks descriptors, closes none.
    if unsafe { libc::close_range(3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC.cast_signed()) } != 0 {
        return Err(failed("mark descriptors")(io::Error::last_os_error()));
    }
    if program.tty {
        // SAFETY: the descriptor is a terminal; the argument is a number.
        unsafe { libc::ioctl(0, libc::TIOCSCTTY, 0) };
    }
    unistd::chdir(program.cwd).map_err(errno("enter the working directory"))?;
    // A directory outside of the root can be reached through /proc only, and shows as unreachable (CVE-2024-21626).
    let inside = unistd::getcwd().is_ok_and(|cwd| cwd.is_absolute());
    if !inside {
        return Err(format!("the working directory {} is outside of the container", program.cwd.display()));
    }
    let path = find_in_path(program.args.first().map_or("", String::as_str), program.env)?;
    let text = |text: &str| CString::new(text).map_err(|error| error.to_string());
    let args = program.args.iter().map(|arg| text(arg)).collect::<Result<Vec<_>, _>>()?;
    let env = program.env.iter().map(|entry| text(entry)).collect::<Result<Vec<_>, _>>()?;
    let path = text(&path.to_string_lossy())?;
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
    match unistd::execve(&path, &args, &env) {
        Ok(never) => Ok(never),
        Err(error) => Err(format!("exec: {}: {}", path.to_string_lossy(), error.desc())),
    }
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

fn tell(pipe: RawFd, error: &str) {
    // SAFETY: the pipe was inherited open and is this process's own copy; nothing else uses the number.
    let pipe = unsafe { BorrowedFd::borrow_raw(pipe) };
    // If the shim is gone too, there is nobody left to tell.
    let _ = unistd::write(pipe, error.as_bytes());
}
