//! Where a task's files are, and how small ones are written so that a power cut leaves the old or the new content.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{self, Write},
    os::{
        fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd},
        unix::{ffi::OsStrExt, fs::OpenOptionsExt},
    },
    path::{Path, PathBuf},
    time::Duration,
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::{Deserialize, Serialize};

/// The task's directory, owned by the agent; the shim writes only the files named here and those its spec names.
#[derive(Debug, Clone)]
pub struct TaskDir(PathBuf);

/// Which process is (or was) the task's shim. A process id alone comes round again; with its start time it does not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShimProcess {
    /// Its process id.
    pub pid: u32,
    /// Field 22 of `/proc/<pid>/stat`: clock ticks from boot to its start.
    pub start_ticks: u64,
    /// `/proc/sys/kernel/random/boot_id` of the boot that it runs in.
    pub boot_id: String,
}

impl TaskDir {
    /// The layout below `dir`.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self(dir.into())
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The [`TaskSpec`](crate::spec::TaskSpec), written by the agent.
    pub fn task_file(&self) -> PathBuf {
        self.0.join("task.json")
    }

    /// The [`ShimProcess`], written by the shim before it listens.
    pub fn process_file(&self) -> PathBuf {
        self.0.join("shim.json")
    }

    /// What the shim has to complain about, bounded.
    pub fn log_file(&self) -> PathBuf {
        self.0.join("shim.log")
    }

    /// A directory for each container.
    pub fn containers(&self) -> PathBuf {
        self.0.join("containers")
    }

    /// A container's OCI bundle directory and [`Exit`](crate::status::Exit).
    pub fn container(&self, name: &str) -> PathBuf {
        self.containers().join(name)
    }

    /// The container's exit, once it has ended.
    pub fn exit_file(&self, name: &str) -> PathBuf {
        self.container(name).join("exit.json")
    }
}

impl ShimProcess {
    /// The process `pid` as it is now.
    ///
    /// # Errors
    /// There is no such process, or `/proc` cannot be read.
    pub fn inspect(pid: u32) -> io::Result<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // The command name, in parentheses, may hold anything; what follows the last one is numbers.
        let fields = || stat.rsplit_once(')').map(|(_, rest)| rest.split_ascii_whitespace());
        if fields().and_then(|mut fields| fields.next()).is_some_and(|state| matches!(state, "Z" | "X")) {
            return Err(io::Error::new(io::ErrorKind::NotFound, "dead, only not yet reaped"));
        }
        let start_ticks = fields()
            .and_then(|mut fields| fields.nth(19)?.parse().ok())
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no start time in /proc/<pid>/stat"))?;
        let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned();
        Ok(Self { pid, start_ticks, boot_id })
    }

    /// Whether this very process still exists.
    pub fn is_alive(&self) -> bool {
        Self::inspect(self.pid).is_ok_and(|now| now == *self)
    }

    /// Whether the process is the shim of the task in `dir`, by its command line.
    pub fn serves(&self, dir: &Path) -> bool {
        served_by(self.pid).as_deref() == Some(dir)
    }

    /// The shims of this machine, each with its task's directory. Reads the whole process table: for when files are broken.
    pub fn all() -> Vec<(Self, PathBuf)> {
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter_map(|pid: u32| Some((Self::inspect(pid).ok()?, served_by(pid)?))).collect()
    }
}

/// The task's directory of the shim `pid`: its arguments are `EXE shim --dir DIR`.
fn served_by(pid: u32) -> Option<PathBuf> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let mut arguments = line.split(|byte| *byte == 0).skip(1);
    let is_shim = arguments.next()? == b"shim" && arguments.next()? == b"--dir";
    is_shim.then(|| arguments.next().map(|dir| PathBuf::from(OsStr::from_bytes(dir))))?
}

/// Sends SIGKILL to this very process, if it still exists, and waits until it is gone.
///
/// # Errors
/// [`io::ErrorKind::TimedOut`] when it is still there after `wait_max`.
pub fn kill(target: &ShimProcess, wait_max: Duration) -> io::Result<()> {
    // SAFETY: plain numbers; the result is checked.
    let opened = unsafe { libc::syscall(libc::SYS_pidfd_open, target.pid, 0) };
    // Failed: there is no such process any more.
    let Some(fd) = RawFd::try_from(opened).ok().filter(|fd| *fd >= 0) else { return Ok(()) };
    // SAFETY: the kernel has just opened it for us.
    let process = unsafe { OwnedFd::from_raw_fd(fd) };
    // The descriptor holds on to one process: compared after opening, nobody else can be meant.
    if !target.is_alive() {
        return Ok(());
    }
    let no_info = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: plain numbers and no structure.
    unsafe { libc::syscall(libc::SYS_pidfd_send_signal, process.as_raw_fd(), libc::SIGKILL, no_info, 0) };
    let timeout = PollTimeout::try_from(wait_max).unwrap_or(PollTimeout::MAX);
    match poll(&mut [PollFd::new(process.as_fd(), PollFlags::POLLIN)], timeout)? {
        0 => Err(io::ErrorKind::TimedOut.into()),
        _ => Ok(()),
    }
}

/// Replaces `path` by `bytes` (mode 0600): all or nothing, and on disk when this returns.
///
/// # Errors
/// Any step of it; the old content is then still there.
pub fn write_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let staged = path.with_extension("tmp");
    let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&staged)?;
    file.write_all(bytes)?;
    file.sync_data()?;
    fs::rename(&staged, path)?;
    path.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
}
