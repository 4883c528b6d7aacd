//! The sessions' rows.

use estiva_model::Timestamp;
use estiva_store::Row;
use serde::{Deserialize, Serialize};

use crate::scope::Scope;

/// A session with a program in a container, from ExecuteCommand to its end.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ExecSessionRow {
    /// Whose.
    pub scope: Scope,
    /// `ecs-execute-command-` and 17 hexadecimal digits.
    pub id: String,
    /// The task's ARN.
    pub task_arn: String,
    /// The key of the container instance that the task is on.
    pub container_instance_key: String,
    /// The container's name.
    pub container: String,
    /// As the caller gave it.
    pub command: String,
    /// What is kept of the token that opens the session.
    pub token_sha256: String,
    /// Whether somebody has opened it.
    pub opened: bool,
    /// Where its output is written too.
    pub log_group: Option<String>,
    /// When it was asked for.
    pub created_at: Timestamp,
}

impl Row for ExecSessionRow {
    const TABLE: &'static str = "exec_sessions";

    fn key(&self) -> String {
        self.id.clone()
    }

    fn indexes(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }
}
