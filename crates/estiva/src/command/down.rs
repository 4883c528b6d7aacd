//! `estiva down`: ends what `estiva up` started.

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::panic::resume_unwind;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use estiva_agent::{AgentError, Seat};
use estiva_network::Subnet;
use estiva_shim::layout::{ShimProcess, kill as kill_process};
use nix::errno::Errno;
use nix::fcntl::Flock;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::agent::further_node_options;
use super::up::control;
use crate::installation::{Installation, InstallationOptions};
use crate::nodes::{Leftover, NodeRecord, open_fleet};
use crate::patience::patiently;
use crate::supervisor_state::SupervisorState;
use crate::{output, telemetry};

/// Stop Estiva and its tasks
#[derive(Args)]
pub struct Options {
    /// Let the tasks run on; the next `estiva up` takes them back
    #[arg(long)]
    keep_tasks: bool,
}

/// Between two looks whether a process is gone.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// How long `estiva up`, and after it its parts, may take to end before they are killed.
const END_WAIT_MAX: Duration = Duration::from_secs(10);

/// Returns when everything has ended. It comes to its end in any case, and tells what it could not do in order.
pub fn run(installation: &InstallationOptions, options: &Options) -> Result<()> {
    let here = installation.open()?;
    let _lock = end_supervisor(&here)?;
    let ended = end_parts(&here);
    // One that was killed may have left it.
    control::remove(&here.control_socket()?)?;
    if options.keep_tasks {
        return ended;
    }
    telemetry::start();
    let Stopped { tasks, mut failures } = stop_nodes(&here);
    failures.extend(ended.err());
    here.leave_run_dir();
    if tasks > 0 {
        println!("stopped {tasks} task{}", if tasks == 1 { "" } else { "s" });
    }
    if failures.is_empty() {
        return Ok(());
    }
    for failure in &failures {
        output::complain(&format!("{failure:#}"));
    }
    bail!("Estiva is down, but not everything ended in order")
}

/// Ends the `estiva up` that runs, if one does, and takes its place. Without one, a file that names a process is of an `up`
/// that was killed, and the process is somebody else's by now.
fn end_supervisor(here: &Installation) -> Result<Flock<File>> {
    if let Ok(lock) = here.lock() {
        return Ok(lock);
    }
    let named = match SupervisorState::load(&here.supervisor_file()) {
        Ok(state) => state.and_then(|state| u32::try_from(state.pid).ok()),
        Err(error) => {
            output::complain(&format!("{error:#}; looking for the process that holds the lock"));
            None
        }
    };
    let holder = named.and_then(|pid| ShimProcess::inspect(pid).ok()).or_else(|| holder_of(&here.lock_file()));
    if let Some(process) = holder {
        end(&process, "estiva up")?;
    }
    patiently(|_| true, || here.lock()).context("Estiva is still up")
}

/// The process that has this file open.
fn holder_of(file: &Path) -> Option<ShimProcess> {
    let has_it = |pid: &u32| {
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        descriptors.map(|entry| fs::read_link(entry.path())).any(|link| link.is_ok_and(|link| link == file))
    };
    pids().filter(|pid| *pid != std::process::id()).find(has_it).and_then(|pid| ShimProcess::inspect(pid).ok())
}

fn pids() -> impl Iterator<Item = u32> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Ends servers and agents that outlived their `estiva up`: they hang, for they were told to end with it.
fn end_parts(here: &Installation) -> Result<()> {
    for pid in pids() {
        // What containers run is in other mount namespaces, whatever its command line says.
        let Some(part) = part_of(here, pid).filter(|_| is_in_our_mount_namespace(pid)) else { continue };
        if let Ok(process) = ShimProcess::inspect(pid) {
            end(&process, &format!("estiva {part}"))?;
        }
    }
    Ok(())
}

/// Which part of this installation a process is, if it is one: its arguments are `EXE --data DIR --listen ADDR PART …`.
fn part_of(here: &Installation, pid: u32) -> Option<&'static str> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let arguments: Vec<&[u8]> = line.split(|byte| *byte == 0).skip(1).take(5).collect();
    let [b"--data", data, b"--listen", _, part] = arguments.as_slice() else { return None };
    if *data != here.data().as_os_str().as_encoded_bytes() {
        return None;
    }
    // An `up` is among them if the data directory, and with it the lock, was removed under it.
    ["up", "server", "agent"].into_iter().find(|name| name.as_bytes() == *part)
}

