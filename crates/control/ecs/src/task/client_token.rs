//! Idempotency of RunTask: a repeated call with the same token answers as the first did.

use estiva_api_ecs::Error;
use estiva_api_ecs::types::RunTaskRequest;
use estiva_model::Timestamp;
use estiva_store::{Row, Snapshot};

use super::table::ClientTokenRow;
use crate::idempotency::{check_token, digest};
use crate::scope::Scope;

const RUN_TASK: &str = "RunTask";
/// Characters of a token (ECS API reference, RunTask).
const TOKEN_CHARS_MAX: usize = 64;

/// A call's token, and what it stands for.
pub(super) struct ClientToken {
    row: ClientTokenRow,
}

impl ClientToken {
    /// The request's, if it brings one.
    pub fn of(scope: &Scope, request: &RunTaskRequest, now: Timestamp) -> Result<Option<Self>, Error> {
        let Some(token) = request.client_token.clone() else { return Ok(None) };
        check_token(&token, TOKEN_CHARS_MAX)?;
        let request_digest = digest(request);
        let row = ClientTokenRow {
            scope: scope.clone(),
            operation: RUN_TASK.to_owned(),
            token,
            request_digest,
            tasks: Vec::new(),
            created_at: now,
        };
        Ok(Some(Self { row }))
    }

    /// The keys of the tasks that a former call with this token made.
    pub fn former(&self, view: &Snapshot) -> Result<Option<Vec<String>>, Error> {
        let Some(former) = view.get::<ClientTokenRow>(&self.row.key()) else { return Ok(None) };
        if former.request_digest != self.row.request_digest {
            return Err(Error::conflict_exception("The clientToken was used before with other parameters."));
        }
        Ok(Some(former.tasks.clone()))
    }

    /// The row that remembers these tasks.
    pub fn into_row(mut self, tasks: Vec<String>) -> ClientTokenRow {
        self.row.tasks = tasks;
        self.row
    }
}
