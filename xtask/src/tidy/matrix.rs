//! Who may depend on whom: the one place that says so.

/// A part of the repository, by the folder that holds it, and the parts that its crates may depend on.
pub struct Layer {
    /// A folder, or the front of one; the first that fits counts.
    pub folder: &'static str,
    /// The folders of what its crates may depend on.
    pub may_use: &'static [&'static str],
}

const MODEL: &str = "crates/state/model";
const STORE: &str = "crates/state/store";
const EDGE: &str = "crates/edge";
const PLANNING: &str = "crates/planning";
const RECONCILE: &str = "crates/control/reconcile";
const CONTROL: &str = "crates/control";
const NODE: &str = "crates/node";

/// The matrix. A crate of the control plane never uses another, only the interface that `edge/api` has of it.
pub const LAYERS: &[Layer] = &[
    Layer { folder: MODEL, may_use: &[] },
    Layer { folder: STORE, may_use: &[MODEL] },
    Layer { folder: EDGE, may_use: &[EDGE, MODEL] },
    Layer { folder: PLANNING, may_use: &[PLANNING, MODEL] },
    Layer { folder: RECONCILE, may_use: &[STORE, MODEL] },
    Layer { folder: CONTROL, may_use: &[EDGE, STORE, MODEL, PLANNING, RECONCILE] },
    Layer { folder: NODE, may_use: &[NODE, EDGE, MODEL, PLANNING] },
    Layer { folder: "sim", may_use: &[EDGE, STORE, MODEL, PLANNING, CONTROL] },
    Layer { folder: "crates/estiva", may_use: &["crates"] },
    Layer { folder: "xtask", may_use: &[] },
    Layer { folder: "examples", may_use: &[] },
];

/// Dependencies that the matrix forbids and that are right all the same: from, to, why.
pub const EXCEPTIONS: &[(&str, &str, &str)] = &[(
    "crates/control/dispatch",
    "crates/control/ecs",
    "the server's end of the node protocol reports into ECS's tables",
)];

/// Foreign crates that a part must do without, also in its tests: from, crate, why.
pub const FORBIDDEN: &[(&str, &str, &str)] = &[
    (PLANNING, "tokio", "planning is pure: no tasks, no clock, no I/O"),
    (MODEL, "tokio", "plain types need no runtime"),
    (EDGE, "rusqlite", "only the store speaks with the database"),
    (CONTROL, "rusqlite", "only the store speaks with the database"),
    (NODE, "rusqlite", "only the store speaks with the database"),
];

/// Why a crate at `from` may not use the one at `to`; `None` when it may.
pub fn refusal(from: &str, to: &str) -> Option<String> {
    let Some(layer) = LAYERS.iter().find(|layer| is_in(from, layer.folder)) else {
        return Some(format!("{from} belongs to no part that xtask/src/tidy/matrix.rs knows"));
    };
    let is_allowed = layer.may_use.iter().any(|folder| is_in(to, folder));
    let is_excepted = EXCEPTIONS.iter().any(|(source, target, _)| from.starts_with(source) && is_in(to, target));
    (!is_allowed && !is_excepted).then(|| format!("{from} may not depend on {to}"))
}

/// Why a crate at `from` may not use the foreign crate `name`; `None` when it may.
pub fn foreign_refusal(from: &str, name: &str) -> Option<String> {
    let rule = FORBIDDEN.iter().find(|(folder, foreign, _)| is_in(from, folder) && *foreign == name);
    rule.map(|(_, _, why)| format!("{from} may not depend on {name}: {why}"))
}

fn is_in(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
