//! Creating and deleting log streams.

use estiva_api_logs::Error;
use estiva_api_logs::types::{CreateLogStreamRequest, DeleteLogStreamRequest};
use estiva_schema::Request;
use estiva_store::Row;

use super::table::{LogStreamRow, find};
use crate::LogsService;
use crate::error;
use crate::group;
use crate::reference::{Scope, illegal, is_stream_name};

/// With so many streams a task makes no more: each is a row that is kept until somebody deletes it.
const STREAMS_MAX_FOR_TASKS: usize = 1_000_000;

/// CreateLogStream.
pub(crate) async fn create(service: &LogsService, request: Request<CreateLogStreamRequest>) -> Result<(), Error> {
    let Request { input, caller, .. } = request;
    if !is_stream_name(&input.log_stream_name) {
        return Err(illegal(&input.log_stream_name, "logStreamName", "[^:*]*"));
    }
    service.authorise_stream(&caller, "logs:CreateLogStream", &input.log_group_name, &input.log_stream_name)?;
    let (scope, now) = (Scope::of(&caller), service.now());
    if !service.budgets.stream(&caller, now) {
        return Err(error::throttled());
    }
    let streams_max = if caller.principal.is_task() { STREAMS_MAX_FOR_TASKS } else { usize::MAX };
    let created = service.store.update(|tx| {
        let group = group::find(tx, &scope, &input.log_group_name)?;
        let row = LogStreamRow {
            group: group.id().to_string(),
            name: input.log_stream_name,
            created_revision: tx.revision(),
            created: now,
        };
        if tx.contains::<LogStreamRow>(&row.key()) {
            return Err(Error::resource_already_exists_exception("The specified log stream already exists"));
        }
        if tx.count::<LogStreamRow>() >= streams_max {
            return Err(Error::limit_exceeded_exception("Resource limit exceeded."));
        }
        tx.put(row);
        Ok(())
    });
    created.await.map_err(error::update)
}

/// DeleteLogStream: its events go with it.
pub(crate) async fn delete(service: &LogsService, request: Request<DeleteLogStreamRequest>) -> Result<(), Error> {
    let Request { input, caller, .. } = request;
    let scope = Scope::of(&caller);
    let deleted = service.store.update(|tx| {
        let group = group::find(tx, &scope, &input.log_group_name)?;
        let row = find(tx, group.id(), &input.log_stream_name)?;
        tx.delete::<LogStreamRow>(&row.key());
        Ok((group.id(), row.id()))
    });
    let (group, stream) = deleted.await.map_err(error::update)?;
    service.blocking(move |engine| engine.delete_stream(group, stream)).await
}
