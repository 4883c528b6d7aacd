//! `docs/coverage.md`: for each API each operation as implemented, partly, or not.
//!
//! What is implemented the code itself says: an operation is, when the service's trait has its method. What is missing of one that
//! is there only people know: they write it into `models/coverage.json`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::codegen::Api;

/// The APIs, and the file that implements each one's trait.
const SERVICES: [(&str, &str, &str); 4] = [
    ("ecs", "Amazon ECS", "crates/control/ecs/src/ecs_api.rs"),
    ("estiva", "Estiva's own", "crates/control/ecs/src/estiva_api.rs"),
    ("logs", "CloudWatch Logs", "crates/control/logs/src/service.rs"),
    ("sts", "AWS STS", "crates/control/iam/src/sts.rs"),
];
const PAGE: &str = "docs/coverage.md";
const NOTES: &str = "models/coverage.json";

type Notes = BTreeMap<String, BTreeMap<String, String>>;

/// Writes the page.
pub fn write(root: &Path) -> Result<()> {
    fs::write(root.join(PAGE), generate(root)?).with_context(|| format!("cannot write {PAGE}"))
}

/// Fails when writing the page would change it.
pub fn check(root: &Path) -> Result<()> {
    if fs::read_to_string(root.join(PAGE)).ok() != Some(generate(root)?) {
        bail!("{PAGE} is not what the code says: run `cargo run -p xtask -- coverage`");
    }
    Ok(())
}

fn generate(root: &Path) -> Result<String> {
    let notes = fs::read_to_string(root.join(NOTES)).with_context(|| format!("cannot read {NOTES}"))?;
    let notes: Notes = serde_json::from_str(&notes).with_context(|| format!("{NOTES} is not as expected"))?;
    let mut page = "# Coverage\n\nWritten by `cargo run -p xtask -- coverage` from the code and `models/coverage.json`: do not edit. An operation that is \
        not listed as implemented answers `NotImplemented` by name.\n"
        .to_owned();
    for (service, title, implementation) in SERVICES {
        let api = Api::read(&root.join("models"), service)?;
        let code =
            fs::read_to_string(root.join(implementation)).with_context(|| format!("cannot read {implementation}"))?;
        let none = BTreeMap::new();
        section(&mut page, &api, title, &code, notes.get(service).unwrap_or(&none))?;
    }
    Ok(page)
}

fn section(page: &mut String, api: &Api, title: &str, code: &str, notes: &BTreeMap<String, String>) -> Result<()> {
    let implemented: BTreeSet<&String> = api
        .operations
        .keys()
        .filter(|name| code.contains(&format!("async fn {}(", crate::codegen::method(name))))
        .collect();
    if let Some(name) = notes.keys().find(|name| !implemented.contains(name)) {
        bail!("{NOTES}: {title} has no operation {name} that is implemented");
    }
    let whole = implemented.iter().filter(|name| !notes.contains_key(**name)).count();
    write!(
        page,
        "\n## {title}\n\nOf {} operations {} are implemented, {} of them partly.\n\n| operation | | what is missing |\n|---|---|---|\n",
        api.operations.len(),
        implemented.len(),
        implemented.len() - whole
    )?;
    for name in &implemented {
        match notes.get(*name) {
            Some(note) => writeln!(page, "| {name} | partly | {note} |")?,
            None => writeln!(page, "| {name} | implemented | |")?,
        }
    }
    let missing: Vec<&str> =
        api.operations.keys().filter(|name| !implemented.contains(name)).map(String::as_str).collect();
    if !missing.is_empty() {
        writeln!(page, "\nNot implemented: {}.", missing.join(", "))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_page_is_what_the_code_says() {
        super::check(&crate::root::path()).unwrap();
    }
}
