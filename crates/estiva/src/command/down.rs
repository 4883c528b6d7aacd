//! `estiva down`: ends what `estiva up` started.

use std::fs::File;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::panic::resume_unwind;
use std::thread;

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
use crate::nodes::{Leftover, NodeRecord, open_fleet};
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
    let stopped = stop_nodes(&here)?;
    here.leave_run_dir();
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

/// Stops the tasks of all nodes at the same time: one whose task cannot be ended keeps no other's running. The next
/// `estiva up` brings the nodes back.
fn stop_nodes(here: &Installation) -> Result<usize> {
    let records = NodeRecord::all(here)?;
    let mut fleet = if records.is_empty() { None } else { Some(open_fleet(here)?) };
    let mut further = Vec::new();
    if let Some(fleet) = &mut fleet {
        for record in &records {
            further.push(Leftover::find(here, fleet, record)?);
        }
    }
    let stopped = thread::scope(|scope| {
        let others: Vec<_> = further.into_iter().map(|node| scope.spawn(|| node.stop_tasks())).collect();
        let first = stop_first(here);
        let others = others.into_iter().map(|other| other.join().unwrap_or_else(|panic| resume_unwind(panic)));
        // All have ended before the first error is told.
        let all: Vec<Result<usize>> = std::iter::once(first).chain(others).collect();
        all.into_iter().sum::<Result<usize>>()
    })?;
    if let Some(fleet) = fleet {
        fleet.dismantle().context("cannot take the nodes' network away")?;
    }
    Ok(stopped)
}

/// Stops the tasks of the node that `up` itself brings.
fn stop_first(here: &Installation) -> Result<usize> {
    let runtime = tokio::runtime::Runtime::new()?;
    let node = super::agent::node_options(here)?;
    let stop = || runtime.block_on(estiva_agent::stop_all_tasks(&node));
    patiently(AgentError::is_taken, stop).context("cannot stop the node's tasks")
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
