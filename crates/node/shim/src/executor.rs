//! The last steps of a container's first process: lock the process down, wait for the start, become the program.
//!
//! libcontainer would drop capabilities before it calls an executor, and then the seccomp filter could not be installed
//! without `no_new_privs` (see [`seccomp`](crate::seccomp)). So the configuration that libcontainer gets names no
//! capabilities, and this executor locks the process down itself, in `validate`: filter, bounding set, the other sets.
//! libcontainer calls it when everything else is set up, and lets the process wait for its start only then. While it
//! waits, a neighbour in the same PID namespace may look into it: what it finds is the container's root and
//! capabilities, and no descriptor of the shim's. Until then there is no neighbour that could (see `process::create`).
//!
//! Failures before the start come back from libcontainer; a failure of the very exec goes through [`StartPipe`].

use std::{
    cell::RefCell,
    convert::Infallible,
    ffi::{CStr, CString, NulError, OsStr},
    fs, io,
    ops::Range,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
        unix::fs::PermissionsExt,
    },
    path::{Path, PathBuf},
    rc::Rc,
    time::{Duration, Instant},
};

use crate::{init, oci::Capability, seccomp};
use libcontainer::{
    oci_spec::runtime::Spec,
    workload::{Executor, ExecutorError, ExecutorValidationError},
};
use nix::{
    fcntl::OFlag,
    poll::{PollFd, PollFlags, poll},
    sys::signal::SigSet,
    unistd,
};

const PATH_FALLBACK: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Begins the messages of [`ContainerExecutor::validate`], for [`NOT_FOUND`] and [`NOT_EXECUTABLE`] to be recognised
/// in what libcontainer makes of them.
pub(crate) const NOT_FOUND: &str = "executable file not found";
pub(crate) const NOT_EXECUTABLE: &str = "not an executable file";
const REASON_BYTES_MAX: usize = 4096;
const LINUX_CAPABILITY_VERSION_3: u32 = 0x2008_0522;
const SIGNAL_MAX: libc::c_int = 64;
/// A process that enters a container, or starts it, has a few calls to go.
pub(crate) const EXEC_WAIT_MS_MAX: u16 = 5000;

/// Tells the shim what became of an exec: closed without a word is success, since the kernel closes it on exec.
#[derive(Debug)]
pub(crate) struct StartPipe {
    read: OwnedFd,
    write: OwnedFd,
}

impl StartPipe {
    pub(crate) fn new() -> io::Result<Self> {
        let (read, write) = unistd::pipe2(OFlag::O_CLOEXEC)?;
        Ok(Self { read, write })
    }

    /// The end for the container's process, as inherited by number.
    pub(crate) fn child_end(&self) -> RawFd {
        self.write.as_raw_fd()
    }

    /// Says why there will be no exec.
    pub(crate) fn tell(&self, reason: &str) {
        tell(self.child_end(), reason);
    }

    /// The end for the shim; after the process was forked.
    pub(crate) fn into_read(self) -> OwnedFd {
        self.read
    }
}

fn tell(pipe: RawFd, reason: &str) {
    // SAFETY: the pipe was inherited open and is this process's own copy; nothing else uses the number.
    let pipe = unsafe { BorrowedFd::borrow_raw(pipe) };
    // If the shim is gone too, there is nobody left to tell.
    let _ = unistd::write(pipe, reason.as_bytes());
}

