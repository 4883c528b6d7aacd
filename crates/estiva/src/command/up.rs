//! `estiva up`: a control plane, one node, and those that `estiva node add` added, kept running.
//!
//! Server and agent are processes of their own: one that dies is started again and finds everything as it was, and
//! what the one needs of memory or privileges the other need not have.

use std::io::{IsTerminal, stdout};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use clap::Args;

use crate::installation::{Installation, InstallationOptions};
use crate::{descriptors, program, ready, telemetry};

pub mod control;
mod name_server;
mod node;
mod nodes;
mod part;
mod pauses;
mod relay;
mod supervisor;

pub use supervisor::Supervisor;

/// Start a control plane and one node
///
/// Stays in the foreground until it is interrupted. Tasks outlive it: `estiva down` stops them.
#[derive(Args)]
pub struct Options {
    /// Return when the endpoint answers and the node is registered
    #[arg(long)]
    detach: bool,
    /// The cluster that the node joins, made if it is new
    #[arg(long, value_name = "NAME", default_value = "default")]
    cluster: String,
    #[command(flatten)]
    server: super::server::ServerSettings,
    #[command(flatten)]
    node: super::agent::NodeSettings,
    /// Started by `--detach`
    #[arg(long, hide = true)]
    detached: bool,
}

/// Runs until it is told to end, or, detached, until everything answers.
pub fn run(installation: &InstallationOptions, options: &Options) -> Result<()> {
    let here = installation.open()?;
    if options.detach {
        return detach(installation, &here, options);
    }
    telemetry::start();
    // The relays of further nodes have two for each connection.
    descriptors::raise();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let supervisor = Supervisor::start(installation, &here, options).await?;
        if options.detached {
            ready::announce("ready")?;
        } else {
            banner(installation, &here);
        }
        supervisor.run().await
    })
}

/// Starts this program again in a session of its own, and waits for its word.
fn detach(installation: &InstallationOptions, here: &Installation, options: &Options) -> Result<()> {
    let log = here.append_log()?;
    let mut command = Command::new(program::PATH);
    command.arg0(program::NAME).arg("--data").arg(here.data()).arg("--listen").arg(installation.listen.to_string());
    command.args(["up", "--detached", "--cluster", &options.cluster]);
    command.args(options.server.arguments()).args(options.node.arguments());
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    let waiter = ready::Waiter::for_child(&mut command)?;
    // SAFETY: setsid is async-signal-safe, and nothing else happens between fork and exec.
    unsafe { command.pre_exec(|| nix::unistd::setsid().map(drop).map_err(Into::into)) };
    command.spawn().context("cannot start this program again")?;
    waiter.wait().with_context(|| format!("Estiva did not start; see {}", here.log_file().display()))?;
    banner(installation, here);
    Ok(())
}

fn banner(installation: &InstallationOptions, here: &Installation) {
    let endpoint = installation.endpoint();
    if !stdout().is_terminal() {
        println!("Estiva is up: {endpoint}");
        return;
    }
    let data = here.data().display();
    println!("Estiva is up.\n");
    println!("  endpoint   {endpoint}");
    println!("  data       {data}");
    println!("\nUse it with any AWS tool:\n");
    println!("  eval \"$(estiva env{})\"", installation.arguments_where_not_default());
    println!("  aws ecs list-container-instances");
    println!("\nTasks outlive this process; `estiva down` stops them.");
}
