//! Tasks for developers: `cargo run -p xtask -- codegen [--check]` and `cargo run -p xtask -- tidy`.

mod codegen;
mod root;
mod tidy;

use anyhow::{Result, bail};

const USAGE: &str = "usage: cargo run -p xtask -- codegen [--check] | tidy";

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["codegen"] => codegen::write(&root::path()),
        ["codegen", "--check"] => codegen::check(&root::path()),
        ["tidy"] => tidy::check(&root::path()),
        _ => bail!("{USAGE}"),
    }
}
