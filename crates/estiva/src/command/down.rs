//! `estiva down`: ends what `estiva up` started.

use std::fs::File;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};

use anyhow::{Context, Result};
use clap::Args;
use estiva_agent::AgentError;
use nix::errno::Errno;
use nix::fcntl::Flock;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::up::control;
use crate::installation::{Installation, InstallationOptions};
use crate::nodes::{NodeRecord, open_fleet, stop_tasks};
use crate::patience::patiently;
use crate::supervisor_state::SupervisorState;
use crate::telemetry;

/// Stop Estiva and its tasks
#[derive(Args)]
pub struct Options {
    /// Let the tasks run on; the next `estiva up` takes them back
    #[arg(long)]
    keep_tasks: bool,
}

/// Returns when everything has ended.
pub fn run(installation: &InstallationOptions, options: &Options) -> Result<()> {
    let here = installation.open()?;
    let _lock = end_supervisor(&here)?;
    // One that was killed may have left it.
    control::remove(&here.control_socket()?)?;
    if options.keep_tasks {
        return Ok(());
    }
    telemetry::start();
    // The further nodes first: their directories are within that of the first.
    let stopped = stop_further(&here)? + stop_first(&here)?;
    if stopped > 0 {
        println!("stopped {stopped} task{}", if stopped == 1 { "" } else { "s" });
    }
    Ok(())
}

/// Ends the `estiva up` that runs, if one does, and takes its place. Without one, a file that names a process is of an `up`
/// that was killed, and the process is somebody else's by now.
fn end_supervisor(here: &Installation) -> Result<Flock<File>> {
    if let Ok(lock) = here.lock() {
        return Ok(lock);
    }
    if let Some(state) = SupervisorState::load(&here.supervisor_file())? {
        end(Pid::from_raw(state.pid))?;
    }
    here.lock().context("Estiva is still up")
}

/// Stops the tasks of the node that `up` itself brings.
fn stop_first(here: &Installation) -> Result<usize> {
    let runtime = tokio::runtime::Runtime::new()?;
    let node = super::agent::node_options(here)?;
    let stop = || runtime.block_on(estiva_agent::stop_all_tasks(&node));
    patiently(AgentError::is_taken, stop).context("cannot stop the node's tasks")
}

/// Stops the tasks of further nodes; the next `estiva up` brings the nodes back.
fn stop_further(here: &Installation) -> Result<usize> {
    let nodes = NodeRecord::all(here)?;
    if nodes.is_empty() {
        return Ok(0);
    }
    let mut fleet = open_fleet(here)?;
    let mut stopped = 0;
    for node in &nodes {
        stopped += stop_tasks(here, &mut fleet, node)?;
    }
    fleet.dismantle().context("cannot take the nodes' network away")?;
    Ok(stopped)
}

/// Sends SIGTERM and waits for the process to go.
fn end(pid: Pid) -> Result<()> {
    // SAFETY: pidfd_open takes two integers and gives a new descriptor or an error.
    let descriptor = unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) };
    let Ok(raw) = i32::try_from(descriptor) else { return Ok(()) };
    if raw < 0 {
        // It was killed without the time to remove its file.
        return if Errno::last() == Errno::ESRCH { Ok(()) } else { Err(Errno::last()).context("cannot watch Estiva") };
    }
    // SAFETY: the kernel just gave us this descriptor.
    let pidfd = unsafe { OwnedFd::from_raw_fd(raw) };
    match kill(pid, Signal::SIGTERM) {
        Err(Errno::ESRCH) => return Ok(()),
        other => other.context("cannot stop Estiva")?,
    }
    poll(&mut [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE).context("cannot wait for Estiva")?;
    Ok(())
}
