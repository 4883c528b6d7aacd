//! One container and its life: created, running, stopped.

use std::{
    io,
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use libcontainer::container::Container as Runtime;
use nix::{
    errno::Errno,
    sys::wait::{WaitStatus, waitpid},
    unistd::Pid,
};

use super::{
    create::{Created, runtime_failure},
    exec::Template,
    output::Output,
};
use crate::{
    cgroup::Cgroup,
    executor::wait_for_exec,
    layout::{TaskDir, write_durably},
    log::{Now, Sink},
    oci::Capability,
    protocol::{Failure, FailureKind},
    rootfs::Mounts,
    spec::{ContainerSpec, ExecSpec},
    status::{ContainerState, Exit, Status},
};

const CODE_SIGNAL_BASE: i32 = 128;
/// How long killed processes may take to go before a delete fails.
const DEATH_WAIT_MAX: Duration = Duration::from_secs(2);

pub(super) struct Container {
    pub name: String,
    pub id: String,
    pub pid: Pid,
    pub output: Output,
    pub stop_signal: i32,
    /// When everything in it is killed, after a [`Self::stop`].
    pub kill_at: Option<Instant>,
    status: Status,
    cgroup: Cgroup,
    runtime: Runtime,
    start_pipe: Option<OwnedFd>,
    template: Template,
    /// Unmounted with the container.
    _mounts: Mounts,
    /// For another start.
    restart: Option<Box<ContainerSpec>>,
    /// Held open for as long as the container lives.
    _stdin: Option<OwnedFd>,
}

impl Container {
    pub(super) fn new(spec: &ContainerSpec, created: Created, cgroup: Cgroup) -> Self {
        Self {
            name: spec.name.clone(),
            id: spec.id.clone(),
            pid: created.pid,
            output: created.output,
            stop_signal: spec.stop_signal,
            kill_at: None,
            status: Status::Created { pid: created.pid.as_raw().unsigned_abs() },
            cgroup,
            runtime: created.runtime,
            start_pipe: Some(created.start_pipe),
            template: created.template,
            _mounts: created.mounts,
            restart: spec.restartable.then(|| Box::new(spec.clone())),
            _stdin: created.stdin,
        }
    }

    pub(super) fn state(&self) -> ContainerState {
        ContainerState { name: self.name.clone(), id: self.id.clone(), status: self.status.clone() }
    }

    pub(super) fn is_stopped(&self) -> bool {
        matches!(self.status, Status::Stopped(_))
    }

    /// Executes the program.
    pub(super) fn start(&mut self) -> Result<(), Failure> {
        if !matches!(self.status, Status::Created { .. }) {
            return Err(self.wrong_state("be started"));
        }
        let Some(pipe) = self.start_pipe.take() else { return Err(self.wrong_state("be started")) };
        let started_at_ms = Now::read().ms();
        self.runtime.start().map_err(|error| runtime_failure(&error))?;
        let executed = wait_for_exec(&pipe).map_err(|error| runtime_failure(&error))?;
        executed.map_err(|message| Failure { kind: FailureKind::ProgramNotExecutable, message })?;
        self.status = Status::Running { pid: self.pid.as_raw().unsigned_abs(), started_at_ms };
        Ok(())
    }

    pub(super) fn signal(&self, signal: i32) -> Result<(), Failure> {
        if !matches!(self.status, Status::Running { .. }) {
            return Err(self.wrong_state("be signalled"));
        }
        send_signal(self.pid, signal).map_err(|error| self.runtime(&error))
    }

    /// Starts a further program. `known` are the shim's children.
    pub(super) fn exec(&self, spec: &ExecSpec, known: &[Pid]) -> Result<(Pid, Vec<OwnedFd>), Failure> {
        if !matches!(self.status, Status::Running { .. }) {
            return Err(self.wrong_state("run a further program"));
        }
        self.template.run(self.pid, spec, known)
    }

    /// Its cgroup, if its programs may look into whatever shares its PID namespace.
    pub(super) fn observer(&self) -> Option<&Cgroup> {
        let observes = self.template.shares_pids && self.template.capabilities.contains(&Capability::SysPtrace);
        (observes && !self.is_stopped()).then_some(&self.cgroup)
    }

    /// Sends `signal` now, and SIGKILL when `timeout` has passed.
    pub(super) fn stop(&mut self, signal: Option<i32>, timeout: Duration) -> Result<(), Failure> {
        match self.status {
            Status::Stopped(_) => return Ok(()),
            // It waits for a start that will not come, and handles no signal.
            Status::Created { .. } => return self.kill(),
            Status::Running { .. } => {}
        }
        self.signal(signal.unwrap_or(self.stop_signal))?;
        // A second stop may shorten the first, never prolong it.
        let deadline = Instant::now().checked_add(timeout);
        self.kill_at = self.kill_at.into_iter().chain(deadline).min();
        Ok(())
    }

    /// SIGKILL to everything in it.
    pub(super) fn kill(&mut self) -> Result<(), Failure> {
        self.kill_at = None;
        if self.is_stopped() {
            return Ok(());
        }
        self.cgroup.kill().map_err(|error| self.runtime(&error))
    }

    /// Its first process was reaped: kills what is left, records the exit on disk, and only then makes it known.
    pub(super) fn ended(&mut self, dir: &TaskDir, ended: WaitStatus) -> (Exit, io::Result<()>) {
        let (code, signal) = exit_code(ended);
        let started_at_ms = match self.status {
            Status::Running { started_at_ms, .. } => Some(started_at_ms),
            Status::Created { .. } | Status::Stopped(_) => None,
        };
        let oom = code == CODE_SIGNAL_BASE + libc::SIGKILL && self.cgroup.oom_kills() > 0;
        let exit = Exit { code, signal, oom, started_at_ms, at_ms: Now::read().ms() };
        // Without a PID namespace of its own, a container's other processes outlive its first.
        let killed = self.cgroup.kill();
        let path = dir.exit_file(&self.name);
        let recorded = serde_json::to_vec(&exit).map_err(io::Error::from).and_then(|text| write_durably(&path, &text));
        self.status = Status::Stopped(exit.clone());
        self.kill_at = None;
        if self.restart.is_none() {
            self.output.container_ended();
        }
        (exit, killed.and(recorded))
    }

    /// Makes sure that no process is left and the cgroup is gone.
    pub(super) fn remove_processes(&mut self) -> Result<(), Failure> {
        match self.status {
            Status::Running { .. } => return Err(self.wrong_state("be deleted")),
            Status::Created { .. } => {
                self.kill()?;
                match waitpid(self.pid, None) {
                    Ok(_) | Err(Errno::ECHILD) => {}
                    Err(error) => return Err(self.runtime(&error.into())),
                }
            }
            Status::Stopped(_) => {}
        }
        self.cgroup.kill_and_remove(DEATH_WAIT_MAX).map_err(|error| self.runtime(&error))
    }

    /// What to make it from again, and the log that goes on.
    pub(super) fn take_for_restart(&mut self, buffer: &mut [u8]) -> Result<(Box<ContainerSpec>, Sink), Failure> {
        if !self.is_stopped() {
            return Err(self.wrong_state("be restarted"));
        }
        let Some(spec) = self.restart.take() else {
            return Err(self.wrong_state("be restarted: it was not made for it"));
        };
        Ok((spec, self.output.take_sink(buffer)))
    }

    fn wrong_state(&self, what: &str) -> Failure {
        let state = match self.status {
            Status::Created { .. } => "created",
            Status::Running { .. } => "running",
            Status::Stopped(_) => "stopped",
        };
        Failure {
            kind: FailureKind::WrongState,
            message: format!("container {} is {state}, it cannot {what}", self.name),
        }
    }

    fn runtime(&self, error: &io::Error) -> Failure {
        Failure { kind: FailureKind::Runtime, message: format!("container {}: {error}", self.name) }
    }
}

/// Sends a signal to a child that was not yet reaped.
pub(super) fn send_signal(child: Pid, signal: i32) -> io::Result<()> {
    // SAFETY: kill takes plain numbers; unreaped, the number is still the child's. nix's enum has no real-time signals,
    // which some images ask for as their stop signal.
    let result = unsafe { libc::kill(child.as_raw(), signal) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The exit code that a shell would give, and the signal.
pub(super) fn exit_code(ended: WaitStatus) -> (i32, Option<i32>) {
    match ended {
        WaitStatus::Exited(_, code) => (code, None),
        WaitStatus::Signaled(_, signal, _) => (CODE_SIGNAL_BASE + signal as i32, Some(signal as i32)),
        _ => (CODE_SIGNAL_BASE, None),
    }
}