/// Waits for the exec: `Err` is its reason. The process has a few calls to go, so this is short; unless a neighbour in
/// its PID namespace has stopped it, hence the limit: the shim has others to serve.
pub(crate) fn wait_for_exec(pipe: &OwnedFd) -> io::Result<Result<(), String>> {
    let mut reason = vec![0; REASON_BYTES_MAX];
    let mut filled = 0;
    // One for all of it: who traces the process could send byte by byte.
    let deadline = Instant::now() + Duration::from_millis(EXEC_WAIT_MS_MAX.into());
    while filled < reason.len() {
        let left = deadline.saturating_duration_since(Instant::now()).as_millis();
        let left = u16::try_from(left).unwrap_or(EXEC_WAIT_MS_MAX);
        if poll(&mut [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)], left)? == 0 {
            return Err(io::ErrorKind::TimedOut.into());
        }
        match unistd::read(pipe.as_raw_fd(), &mut reason[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    reason.truncate(filled);
    Ok(if reason.is_empty() { Ok(()) } else { Err(described(&String::from_utf8_lossy(&reason))) })
}

/// `estiva-init` has no texts for error numbers.
fn described(reason: &str) -> String {
    let described = reason.rsplit_once(": errno ").and_then(|(subject, number)| {
        let errno = nix::errno::Errno::from_raw(number.parse().ok()?);
        Some(format!("{subject}: {}", errno.desc()))
    });
    described.unwrap_or_else(|| reason.to_owned())
}

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct ContainerExecutor {
    /// What the program may have.
    pub capabilities: Vec<Capability>,
    /// Install the default filter.
    pub filter: bool,
    /// The [`StartPipe::child_end`].
    pub start_pipe: RawFd,
    /// `estiva-init`, which the container's first process becomes; the program is its child.
    pub init: Option<RawFd>,
    /// What the process inherits of the shim's descriptors, by number, beside those above.
    pub inherited: Vec<RawFd>,
    /// See [`arguments`].
    pub arguments: Range<usize>,
    /// The program's path: found by `validate`, used by `exec`.
    pub program: Rc<RefCell<Option<CString>>>,
}

impl Executor for ContainerExecutor {
    fn validate(&self, spec: &Spec) -> Result<(), ExecutorValidationError> {
        let refuse = ExecutorValidationError::ArgValidationError;
        let program = find_program(spec).map_err(refuse)?;
        let program = CString::new(program.into_os_string().into_encoded_bytes());
        *self.program.borrow_mut() = Some(program.map_err(|error| refuse(error.to_string()))?);
        self.lock_down().map_err(refuse)
    }

    fn exec(&self, spec: &Spec) -> Result<(), ExecutorError> {
        let error = match self.become_program(spec) {
            Ok(never) => match never {},
            Err(error) => error,
        };
        tell(self.start_pipe, &error);
        Err(ExecutorError::Other(error))
    }
}

impl ContainerExecutor {
    fn lock_down(&self) -> Result<(), String> {
        for fd in &self.inherited {
            // SAFETY: this process's copies; nothing here uses the shim's descriptors.
            unsafe { libc::close(*fd) };
        }
        let failed = |what: &'static str| move |error: io::Error| format!("cannot {what}: {error}");
        hide_arguments(&self.arguments);
        // What the process is going to be may be looked into by those with CAP_SYS_PTRACE alone.
        nix::sys::prctl::set_dumpable(false).map_err(|errno| errno.desc().to_owned())?;
        if self.filter {
            let filter = seccomp::compile(&self.capabilities);
            let filter = filter.map_err(|error| format!("cannot compile the seccomp profile: {error}"))?;
            seccomp::install(&filter).map_err(failed("install the seccomp filter"))?;
        }
        limit_bounding(&self.capabilities).map_err(failed("drop capabilities"))?;
        limit_held(&self.capabilities).map_err(failed("drop capabilities"))
    }

    fn become_program(&self, spec: &Spec) -> Result<Infallible, String> {
        let program = self.program.take().ok_or("exec without validation")?;
        let args = spec.process().as_ref().and_then(|process| process.args().as_ref()).ok_or("no arguments")?;
        let args: Vec<CString> = collect(args.iter().map(String::as_bytes)).map_err(|error| error.to_string())?;
        let env: Vec<_> = std::env::vars_os()
            .map(|(key, value)| [key.as_encoded_bytes(), b"=", value.as_encoded_bytes()].concat())
            .collect();
        let env: Vec<CString> = collect(env.iter().map(Vec::as_slice)).map_err(|error| error.to_string())?;
        reset_signals().map_err(|error| format!("cannot reset signals: {error}"))?;
        let errno = match self.init {
            Some(init) => self.become_init(init, &program, args, &env).map_err(|error| format!("init: {error}"))?,
            None => unistd::execve(&program, &args, &env),
        };
        match errno {
            Ok(never) => Ok(never),
            Err(errno) => Err(format!("exec: {}: {}", program.to_string_lossy(), errno.desc())),
        }
    }

    fn become_init(
        &self,
        init: RawFd,
        program: &CStr,
        args: Vec<CString>,
        env: &[CString],
    ) -> io::Result<nix::Result<Infallible>> {
        // SAFETY: the pipe was inherited open and is this process's own copy; nothing else uses the number.
        init::keep_across_exec(unsafe { BorrowedFd::borrow_raw(self.start_pipe) })?;
        let given = [init::number(self.start_pipe)?, program.to_owned()].into_iter().chain(args);
        Ok(init::execute(init, c"init", &given.collect::<Vec<_>>(), env))
    }
}

/// Where this process has its command line in memory, and so have those that it forks.
pub(crate) fn arguments() -> Range<usize> {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Fields 48 and 49 of proc(5), counted from the third, which follows the name in parentheses.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_ascii_whitespace().skip(45);
    let bounds: Vec<usize> = fields.take(2).filter_map(|field| field.parse().ok()).collect();
    if let [start, end] = bounds[..] { start..end } else { 0..0 }
}

/// Until the exec the process has the shim's command line, and so a path of the host's. `PR_SET_MM` would need `CAP_SYS_RESOURCE`, which
/// the machine may withhold. The place is the shim's word: a container's `/proc` may be a stranger's.
fn hide_arguments(place: &Range<usize>) {
    if place.is_empty() {
        return;
    }
    // SAFETY: where the kernel has said that the arguments are, on the initial stack; nothing reads them any more.
    unsafe { std::ptr::write_bytes(place.start as *mut u8, 0, place.len()) };
}

fn collect<'a>(texts: impl Iterator<Item = &'a [u8]>) -> Result<Vec<CString>, NulError> {
    texts.map(CString::new).collect()
}

/// What the shim blocks and ignores (or inherited from whoever started the agent) would outlive the exec.
pub(crate) fn reset_signals() -> nix::Result<()> {
    for number in 1..=SIGNAL_MAX {
        // By the plain call: glibc hides the two signals that it uses itself. SIGKILL and SIGSTOP fail, as they may.
        // SAFETY: the structure is the kernel's `struct sigaction` with the default action, which runs no code of ours.
        unsafe {
            let default = [0_u64; 4];
            let old = std::ptr::null_mut::<u64>();
            libc::syscall(libc::SYS_rt_sigaction, number, default.as_ptr(), old, size_of::<u64>());
        }
    }
    SigSet::empty().thread_set_mask()
}

fn bits(capabilities: &[Capability]) -> u64 {
    capabilities.iter().fold(0, |set, capability| set | capability.bit())
}

/// The bounding set; needs `CAP_SETPCAP`.
pub(crate) fn limit_bounding(keep: &[Capability]) -> io::Result<()> {
    let kept = bits(keep);
    let ok = |result: libc::c_int| if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) };
    for number in 0..64_u64 {
        // SAFETY: prctl with plain numbers.
        let known = unsafe { libc::prctl(libc::PR_CAPBSET_READ, number, 0, 0, 0) } >= 0;
        if known && kept & (1 << number) == 0 {
            // SAFETY: as above.
            ok(unsafe { libc::prctl(libc::PR_CAPBSET_DROP, number, 0, 0, 0) })?;
        }
    }
    // SAFETY: as above.
    ok(unsafe { libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) })
}

