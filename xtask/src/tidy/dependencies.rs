//! The dependencies of the workspace's crates, as cargo tells them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::{Findings, matrix};

/// What `cargo metadata` says.
#[derive(Deserialize)]
pub(super) struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    manifest_path: PathBuf,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    /// The versions asked for.
    req: String,
    /// `dev`, `build`, or nothing.
    kind: Option<String>,
    /// For a crate of this repository.
    path: Option<PathBuf>,
}

/// Checks all crates of the workspace.
pub(super) fn check(root: &Path, findings: &mut Findings) -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root)
        .output()
        .context("cannot run cargo")?;
    if !output.status.success() {
        bail!("cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    let metadata = serde_json::from_slice(&output.stdout).context("cargo metadata is not as expected")?;
    check_metadata(&metadata, root, findings);
    Ok(())
}

pub(super) fn check_metadata(metadata: &Metadata, root: &Path, findings: &mut Findings) {
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in &metadata.packages {
        let from = folder(package.manifest_path.parent(), root);
        for dependency in &package.dependencies {
            let Some(path) = &dependency.path else {
                versions.entry(&dependency.name).or_default().insert(&dependency.req);
                findings.errors.extend(matrix::foreign_refusal(&from, &dependency.name));
                continue;
            };
            // A test may look from outside, as a user would.
            if dependency.kind.as_deref() != Some("dev") {
                findings.errors.extend(matrix::refusal(&from, &folder(Some(path), root)));
            }
        }
    }
    for (name, versions) in versions.iter().filter(|(_, versions)| versions.len() > 1) {
        findings.errors.push(format!("{name} is asked for in several versions: {versions:?}"));
    }
}

fn folder(path: Option<&Path>, root: &Path) -> String {
    let path = path.unwrap_or(root);
    path.strip_prefix(root).unwrap_or(path).to_string_lossy().into_owned()
}
