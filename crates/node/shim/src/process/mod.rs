//! The shim itself: how it comes to be alone in the world ([`detach`]), what it holds ([`container`], [`output`]), and
//! the one loop in which it waits for everything ([`supervisor`]).

mod anchor;
mod connection;
mod container;
mod create;
mod detach;
mod diagnostics;
mod exec;
mod log_waits;
mod output;
mod server;
mod supervisor;
mod terminal;

use std::{ffi::OsString, path::PathBuf, process::ExitCode};

use self::{detach::Detached, diagnostics::Diagnostics, supervisor::Supervisor};
use crate::layout::TaskDir;

/// Marks the second execution, from the sealed copy of the program.
const SEALED: &str = "--sealed";

/// Runs a shim. `args` is what follows `estiva shim`: `--dir TASKDIR`. Must be called before any thread is started.
///
/// Returns in the foreground process as soon as the shim listens (or could not be started: a failure, with the reason
/// in `TASKDIR/shim.log`), and in the shim itself when it has been shut down.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    let (dir, sealed) = match args.as_slice() {
        [flag, dir] if flag == "--dir" => (PathBuf::from(dir), false),
        [flag, dir, mark] if flag == "--dir" && mark == SEALED => (PathBuf::from(dir), true),
        _ => return ExitCode::from(2),
    };
    let dir = TaskDir::new(dir);
    let Ok(mut diagnostics) = Diagnostics::open(&dir.log_file()) else { return ExitCode::FAILURE };
    let outcome =
        if sealed { run(dir, &mut diagnostics) } else { detach::execute_sealed(&args).map(|never| match never {}) };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            diagnostics.report("start", &error);
            ExitCode::FAILURE
        }
    }
}

fn run(dir: TaskDir, diagnostics: &mut Diagnostics) -> std::io::Result<()> {
    let ready = match detach::detach()? {
        // The foreground process: whoever spawned it waits for this.
        Detached::Foreground(ready) => return ready.wait(),
        Detached::Shim(ready) => ready,
    };
    let mut supervisor = Supervisor::new(dir, diagnostics)?;
    ready.announce()?;
    supervisor.run()
}