/// The effective, permitted and inheritable sets, once the process is who it shall be. Nothing stays inheritable
/// (CVE-2022-24769: it would revive through file capabilities).
pub(crate) fn limit_held(keep: &[Capability]) -> io::Result<()> {
    let kept = bits(keep);
    // SAFETY: it cannot fail.
    let uid_is_root = unsafe { libc::geteuid() } == 0;
    let header = [LINUX_CAPABILITY_VERSION_3, 0];
    // Effective, permitted, inheritable; first for numbers below 32, then for the others.
    let mut sets = [0_u32; 6];
    // SAFETY: version 3 reads a header of two 32-bit numbers and writes six.
    let read = unsafe { libc::syscall(libc::SYS_capget, header.as_ptr(), sets.as_mut_ptr()) };
    if read != 0 {
        return Err(io::Error::last_os_error());
    }
    // What the machine withholds from us we cannot give (Estiva itself in a container).
    let permitted = u64::from(sets[1]) | u64::from(sets[4]) << 32;
    // A user that is not root has none after exec in any case (nothing ambient); it must not have them before either.
    let held = if uid_is_root { kept & permitted } else { 0 };
    #[allow(clippy::cast_possible_truncation)] // The two halves.
    let [low, high] = [held as u32, (held >> 32) as u32];
    sets = [low, low, 0, high, high, 0];
    // SAFETY: as for reading, but it only reads.
    let result = unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), sets.as_ptr()) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The program's path; this process is inside the container's root already, in its working directory.
fn find_program(spec: &Spec) -> Result<PathBuf, String> {
    let process = spec.process().as_ref().ok_or("no process")?;
    let name = process.args().as_ref().and_then(|args| args.first()).ok_or("no arguments")?;
    find_in_path(name, process.env().as_deref().unwrap_or_default())
}

/// The path of the program `name` for a process with the variables `env`.
pub(crate) fn find_in_path(name: &str, env: &[String]) -> Result<PathBuf, String> {
    if name.contains('/') {
        let path = Path::new(name);
        return match executable(path) {
            Ok(true) => Ok(path.to_owned()),
            Ok(false) => Err(format!("exec: {name:?}: {NOT_EXECUTABLE}")),
            Err(error) => Err(format!("exec: {name:?}: {NOT_FOUND}: {error}")),
        };
    }
    let path = env.iter().rev().find_map(|entry| entry.strip_prefix("PATH=")).unwrap_or(PATH_FALLBACK);
    let candidates =
        path.split(':').map(|dir| Path::new(if dir.is_empty() { "." } else { dir }).join(OsStr::new(name)));
    let found = candidates.into_iter().find(|candidate| executable(candidate).unwrap_or(false));
    found.ok_or_else(|| format!("exec: {name:?}: {NOT_FOUND} in $PATH"))
}

fn executable(path: &Path) -> io::Result<bool> {
    let metadata = fs::metadata(path)?;
    Ok(metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}
