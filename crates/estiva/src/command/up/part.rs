//! A process that `estiva up` keeps running: the server, or a node's agent.

use std::convert::Infallible;
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::{CommandExt, parent_id};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{error, warn};

use super::pauses::Pauses;
use crate::{descriptors, handover, program, ready};

/// How long a part may take for its end: the server gives calls under way 5 s.
const STOP_MAX: Duration = Duration::from_secs(10);

/// What is to run.
pub struct Recipe {
    /// As messages call it.
    pub name: String,
    /// Of this program.
    pub arguments: Vec<String>,
    /// The network namespace to run in; `None` is that of this process.
    pub namespace: Option<PathBuf>,
    /// What it listens at.
    pub sockets: Vec<OwnedFd>,
}

/// The process.
pub struct Part {
    recipe: Recipe,
    state: State,
    pauses: Pauses,
}

enum State {
    Runs { child: Child, since: Instant },
    Waits { until: Instant },
}

impl Part {
    /// Returns when it has said that it is ready.
    pub async fn start(recipe: Recipe) -> Result<Self> {
        let (part, waiter) = Self::begin(recipe)?;
        let ready = tokio::task::spawn_blocking(|| waiter.wait()).await?;
        ready.with_context(|| format!("the {} did not start", part.recipe.name))?;
        Ok(part)
    }

    /// Returns at once, with what hears that it is ready.
    pub fn begin(recipe: Recipe) -> Result<(Self, ready::Waiter)> {
        let mut command = recipe.command();
        let waiter = ready::Waiter::for_child(&mut command)?;
        let state = State::Runs { child: recipe.spawn(command)?, since: Instant::now() };
        Ok((Self { recipe, state, pauses: Pauses::default() }, waiter))
    }

    /// Starts it again whenever it has ended, for as long as this is polled. Cancelled, it has lost nothing.
    pub async fn keep(&mut self) -> Infallible {
        let part = self.recipe.name.clone();
        loop {
            match &mut self.state {
                State::Runs { child, since } => {
                    let ended = child.wait().await;
                    let pause = self.pauses.next(since.elapsed());
                    let status = ended.map_or_else(|error| error.to_string(), |status| status.to_string());
                    error!(part, status, "ended unexpectedly; it is started again in {pause:?}");
                    self.state = State::Waits { until: Instant::now() + pause };
                }
                State::Waits { until } => {
                    sleep_until(*until).await;
                    self.state = match self.recipe.spawn(self.recipe.command()) {
                        Ok(child) => State::Runs { child, since: Instant::now() },
                        Err(error) => {
                            let pause = self.pauses.next(Duration::ZERO);
                            error!(
                                part,
                                error = format!("{error:#}"),
                                "cannot be started; the next try is in {pause:?}"
                            );
                            State::Waits { until: Instant::now() + pause }
                        }
                    };
                }
            }
        }
    }

    /// Tells it to end, and returns when it has. One that does not hear is killed.
    pub async fn stop(mut self) -> Result<()> {
        // Who connects from now on is refused, where a socket that nobody will serve would let it wait.
        self.recipe.sockets.clear();
        let State::Runs { child, .. } = &mut self.state else { return Ok(()) };
        let Some(id) = child.id() else { return Ok(()) };
        kill(Pid::from_raw(i32::try_from(id)?), Signal::SIGTERM)
            .with_context(|| format!("cannot stop the {}", self.recipe.name))?;
        let Ok(status) = timeout(STOP_MAX, child.wait()).await else {
            warn!(part = self.recipe.name, "did not end within {STOP_MAX:?}; it is killed");
            return child.kill().await.with_context(|| format!("cannot kill the {}", self.recipe.name));
        };
        let status = status?;
        if !status.success() {
            bail!("the {} ended with {status}", self.recipe.name);
        }
        Ok(())
    }
}

impl Recipe {
    fn command(&self) -> std::process::Command {
        let mut command = std::process::Command::new(program::PATH);
        command.arg0(program::NAME).args(&self.arguments).stdin(Stdio::null());
        // The parts speak for the installation, whoever its user happens to be signed in as elsewhere.
        for variable in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"] {
            command.env_remove(variable);
        }
        // It names a descriptor of this process, which a part does not have.
        command.env_remove(ready::VARIABLE);
        handover::hand(&mut command, &self.sockets);
        command
    }

    fn spawn(&self, command: std::process::Command) -> Result<Child> {
        let namespace = self.namespace.as_deref().map(open).transpose()?;
        let mut command = Command::from(command);
        let parent = std::process::id();
        let prepare = move || {
            descriptors::restore()?;
            if let Some(namespace) = &namespace {
                // SAFETY: the descriptor is open, and the call takes plain numbers.
                let entered = unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) };
                Errno::result(entered)?;
            }
            // No part outlives a supervisor that was killed: the next `up` starts from a clean table, and at its sockets. Parts
            // can be killed at any time; one that was only asked to end might be stopped, or hang.
            nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
            // It may have been killed before that was said.
            if parent_id() == parent { Ok(()) } else { Err(Errno::ESRCH.into()) }
        };
        // SAFETY: setrlimit, setns, prctl and getppid are async-signal-safe, and nothing else happens between fork and exec.
        unsafe {
            command.pre_exec(prepare);
        }
        command.spawn().with_context(|| format!("cannot start the {}", self.name))
    }
}

fn open(namespace: &Path) -> Result<File> {
    File::open(namespace).with_context(|| format!("cannot open {}", namespace.display()))
}
