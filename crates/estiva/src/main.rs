//! The `estiva` binary: the command line, and the wiring of the server, the agent and the shim.

mod command;
mod installation;
mod output;
mod ready;
mod telemetry;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use installation::InstallationOptions;

/// Amazon ECS on your own machines.
///
/// `estiva up` starts a control plane and one node. Then point any AWS tool at it:
///
///     eval "$(estiva env)"
///     aws ecs list-clusters
#[derive(Parser)]
#[command(name = "estiva", version, verbatim_doc_comment, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    installation: InstallationOptions,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Up(command::up::Options),
    Down(command::down::Options),
    Status(command::status::Options),
    Env(command::env::Options),
    Image(command::image::Options),
    Server(command::server::Options),
    Agent(command::agent::Options),
    Shim(command::shim::Options),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.command {
        Command::Up(options) => command::up::run(&cli.installation, &options),
        Command::Down(options) => command::down::run(&cli.installation, &options),
        Command::Status(options) => command::status::run(&cli.installation, &options),
        Command::Env(options) => command::env::run(&cli.installation, &options),
        Command::Image(options) => command::image::run(&cli.installation, options),
        Command::Server(options) => command::server::run(&cli.installation, &options),
        Command::Agent(options) => command::agent::run(&cli.installation, options),
        Command::Shim(options) => return command::shim::run(&options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("estiva: {error:#}");
            ExitCode::FAILURE
        }
    }
}
