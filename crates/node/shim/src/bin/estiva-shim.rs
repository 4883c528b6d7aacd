//! The shim by itself, called as the `estiva` binary is: `estiva-shim shim --dir TASKDIR`. The tests use it.

use std::process::ExitCode;

fn main() -> ExitCode {
    estiva_shim::main(std::env::args_os().skip(2))
}
