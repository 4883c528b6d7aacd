//! Compiles `init/main.rs`, the program that the shim runs inside containers, into a static executable without a C library.

use std::{env, path::PathBuf, process::Command};

const SOURCES: [&str; 2] = ["init/main.rs", "init/kernel.rs"];

/// Options of the linker: no start files, no libraries, and one small segment layout.
const LINK: [&str; 5] =
    ["-nostartfiles", "-nostdlib", "-static", "-no-pie", "-Wl,--build-id=none,-z,noexecstack,-z,max-page-size=4096"];

fn main() {
    for source in SOURCES {
        println!("cargo::rerun-if-changed={source}");
    }
    let given = |name: &str| env::var(name).unwrap_or_else(|_| panic!("cargo sets {name}"));
    let out = PathBuf::from(given("OUT_DIR")).join("estiva-init");
    let mut rustc = Command::new(given("RUSTC"));
    rustc.args(["--edition=2024", "--crate-name=estiva_init", "--crate-type=bin", "--target", &given("TARGET")]);
    rustc.args([
        "-Copt-level=s",
        "-Cpanic=abort",
        "-Crelocation-model=static",
        "-Cstrip=symbols",
        "-Coverflow-checks=off",
    ]);
    rustc.args(LINK.map(|argument| format!("-Clink-arg={argument}")));
    if let Ok(linker) = env::var("RUSTC_LINKER") {
        rustc.arg(format!("-Clinker={linker}"));
    }
    let status = rustc.arg("-o").arg(out).arg(SOURCES[0]).status();
    assert!(status.is_ok_and(|status| status.success()), "cannot compile {}", SOURCES[0]);
}
