//! Idempotency of RunTask: a repeated call with the same token answers as the first did, if that made any task.

use std::sync::Arc;

use estiva_api_ecs::Error;
use estiva_api_ecs::types::{self as api, RunTaskRequest};
use estiva_model::Timestamp;
use estiva_store::{Row, Snapshot};

use super::table::{ClientTokenRow, KeptFailure, TaskRow};
use crate::idempotency::{self, check_token, digest};
use crate::scope::Scope;

const RUN_TASK: &str = "RunTask";
/// Characters of a token (ECS API reference, RunTask).
const TOKEN_CHARS_MAX: usize = 64;

/// Failures that are remembered: in a cluster of thousands each instance has one.
const FAILURES_MAX: usize = 100;

/// A call's token, and what it stands for.
pub(super) struct ClientToken {
    row: ClientTokenRow,
}

impl ClientToken {
    /// The request's, if it brings one.
    pub fn of(scope: &Scope, request: &RunTaskRequest, now: Timestamp) -> Result<Option<Self>, Error> {
        let Some(token) = idempotency::token(request.client_token.as_ref()) else { return Ok(None) };
        check_token(&token, TOKEN_CHARS_MAX)?;
        let request_digest = digest(request);
        let row = ClientTokenRow {
            scope: scope.clone(),
            operation: RUN_TASK.to_owned(),
            token,
            request_digest,
            tasks: Vec::new(),
            failures: Vec::new(),
            created_at: now,
        };
        Ok(Some(Self { row }))
    }

    /// What a former call with this token made.
    pub fn former(&self, view: &Snapshot) -> Result<Option<Arc<ClientTokenRow>>, Error> {
        let Some(former) = view.get::<ClientTokenRow>(&self.row.key()) else { return Ok(None) };
        if former.request_digest != self.row.request_digest {
            return Err(Error::conflict_exception("The clientToken was used before with other parameters."));
        }
        Ok(Some(former))
    }

    /// The row that remembers what was made, and what was not.
    pub fn into_row(mut self, tasks: &[Arc<TaskRow>], failures: &[api::Failure]) -> ClientTokenRow {
        self.row.tasks = tasks.iter().map(|task| task.key()).collect();
        self.row.failures = failures.iter().take(FAILURES_MAX).map(KeptFailure::of).collect();
        self.row
    }
}
