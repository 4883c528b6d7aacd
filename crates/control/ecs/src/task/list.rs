//! ListTasks.

use std::sync::Arc;

use estiva_api_ecs::Error;
use estiva_api_ecs::types as api;
use estiva_planning::lifecycle::DesiredStatus;
use estiva_schema::Request;
use estiva_store::Row;

use super::table::{
    BY_CLUSTER_DESIRED, BY_CONTAINER_INSTANCE, BY_FAMILY, BY_FORMER_CONTAINER_INSTANCE, BY_GROUP, BY_STARTED_BY,
    TaskRow,
};
use crate::EcsService;
use crate::error::invalid;
use crate::page::{Page, merged};
use crate::scope::Scope;
use crate::{cluster, container_instance, service};

/// The tasks that pass every filter, in order of their id. The narrowest index that fits is read, and no more of it
/// than a page needs.
pub(crate) fn list(
    ecs: &EcsService,
    request: &Request<api::ListTasksRequest>,
) -> Result<api::ListTasksResponse, Error> {
    let Request { input, caller, .. } = request;
    let input = &without_empty(input);
    let scope = Scope::of(caller);
    let view = ecs.store.view();
    let cluster = cluster::active(&view, &scope, input.cluster.as_deref())?;
    let page = Page::new(ecs.tokens.of(request), input.next_token.as_deref(), input.max_results)?;
    let group = match &input.service_name {
        None => None,
        Some(name) => {
            let found = service::find(&view, &scope, &cluster.name, name)?;
            Some(found.ok_or_else(|| Error::service_not_found_exception("Service not found."))?.group())
        }
    };
    let desired = match input.desired_status {
        Some(status) if status.as_str() == "STOPPED" => DesiredStatus::Stopped,
        Some(status) if status.as_str() == "PENDING" => return Ok(answer(&[], None)),
        _ => DesiredStatus::Running,
    };
    let instance = match &input.container_instance {
        None => None,
        Some(reference) => {
            let row = container_instance::find(&view, &scope, &cluster.name, reference)?;
            Some(row.ok_or_else(|| invalid("The referenced container instance was not found."))?)
        }
    };
    let of_cluster = |value: &str| scope.key(&[&cluster.name, value]);
    let (index, value) = match (&instance, &input.started_by, &group, &input.family) {
        (Some(instance), ..) => (BY_CONTAINER_INSTANCE, instance.key()),
        (None, Some(started_by), ..) => (BY_STARTED_BY, of_cluster(started_by)),
        (None, None, Some(group), _) => (BY_GROUP, of_cluster(group)),
        (None, None, None, Some(family)) => (BY_FAMILY, of_cluster(family)),
        (None, None, None, None) => (BY_CLUSTER_DESIRED, of_cluster(desired.as_str())),
    };
    let launch_type = input.launch_type.map(api::LaunchType::as_str);
    let passes = |row: &Arc<TaskRow>| {
        row.cluster == cluster.name
            && row.desired_status == desired
            && instance.as_ref().is_none_or(|_| row.launch_type != "FARGATE")
            && input.family.as_ref().is_none_or(|family| *family == row.family)
            && group.as_ref().is_none_or(|group| *group == row.group)
            && input.started_by.as_ref().is_none_or(|by| row.started_by.as_ref() == Some(by))
            && launch_type.is_none_or(|launch_type| launch_type == row.launch_type)
    };
    let key = |row: &Arc<TaskRow>| row.key();
    let rows = view.index_from::<TaskRow>(index, &value, &page.after);
    let (rows, next_token) = if instance.is_some() && desired == DesiredStatus::Stopped {
        let ended = view.index_from::<TaskRow>(BY_FORMER_CONTAINER_INSTANCE, &value, &page.after);
        page.cut(merged(rows, ended).filter(passes), key)
    } else {
        page.cut(rows.filter(passes), key)
    };
    Ok(answer(&rows, next_token))
}

/// The request without filters that are empty: they are none.
fn without_empty(input: &api::ListTasksRequest) -> api::ListTasksRequest {
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    api::ListTasksRequest {
        container_instance: given(&input.container_instance),
        family: given(&input.family),
        service_name: given(&input.service_name),
        started_by: given(&input.started_by),
        ..input.clone()
    }
}

fn answer(rows: &[Arc<TaskRow>], next_token: Option<String>) -> api::ListTasksResponse {
    api::ListTasksResponse { task_arns: Some(rows.iter().map(|row| row.arn()).collect()), next_token }
}
