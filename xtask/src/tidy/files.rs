//! The repository's files: sizes, first lines, white space.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::Findings;
use crate::codegen::HEADER;

/// A source file that a person reads is at most this long.
const LINES_MAX: usize = 800;
/// From here on it is worth a look.
const LINES_WARNED: usize = 400;
/// Folders that hold nothing of ours.
const FOREIGN: [&str; 3] = ["target", "node_modules", "__pycache__"];
/// Where generated code is, and nothing else.
const GENERATED: &str = "src/generated/";
/// What is read as text.
const TEXTS: [&str; 7] = ["rs", "py", "toml", "md", "json", "sh", "yml"];

/// Checks all files below `root`.
pub(super) fn check(root: &Path, findings: &mut Findings) -> Result<()> {
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
        for entry in entries {
            let entry = entry.with_context(|| format!("cannot read {}", folder.display()))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let kind = entry.file_type().with_context(|| format!("cannot read {}", entry.path().display()))?;
            if kind.is_dir() && !name.starts_with('.') && !FOREIGN.contains(&name.as_str()) {
                folders.push(entry.path());
            } else if kind.is_file() && TEXTS.iter().any(|text| name.ends_with(&format!(".{text}"))) {
                check_path(root, &entry.path(), findings)?;
            }
        }
    }
    findings.errors.sort();
    findings.warnings.sort();
    Ok(())
}

fn check_path(root: &Path, path: &Path, findings: &mut Findings) -> Result<()> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let shown = path.strip_prefix(root).unwrap_or(path).to_string_lossy().into_owned();
    check_text(&shown, &text, findings);
    Ok(())
}

pub(super) fn check_text(path: &str, text: &str, findings: &mut Findings) {
    let extension = path.rsplit('.').next().unwrap_or_default();
    if extension == "rs" && path.contains(GENERATED) {
        if !text.starts_with(HEADER) {
            findings.errors.push(format!("{path}: generated code must name its generator in its first line"));
        }
        return;
    }
    if let Some(line) = text.lines().position(|line| line.ends_with([' ', '\t', '\r'])).filter(|_| extension != "md") {
        findings.errors.push(format!("{path}:{}: white space at the end of a line", line + 1));
    }
    if !text.is_empty() && !text.ends_with('\n') {
        findings.errors.push(format!("{path}: the last line has no end"));
    }
    if extension == "rs" && !text.starts_with("//!") {
        findings.errors.push(format!("{path}: a module opens with `//!`, saying what it owns and why"));
    }
    let lines = text.lines().count();
    if ["rs", "py"].contains(&extension) && lines > LINES_WARNED {
        let list = if lines > LINES_MAX { &mut findings.errors } else { &mut findings.warnings };
        list.push(format!("{path}: {lines} lines; {LINES_MAX} at most, better below {LINES_WARNED}"));
    }
}
