//! StopTask.

use estiva_api_ecs::Error;
use estiva_api_ecs::types as api;
use estiva_planning::lifecycle::StopCode;
use estiva_schema::Request;

use super::describe::to_api;
use super::end::{self, Stop};
use super::reference;
use crate::EcsService;
use crate::cluster;
use crate::error::{self, invalid};
use crate::scope::Scope;

/// Characters of a reason: what the console takes.
const REASON_CHARS_MAX: usize = 1024;

/// Notes that the task has to end; the node ends it.
pub(crate) async fn stop(
    service: &EcsService,
    request: Request<api::StopTaskRequest>,
) -> Result<api::StopTaskResponse, Error> {
    let Request { input, caller, .. } = request;
    let scope = Scope::of(&caller);
    let reason = input.reason.unwrap_or_else(|| "Task stopped by user".to_owned());
    if reason.chars().count() > REASON_CHARS_MAX {
        return Err(invalid(format!("reason: must have at most {REASON_CHARS_MAX} characters")));
    }
    let stop = Stop { code: StopCode::UserInitiated, reason };
    let update = service.store.update(|tx| {
        let cluster = cluster::active(tx, &scope, input.cluster.as_deref())?;
        let task = reference::find(tx, &scope, &cluster.name, &input.task)?;
        let task = task.ok_or_else(|| invalid("The referenced task was not found."))?;
        end::request(tx, &task, &stop, service.ambient.now());
        Ok::<_, Error>(task)
    });
    let task = update.await.map_err(error::update)?;
    let view = service.store.view();
    let task = reference::find(&view, &scope, &task.cluster, &task.id)?.unwrap_or(task);
    Ok(api::StopTaskResponse { task: Some(to_api(&view, &task, false)) })
}
