//! `estiva shim`: the process that holds one task's containers. Started by the agent, not by people.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

/// Hold one task's containers
#[derive(Args)]
#[command(hide = true)]
pub struct Options {
    /// The task's directory
    #[arg(long)]
    dir: PathBuf,
}

/// Returns when the shim has detached, or has ended.
pub fn run(options: &Options) -> ExitCode {
    estiva_shim::main(&options.dir)
}
