//! A further program in a running container: a health check, a shell.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::User;

/// A further program in a running container, with the container's namespaces, cgroup, capabilities and filter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExecSpec {
    /// The container's name.
    pub container: String,
    /// Chosen by the agent, unique among the container's programs that run (letters, digits, `-`, `_`).
    pub id: String,
    /// Program and arguments, looked up as the container's own.
    pub args: Vec<String>,
    /// Variables beyond the container's; a later one wins.
    #[serde(default)]
    pub env: Vec<String>,
    /// Working directory; the container's when absent.
    #[serde(default)]
    pub cwd: Option<PathBuf>,
    /// Who it runs as; the container's user when absent.
    #[serde(default)]
    pub user: Option<User>,
    /// Give it a pseudo-terminal.
    #[serde(default)]
    pub tty: bool,
}
