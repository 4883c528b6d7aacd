//! The `estiva` binary: the command line, and the wiring of the server, the agent and the shim.

// What strangers may have had a hand in is printed by `output` alone.
#![warn(clippy::print_stdout, clippy::print_stderr)]

mod command;
mod credentials;
mod descriptors;
mod handover;
mod installation;
mod listen;
mod memory;
mod nodes;
mod output;
mod owner;
mod patience;
mod program;
mod progress;
mod ready;
mod supervisor_state;
mod telemetry;
mod visible;

use std::ffi::CString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use installation::InstallationOptions;

/// Amazon ECS on your own machines.
///
/// `estiva up` starts a control plane and one node on this machine. Point any AWS tool at it:
///
///     eval "$(estiva env)"
///     aws ecs list-container-instances
///
/// Each data directory (--data) is an installation of its own; several can run side by side, each with its --listen.
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
    Service(command::service::Options),
    Task(command::task::Options),
    Exec(command::exec::Options),
    Top(command::top::Options),
    Env(command::env::Options),
    Image(command::image::Options),
    Node(command::node::Options),
    Server(command::server::Options),
    Store(command::store::Options),
    Agent(command::agent::Options),
}

fn main() -> ExitCode {
    // Fails on no Linux; a name is a help to whoever looks, and nothing relies on it.
    let _ = nix::sys::prctl::set_name(&CString::new(program::NAME).unwrap_or_default());
    // The shim forks: it has to begin before anything starts a thread, and wants nothing of the command line's weight.
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|argument| argument == "shim") {
        return estiva_shim::main(arguments);
    }
    let cli = Cli::parse();
    let result = match cli.command {
        Command::Up(options) => command::up::run(&cli.installation, &options),
        Command::Down(options) => command::down::run(&cli.installation, &options),
        Command::Status(options) => command::status::run(&cli.installation, &options),
        Command::Service(options) => command::service::run(&cli.installation, &options),
        Command::Task(options) => command::task::run(&cli.installation, &options),
        Command::Exec(options) => command::exec::run(&cli.installation, &options),
        Command::Top(options) => command::top::run(&cli.installation, &options),
        Command::Env(options) => command::env::run(&cli.installation, &options),
        Command::Image(options) => command::image::run(&cli.installation, options),
        Command::Node(options) => command::node::run(&cli.installation, &options),
        Command::Server(options) => command::server::run(&cli.installation, &options),
        Command::Store(options) => command::store::run(&cli.installation, &options),
        Command::Agent(options) => command::agent::run(&cli.installation, &options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let text = format!("{error:#}");
            output::complain(&format!("estiva: {text}"));
            ready::announce_failure(&text);
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
