//! Tasks as callers refer to them.

use std::sync::Arc;

use estiva_api_ecs::Error;
use estiva_model::Caller;
use estiva_planning::lifecycle::TaskStatus;
use estiva_store::{Row, Snapshot};

use super::table::{TaskRow, TaskStatusRow, key};
use crate::EcsService;
use crate::cluster;
use crate::error::{INVALID_REGION, invalid};
use crate::scope::Scope;

/// The task of the cluster that an id or ARN means.
pub(crate) fn find(
    view: &Snapshot,
    scope: &Scope,
    cluster: &str,
    reference: &str,
) -> Result<Option<Arc<TaskRow>>, Error> {
    let id = id(scope, reference)?;
    cluster::check_same(cluster, reference)?;
    Ok(view.get::<TaskRow>(&key(scope, cluster, id)))
}

/// Whether the caller may do this to all of the tasks that the references mean, whether or not there are any.
pub(super) fn authorise(
    service: &EcsService,
    caller: &Caller,
    action: &str,
    cluster: Option<&str>,
    references: &[String],
) -> Result<(), Error> {
    let scope = Scope::of(caller);
    let cluster = cluster::name_of(&scope, cluster).ok();
    let resource = |reference: &String| {
        let (cluster, id) = (cluster?, id(&scope, reference).ok()?);
        cluster::check_same(cluster, reference).ok()?;
        Some(arn(&scope, cluster, id))
    };
    for reference in references {
        // Of one that is malformed the owner is told so; nobody else reaches it.
        let resource = resource(reference).unwrap_or_else(|| reference.clone());
        service.access.authorize_on(caller, action, &resource)?;
    }
    if references.is_empty() {
        service.access.authorize_on(caller, action, &arn(&scope, cluster.unwrap_or_default(), "*"))?;
    }
    Ok(())
}

/// The ARN of the task, whether or not there is one.
pub(super) fn arn(scope: &Scope, cluster: &str, id: &str) -> String {
    scope.arn(format!("task/{cluster}/{id}"))
}

/// The id in an id or ARN.
pub(super) fn id<'a>(scope: &Scope, reference: &'a str) -> Result<&'a str, Error> {
    let legal =
        |id: &&str| (1..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    scope.name_in("task", reference).filter(legal).ok_or_else(|| {
        if scope.is_of_other_region(reference) {
            return invalid(INVALID_REGION);
        }
        invalid("Invalid identifier: Identifier is for task, but has an illegal form.")
    })
}

/// How far a task is.
pub(crate) fn status_of(view: &Snapshot, task: &TaskRow) -> Option<TaskStatus> {
    view.get::<TaskStatusRow>(&task.key()).map(|row| row.state.last_status)
}
