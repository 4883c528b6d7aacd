//! The repository is tidy, and each rule can tell when it is not.

use std::path::Path;

use serde_json::json;

use super::{Findings, dependencies, files, matrix};

#[test]
fn the_repository_is_tidy() {
    super::check(&crate::root::path()).unwrap();
}

fn of_text(path: &str, text: &str) -> Findings {
    let mut findings = Findings::default();
    files::check_text(path, text, &mut findings);
    findings
}

#[test]
fn files_have_an_end_and_a_beginning() {
    let lines = |count: usize| format!("//! What.\n{}", "x();\n".repeat(count - 1));
    for (path, text, errors, warnings) in [
        ("a.rs", "//! What.\n".to_owned(), 0, 0),
        ("a.rs", "fn main() {}\n".to_owned(), 1, 0),
        ("a.rs", "//! What. \n".to_owned(), 1, 0),
        ("a.rs", "//! What.".to_owned(), 1, 0),
        ("a.rs", lines(400), 0, 0),
        ("a.rs", lines(401), 0, 1),
        ("a.rs", lines(801), 1, 0),
        ("a.py", lines(801), 1, 0),
        ("a.md", "two spaces  \n".repeat(1000), 0, 0),
        ("x/src/generated/types.rs", lines(5000), 1, 0),
        ("x/src/generated/types.rs", format!("{}ecs.json\n{}", crate::codegen::HEADER, lines(5000)), 0, 0),
    ] {
        let found = of_text(path, &text);
        assert_eq!((found.errors.len(), found.warnings.len()), (errors, warnings), "{path}: {found:?}");
    }
}

#[test]
fn the_matrix_is_the_design() {
    for (from, to) in [
        ("crates/control/ecs", "crates/edge/api/ecs"),
        ("crates/control/ecs", "crates/state/store"),
        ("crates/control/ecs", "crates/planning"),
        ("crates/control/dispatch", "crates/control/ecs"),
        ("crates/node/agent", "crates/node/shim"),
        ("crates/node/agent", "crates/edge/wire"),
        ("crates/edge/wire", "crates/edge/schema"),
        ("crates/planning", "crates/state/model"),
        ("crates/estiva", "crates/control/ecs"),
    ] {
        assert_eq!(matrix::refusal(from, to), None);
    }
    for (from, to) in [
        ("crates/control/ecs", "crates/control/logs"),
        ("crates/control/ecs", "crates/control/dispatch"),
        ("crates/control/ecs", "crates/node/agent"),
        ("crates/node/agent", "crates/state/store"),
        ("crates/node/agent", "crates/control/ecs"),
        ("crates/planning", "crates/state/store"),
        ("crates/planning", "crates/edge/schema"),
        ("crates/state/store", "crates/edge/schema"),
        ("crates/state/model", "crates/planning"),
        ("crates/edge/wire", "crates/state/store"),
        ("crates/edge/wire", "crates/control/ecs"),
        ("crates/other", "crates/state/model"),
    ] {
        assert!(matrix::refusal(from, to).is_some(), "{from} -> {to}");
    }
    assert!(matrix::foreign_refusal("crates/planning", "tokio").is_some());
    assert_eq!(matrix::foreign_refusal("crates/control/ecs", "tokio"), None);
}

#[test]
fn what_cargo_says_is_held_against_the_matrix() {
    let package = |path: &str, dependencies: serde_json::Value| json!({"manifest_path": format!("/r/{path}/Cargo.toml"), "dependencies": dependencies});
    let ours =
        |path: &str, kind: Option<&str>| json!({"name": "x", "req": "*", "kind": kind, "path": format!("/r/{path}")});
    let foreign = |name: &str, req: &str| json!({"name": name, "req": req, "kind": null, "path": null});
    let metadata = json!({"packages": [
        package("crates/node/agent", json!([ours("crates/state/store", None), foreign("nix", "^0.29")])),
        package("crates/node/shim", json!([ours("crates/state/store", Some("dev")), foreign("nix", "^0.30")])),
        package("crates/planning", json!([foreign("tokio", "^1"), ours("crates/state/model", None)])),
    ]});
    let mut findings = Findings::default();
    let metadata: dependencies::Metadata = serde_json::from_value(metadata).unwrap();
    dependencies::check_metadata(&metadata, Path::new("/r"), &mut findings);
    assert_eq!(
        findings.errors,
        [
            "crates/node/agent may not depend on crates/state/store",
            "crates/planning may not depend on tokio: planning is pure: no tasks, no clock, no I/O",
            "nix is asked for in several versions: {\"^0.29\", \"^0.30\"}",
        ]
    );
}
