//! Further programs of a container: starting them, and remembering them until they end.

use std::os::fd::{AsFd, OwnedFd};

use nix::{
    fcntl::OFlag,
    pty::openpty,
    unistd::{Pid, pipe2},
};

use super::create::{io_failure, program_failure};
use crate::{
    enter::{Program, enter},
    oci::Capability,
    protocol::Failure,
    rootfs::{self, Identity},
    seccomp,
    spec::{ContainerSpec, ExecSpec, NamespaceMode},
};

/// What a further program has in common with its container.
#[derive(Debug)]
pub(super) struct Template {
    root: std::path::PathBuf,
    env: Vec<String>,
    cwd: std::path::PathBuf,
    identity: Identity,
    pub capabilities: Vec<Capability>,
    pub filter: bool,
    no_new_privileges: bool,
    /// With the task's other containers.
    pub shares_pids: bool,
    cgroup: Vec<std::path::PathBuf>,
}

/// A further program that runs.
#[derive(Debug)]
pub(super) struct Exec {
    pub container: String,
    pub id: String,
    pub pid: Pid,
}

impl Template {
    pub(super) fn new(
        spec: &ContainerSpec,
        env: Vec<String>,
        identity: Identity,
        capabilities: Vec<Capability>,
        cgroup: Vec<std::path::PathBuf>,
    ) -> Self {
        Self {
            root: spec.rootfs.target.clone(),
            env,
            cwd: spec.cwd.clone(),
            identity,
            capabilities,
            filter: !spec.privileged && !spec.seccomp_unconfined,
            no_new_privileges: spec.no_new_privileges,
            shares_pids: spec.pid_mode == NamespaceMode::Task,
            cgroup,
        }
    }

    /// Starts a further program in the container whose first process is `target`. Returns its process, and the agent's
    /// ends of its streams: the terminal, or stdin, stdout and stderr. When the agent drops them the program notices,
    /// as with any pipe; the shim holds nothing. `known` are the shim's children.
    pub(super) fn run(&self, target: Pid, spec: &ExecSpec, known: &[Pid]) -> Result<(Pid, Vec<OwnedFd>), Failure> {
        let streams = |error: nix::Error| io_failure("open the standard streams", &error.into());
        let identity = match &spec.user {
            Some(user) => rootfs::identify(&self.root, user)?,
            None => self.identity.clone(),
        };
        let filter = if self.filter { Some(seccomp::compile(&self.capabilities)) } else { None };
        let filter = filter.transpose().map_err(|error| super::create::runtime_failure(&error))?;
        let home = format!("HOME={}", identity.home);
        let env: Vec<String> = std::iter::once(&home).chain(&self.env).chain(&spec.env).cloned().collect();
        let (inside, outside) = if spec.tty { terminal() } else { pipes() }.map_err(streams)?;
        let stdio = match inside.as_slice() {
            [stdin, stdout, stderr] => [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()],
            _ => return Err(streams(nix::Error::EMFILE)),
        };
        let program = Program {
            args: &spec.args,
            env: &merged(env),
            cwd: spec.cwd.as_deref().unwrap_or(&self.cwd),
            identity: &identity,
            capabilities: &self.capabilities,
            filter: filter.as_ref(),
            no_new_privileges: self.no_new_privileges,
            cgroup: &self.cgroup,
            stdio,
            tty: spec.tty,
        };
        let pid = enter(target, &program, known).map_err(program_failure)?;
        Ok((pid, outside))
    }
}

/// Of several entries for a variable the last, in its place: `execve` would pass all, and programs differ in which
/// they take.
fn merged(env: Vec<String>) -> Vec<String> {
    let key = |entry: &String| entry.split_once('=').map_or(entry.clone(), |(key, _)| key.to_owned());
    let mut keys = std::collections::BTreeSet::new();
    let mut kept: Vec<String> = env.into_iter().rev().filter(|entry| keys.insert(key(entry))).collect();
    kept.reverse();
    kept
}

type Ends = (Vec<OwnedFd>, Vec<OwnedFd>);

fn pipes() -> nix::Result<Ends> {
    let (stdin, input) = pipe2(OFlag::O_CLOEXEC)?;
    let (output, stdout) = pipe2(OFlag::O_CLOEXEC)?;
    let (error, stderr) = pipe2(OFlag::O_CLOEXEC)?;
    Ok((vec![stdin, stdout, stderr], vec![input, output, error]))
}

/// A terminal of the host's `devpts`, whose name does not exist inside: programs see a terminal all the same.
fn terminal() -> nix::Result<Ends> {
    let pair = openpty(None, None)?;
    for fd in [&pair.master, &pair.slave] {
        let flags = nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC);
        nix::fcntl::fcntl(std::os::fd::AsRawFd::as_raw_fd(fd), flags)?;
    }
    let copy =
        || pair.slave.try_clone().map_err(|error| nix::Error::from_raw(error.raw_os_error().unwrap_or(libc::EIO)));
    Ok((vec![copy()?, copy()?, copy()?], vec![pair.master]))
}
