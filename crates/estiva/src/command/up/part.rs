//! A process that `estiva up` keeps running: the server, or a node's agent.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tracing::error;

use crate::{descriptors, ready};

/// A process that ends is started again after this long, so that one that cannot run does not spin.
const RESTART_AFTER: Duration = Duration::from_millis(200);

/// What is to run.
pub struct Recipe {
    /// As messages call it.
    pub name: String,
    /// Of this program.
    pub arguments: Vec<String>,
    /// The network namespace to run in; `None` is that of this process.
    pub namespace: Option<PathBuf>,
}

/// The process.
pub struct Part {
    recipe: Recipe,
    child: Child,
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
        let mut command = recipe.command()?;
        let waiter = ready::Waiter::for_child(&mut command)?;
        let child = recipe.spawn(command)?;
        Ok((Self { recipe, child }, waiter))
    }

    /// Returns when it has ended, and was started again. Cancelled, it has lost nothing.
    pub async fn keep(&mut self) -> Result<()> {
        let status = self.child.wait().await?;
        self.restart(status).await
    }

    async fn restart(&mut self, status: ExitStatus) -> Result<()> {
        error!(part = self.recipe.name, %status, "ended unexpectedly; starting it again");
        tokio::time::sleep(RESTART_AFTER).await;
        self.child = self.recipe.spawn(self.recipe.command()?)?;
        Ok(())
    }

    /// Tells it to end, and returns when it has.
    pub async fn stop(&mut self) -> Result<()> {
        let Some(id) = self.child.id() else { return Ok(()) };
        kill(Pid::from_raw(i32::try_from(id)?), Signal::SIGTERM)
            .with_context(|| format!("cannot stop the {}", self.recipe.name))?;
        let status = self.child.wait().await?;
        if !status.success() {
            bail!("the {} ended with {status}", self.recipe.name);
        }
        Ok(())
    }
}

impl Recipe {
    fn command(&self) -> Result<std::process::Command> {
        let mut command = std::process::Command::new(std::env::current_exe().context("cannot find this program")?);
        command.args(&self.arguments).stdin(Stdio::null());
        // The parts speak for the installation, whoever its user happens to be signed in as elsewhere.
        for variable in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"] {
            command.env_remove(variable);
        }
        // It names a descriptor of this process, which a part does not have.
        command.env_remove(ready::VARIABLE);
        Ok(command)
    }

    fn spawn(&self, command: std::process::Command) -> Result<Child> {
        let namespace = self.namespace.as_deref().map(open).transpose()?;
        let mut command = Command::from(command);
        let prepare = move || {
            descriptors::restore()?;
            if let Some(namespace) = &namespace {
                // SAFETY: the descriptor is open, and the call takes plain numbers.
                let entered = unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) };
                nix::errno::Errno::result(entered)?;
            }
            // No part outlives a supervisor that was killed: the next `up` starts from a clean table.
            nix::sys::prctl::set_pdeathsig(Signal::SIGTERM).map_err(Into::into)
        };
        // SAFETY: setrlimit, setns and prctl are async-signal-safe, and nothing else happens between fork and exec.
        unsafe {
            command.pre_exec(prepare);
        }
        command.spawn().context("cannot start a part of Estiva")
    }
}

fn open(namespace: &Path) -> Result<File> {
    File::open(namespace).with_context(|| format!("cannot open {}", namespace.display()))
}