fn is_in_our_mount_namespace(pid: u32) -> bool {
    let namespace = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/mnt")).ok();
    namespace(&pid.to_string()) == namespace("self")
}

/// How many tasks were stopped, and what went wrong.
#[derive(Default)]
struct Stopped {
    tasks: usize,
    failures: Vec<anyhow::Error>,
}

impl Stopped {
    fn take<T>(&mut self, result: Result<T>) -> Option<T> {
        result.map_err(|error| self.failures.push(error)).ok()
    }

    fn count(&mut self, result: Result<usize>) {
        self.tasks += self.take(result).unwrap_or(0);
    }
}

/// Stops the tasks of all nodes at the same time: one whose task cannot be ended keeps no other's running. The next
/// `estiva up` brings the nodes back.
fn stop_nodes(here: &Installation) -> Stopped {
    let mut stopped = Stopped::default();
    let (records, broken) = stopped.take(NodeRecord::readable(here)).unwrap_or_default();
    let mut fleet = if records.is_empty() && broken.is_empty() { None } else { stopped.take(open_fleet(here)) };
    let mut further = Vec::new();
    for record in &records {
        let found = match &mut fleet {
            Some(fleet) => Leftover::find(here, fleet, record),
            None => Err(anyhow!("{} has no network", record.name)),
        };
        match found {
            Ok(node) => further.push(node),
            Err(error) => {
                stopped.failures.push(error);
                stopped.take(kill_tasks(here, &record.name));
            }
        }
    }
    for (name, error) in broken {
        output::complain(&format!("{error:#}; the node's tasks are killed"));
        stopped.take(kill_tasks(here, &name));
    }
    thread::scope(|scope| {
        let others: Vec<_> = further.into_iter().map(|node| scope.spawn(|| node.stop_tasks())).collect();
        stopped.count(stop_first(here));
        for other in others {
            stopped.count(other.join().unwrap_or_else(|panic| resume_unwind(panic)));
        }
    });
    if let Some(fleet) = fleet {
        stopped.take(fleet.dismantle().context("cannot take the nodes' network away"));
    }
    stopped
}

/// Kills what the tasks of a further node run of which no more than the name is known.
fn kill_tasks(here: &Installation, node: &str) -> Result<()> {
    let nowhere = Seat { address: Ipv4Addr::LOCALHOST, subnet: Subnet::new(Ipv4Addr::LOCALHOST, 32) };
    let options = further_node_options(here, node, nowhere)?;
    let runtime = tokio::runtime::Runtime::new()?;
    runtime
        .block_on(estiva_agent::end_all_processes(&options))
        .with_context(|| format!("cannot end the tasks of {node}"))
}

/// Stops the tasks of the node that `up` itself brings.
fn stop_first(here: &Installation) -> Result<usize> {
    let runtime = tokio::runtime::Runtime::new()?;
    let node = super::agent::node_options(here)?;
    let stop = || runtime.block_on(estiva_agent::stop_all_tasks(&node));
    let stopped = patiently(AgentError::is_taken, stop).context("cannot stop the node's tasks");
    // What still waits for a disk is not waited for.
    runtime.shutdown_background();
    stopped
}

/// Sends SIGTERM and waits for the process to go; kills it when it has not in time.
fn end(process: &ShimProcess, name: &str) -> Result<()> {
    let pid = process.pid;
    match kill(Pid::from_raw(i32::try_from(pid)?), Signal::SIGTERM) {
        Err(Errno::ESRCH) => return Ok(()),
        other => other.with_context(|| format!("cannot stop {name} (process {pid})"))?,
    }
    let begun = Instant::now();
    while process.is_alive() {
        if begun.elapsed() >= END_WAIT_MAX {
            output::complain(&format!(
                "{name} (process {pid}) did not end within {} s; killing it",
                END_WAIT_MAX.as_secs()
            ));
            return kill_process(process, END_WAIT_MAX).with_context(|| format!("cannot kill {name} (process {pid})"));
        }
        thread::sleep(LOOK_AGAIN);
    }
    Ok(())
}
