//! Tasks for developers: `cargo run -p xtask -- codegen [--check]`, `… coverage` and `… tidy`.

mod codegen;
mod coverage;
mod root;
mod tidy;

use anyhow::{Result, bail};

const USAGE: &str = "usage: cargo run -p xtask -- codegen [--check] | coverage [--check] | tidy";

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["codegen"] => codegen::write(&root::path()),
        ["codegen", "--check"] => codegen::check(&root::path()),
        ["coverage"] => coverage::write(&root::path()),
        ["coverage", "--check"] => coverage::check(&root::path()),
        ["tidy"] => tidy::check(&root::path()),
        _ => bail!("{USAGE}"),
    }
}
