//! Keeps the server and the agent running, one process each.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::fcntl::Flock;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tracing::{error, info};

use super::Options;
use crate::installation::{Installation, InstallationOptions};
use crate::ready;

/// A process that ends is started again after this long, so that one that cannot run does not spin.
const RESTART_AFTER: Duration = Duration::from_millis(200);

/// What `estiva up` writes about itself, for `down` and `status`.
#[derive(Debug, Serialize, Deserialize)]
pub struct SupervisorState {
    /// The supervisor's process.
    pub pid: i32,
    /// Where the endpoint listens.
    pub endpoint: String,
}

impl SupervisorState {
    /// What the `estiva up` that runs wrote; `None` if none does. One that was killed may have left its file.
    pub fn load(file: &Path) -> Result<Option<Self>> {
        match fs::read(file) {
            Ok(json) => {
                serde_json::from_slice(&json).map(Some).with_context(|| format!("{} is malformed", file.display()))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", file.display())),
        }
    }
}

/// The server and the agent, running.
pub struct Supervisor {
    server: Part,
    agent: Part,
    state_file: std::path::PathBuf,
    _lock: Flock<File>,
}

struct Part {
    name: &'static str,
    arguments: Vec<String>,
    child: Child,
}

impl Supervisor {
    /// Returns when the endpoint answers and the node is registered.
    pub async fn start(installation: &InstallationOptions, here: &Installation, options: &Options) -> Result<Self> {
        let lock = here.lock().context("is Estiva up already?")?;
        let state = SupervisorState { pid: i32::try_from(std::process::id())?, endpoint: installation.endpoint() };
        let common = |name: &str| {
            let data = here.data().display().to_string();
            vec!["--data".to_owned(), data, "--listen".to_owned(), installation.listen.to_string(), name.to_owned()]
        };
        let mut server = common("server");
        server.extend(options.server.arguments());
        let mut agent = common("agent");
        agent.extend(["--server".to_owned(), installation.endpoint(), "--cluster".to_owned(), options.cluster.clone()]);
        agent.push("--fargate".to_owned());
        agent.extend(options.node.arguments());
        let server = Part::start("server", server).await?;
        let agent = Part::start("agent", agent).await?;
        let state_file = here.supervisor_file();
        fs::write(&state_file, serde_json::to_vec(&state)?).context("cannot write up.json")?;
        Ok(Self { server, agent, state_file, _lock: lock })
    }

    /// Until SIGINT or SIGTERM.
    pub async fn run(mut self) -> Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                status = self.server.child.wait() => self.server.restart(status?).await?,
                status = self.agent.child.wait() => self.agent.restart(status?).await?,
            }
        }
        info!("stopping; tasks run on");
        let stopped = (self.agent.stop().await, self.server.stop().await);
        fs::remove_file(&self.state_file).context("cannot remove up.json")?;
        stopped.0.and(stopped.1)
    }
}

impl Part {
    async fn start(name: &'static str, arguments: Vec<String>) -> Result<Self> {
        let (child, waiter) = Self::spawn(&arguments, true)?;
        if let Some(waiter) = waiter {
            let ready = tokio::task::spawn_blocking(|| waiter.wait()).await?;
            ready.with_context(|| format!("the {name} did not start"))?;
        }
        Ok(Self { name, arguments, child })
    }

    fn spawn(arguments: &[String], wait: bool) -> Result<(Child, Option<ready::Waiter>)> {
        let mut command = std::process::Command::new(std::env::current_exe().context("cannot find this program")?);
        command.args(arguments).stdin(Stdio::null());
        // The parts speak for the installation, whoever its user happens to be signed in as elsewhere.
        for variable in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"] {
            command.env_remove(variable);
        }
        let waiter = if wait { Some(ready::Waiter::for_child(&mut command)?) } else { None };
        let mut command = Command::from(command);
        // Neither part outlives a supervisor that was killed: the next `up` starts from a clean table.
        // SAFETY: prctl is async-signal-safe, and nothing else happens between fork and exec.
        unsafe {
            command.pre_exec(|| nix::sys::prctl::set_pdeathsig(Signal::SIGTERM).map_err(Into::into));
        }
        Ok((command.spawn().context("cannot start a part of Estiva")?, waiter))
    }

    async fn restart(&mut self, status: std::process::ExitStatus) -> Result<()> {
        error!(part = self.name, %status, "ended unexpectedly; starting it again");
        tokio::time::sleep(RESTART_AFTER).await;
        (self.child, _) = Self::spawn(&self.arguments, false)?;
        Ok(())
    }

    async fn stop(&mut self) -> Result<()> {
        let Some(id) = self.child.id() else { return Ok(()) };
        kill(Pid::from_raw(i32::try_from(id)?), Signal::SIGTERM)
            .with_context(|| format!("cannot stop the {}", self.name))?;
        let status = self.child.wait().await?;
        if !status.success() {
            bail!("the {} ended with {status}", self.name);
        }
        Ok(())
    }
}
