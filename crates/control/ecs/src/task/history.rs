//! DescribeTaskHistory of Estiva's own API: what became of a task, change by change, with the whole reasons.

use estiva_api_estiva::Error;
use estiva_api_estiva::types as api;
use estiva_planning::lifecycle::Moment;
use estiva_schema::Request;
use estiva_store::Row;

use super::reference;
use super::table::{TaskRow, TaskStatusRow};
use crate::EcsService;
use crate::cluster;
use crate::scope::Scope;
use crate::task_definition::table as task_definition;

pub(crate) fn describe(
    service: &EcsService,
    request: Request<api::DescribeTaskHistoryRequest>,
) -> Result<api::DescribeTaskHistoryResponse, Error> {
    let Request { input, caller, .. } = request;
    let scope = Scope::of(&caller);
    let view = service.store.view();
    let cluster = cluster::active(&view, &scope, input.cluster.as_deref()).map_err(translated)?;
    let row = reference::find(&view, &scope, &cluster.name, &input.task).map_err(translated)?;
    let not_found = || Error::task_not_found_exception(format!("There is no task {} in {}.", input.task, cluster.name));
    let row = row.ok_or_else(not_found)?;
    let state = view.get::<TaskStatusRow>(&row.key()).map(|status| status.state.clone());
    let events = state.iter().flat_map(|state| state.timeline.iter().map(event));
    Ok(api::DescribeTaskHistoryResponse {
        task_arn: Some(row.arn()),
        task_definition_arn: Some(task_definition::arn(&scope, &row.family, row.revision)),
        created_at: Some(row.created_at),
        last_status: state.as_ref().map(|state| state.last_status.as_str().to_owned()),
        stop_code: row.stop_code.map(|code| code.as_str().to_owned()),
        stopped_reason: row.stopped_reason.clone(),
        events: Some(std::iter::once(placed(&row)).chain(events).collect()),
    })
}

/// RunTask and StartTask place a task as they make it.
fn placed(row: &TaskRow) -> api::TaskEvent {
    let instance = format!("placed on container instance {}", row.container_instance);
    api::TaskEvent {
        at: row.created_at,
        status: "CREATED".to_owned(),
        reason: Some(instance),
        ..api::TaskEvent::default()
    }
}

fn event(moment: &Moment) -> api::TaskEvent {
    api::TaskEvent {
        at: moment.at,
        container: moment.container.clone(),
        status: moment.status.clone(),
        exit_code: moment.exit_code,
        reason: moment.reason.clone(),
    }
}

/// The same errors, of another API.
#[allow(clippy::needless_pass_by_value, reason = "made for map_err")]
pub(crate) fn translated(error: estiva_api_ecs::Error) -> Error {
    let message = error.message().to_owned();
    match error {
        estiva_api_ecs::Error::ClusterNotFoundException(_) => Error::cluster_not_found_exception(message),
        estiva_api_ecs::Error::ServerException(_) => Error::server_exception(message),
        _ => Error::invalid_parameter_exception(message),
    }
}
