//! The house style, as far as a program can tell: sizes, formats, and who may depend on whom.

mod dependencies;
mod files;
mod matrix;
#[cfg(test)]
mod tests;

use std::path::Path;

use anyhow::{Result, bail};

/// Fails with everything that is not tidy; what is only worth a look is printed.
pub fn check(root: &Path) -> Result<()> {
    let findings = findings(root)?;
    for warning in &findings.warnings {
        println!("warning: {warning}");
    }
    if findings.errors.is_empty() {
        return Ok(());
    }
    bail!("not tidy:\n{}", findings.errors.join("\n"))
}

/// What was found.
#[derive(Debug, Default, PartialEq, Eq)]
struct Findings {
    /// Must not be.
    errors: Vec<String>,
    /// Worth a look.
    warnings: Vec<String>,
}

fn findings(root: &Path) -> Result<Findings> {
    let mut findings = Findings::default();
    files::check(root, &mut findings)?;
    dependencies::check(root, &mut findings)?;
    Ok(findings)
}
