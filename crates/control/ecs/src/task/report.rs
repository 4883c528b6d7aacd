//! What nodes report of tasks: the sole way by which a task's observed state moves on by itself.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use estiva_api_ecs::Error;
use estiva_api_ecs::types as api;
use estiva_model::{Caller, Timestamp};
use estiva_planning::deployment::FailureKind;
use estiva_planning::lifecycle::{
    DesiredStatus, HealthStatus, Moment, StopCode, TaskReport, TaskState, TaskStatus, advance,
};
use estiva_schema::Request;
use estiva_store::{Row, Snapshot, Store, StoreError, Tx, UpdateError};

use super::describe::{is_checked, task_health};
use super::leaving;
use super::table::{BY_ATTACHMENT, TaskRow, TaskStatusRow};
use super::{end, node_report, reference};
use crate::EcsService;
use crate::cluster;
use crate::container_instance::{authorise, table::ContainerInstanceRow};
use crate::error::{self, invalid};
use crate::scope::Scope;
use crate::task_definition::table::{TaskDefinitionRow, revision_key};

/// In a timeline: the node could not take the task.
const REFUSED: &str = "REFUSED_BY_NODE";
/// What agents wait for.
const ACCEPT: &str = "ACCEPT";
/// Of an attachment: the node has made the network interface.
const ATTACHED: &str = "ATTACHED";
/// Attachments in one report, as ECS limits a task's.
const ATTACHMENTS_MAX: usize = 10;

/// A node's word on a task.
pub(super) struct Told {
    pub report: TaskReport,
    /// Why the task ended, if the node has something to say on that.
    pub reason: Option<String>,
    /// The ids of the network interfaces that are made.
    pub attached: Vec<String>,
    /// When it was said.
    pub at: Timestamp,
    /// After how long without a health check a task counts as healthy: one that ended by itself before has failed its service.
    pub healthy_after: Duration,
}

pub(crate) async fn submit_task(
    service: &EcsService,
    request: Request<api::SubmitTaskStateChangeRequest>,
) -> Result<api::SubmitTaskStateChangeResponse, Error> {
    let Request { input, caller, .. } = request;
    let report = TaskReport {
        status: input.status.as_deref().map(node_report::task_status).transpose()?,
        containers: node_report::containers(input.containers.unwrap_or_default())?,
        pull_started_at: input.pull_started_at,
        pull_stopped_at: input.pull_stopped_at,
        execution_stopped_at: input.execution_stopped_at,
    };
    let attached = attached(&Scope::of(&caller), &input.attachments.unwrap_or_default())?;
    let told = Told {
        report,
        reason: node_report::reason(input.reason),
        attached,
        at: service.ambient.now(),
        healthy_after: service.options.healthy_after,
    };
    take(service, &caller, input.cluster.as_deref(), input.task.as_deref(), told).await?;
    Ok(api::SubmitTaskStateChangeResponse { acknowledgment: Some(ACCEPT.to_owned()) })
}

pub(crate) async fn submit_container(
    service: &EcsService,
    request: Request<api::SubmitContainerStateChangeRequest>,
) -> Result<api::SubmitContainerStateChangeResponse, Error> {
    let Request { input, caller, .. } = request;
    let container = api::ContainerStateChange {
        container_name: input.container_name,
        exit_code: input.exit_code,
        image_digest: None,
        network_bindings: input.network_bindings,
        reason: input.reason,
        runtime_id: input.runtime_id,
        status: input.status,
    };
    let report = TaskReport { containers: node_report::containers(vec![container])?, ..TaskReport::default() };
    let told = Told {
        report,
        reason: None,
        attached: Vec::new(),
        at: service.ambient.now(),
        healthy_after: service.options.healthy_after,
    };
    take(service, &caller, input.cluster.as_deref(), input.task.as_deref(), told).await?;
    Ok(api::SubmitContainerStateChangeResponse { acknowledgment: Some(ACCEPT.to_owned()) })
}

/// Network interfaces that are made let their tasks move on to PENDING.
pub(crate) async fn submit_attachments(
    service: &EcsService,
    request: Request<api::SubmitAttachmentStateChangesRequest>,
) -> Result<api::SubmitAttachmentStateChangesResponse, Error> {
    let Request { input, caller, .. } = request;
    let scope = Scope::of(&caller);
    let attached = attached(&scope, &input.attachments)?;
    let update = service.store.update(|tx| {
        cluster::active(tx, &scope, input.cluster.as_deref())?;
        for id in attached {
            let task = tx.index::<TaskRow>(BY_ATTACHMENT, &scope.key(&[&id])).next();
            let task = task.ok_or_else(|| invalid(format!("Unable to find attachment {id}")))?;
            authorise_report(tx, &caller, &task)?;
            apply(
                tx,
                &task,
                &Told {
                    report: TaskReport::default(),
                    reason: None,
                    attached: vec![id],
                    at: service.ambient.now(),
                    healthy_after: service.options.healthy_after,
                },
            );
        }
        Ok::<_, Error>(())
    });
    update.await.map_err(error::update)?;
    Ok(api::SubmitAttachmentStateChangesResponse { acknowledgment: Some(ACCEPT.to_owned()) })
}

fn attached(scope: &Scope, changes: &[api::AttachmentStateChange]) -> Result<Vec<String>, Error> {
    if changes.len() > ATTACHMENTS_MAX {
        return Err(invalid(format!("attachments: at most {ATTACHMENTS_MAX} are allowed")));
    }
    let id = |change: &api::AttachmentStateChange| {
        let id = scope.name_in("attachment", &change.attachment_arn);
        id.map(str::to_owned).ok_or_else(|| invalid(format!("Unable to find attachment {}", change.attachment_arn)))
    };
    changes.iter().filter(|change| change.status == ATTACHED).map(id).collect()
}

/// Adds to the timelines of the tasks with these keys why their node cannot take them yet; once for each reason.
///
/// # Errors
/// The change could not be made durable.
pub async fn note_refusal(store: &Store, tasks: Vec<String>, reason: &str, at: Timestamp) -> Result<(), StoreError> {
    let reason = node_report::cut_reason(reason.to_owned());
    let update = store.update(|tx| {
        for key in &tasks {
            let Some(task) = tx.get::<TaskRow>(key) else { continue };
            let status = tx.get::<TaskStatusRow>(key);
            let last = status.as_ref().and_then(|status| status.state.timeline.last());
            if last.is_some_and(|moment| moment.status == REFUSED && moment.reason.as_deref() == Some(&reason)) {
                continue;
            }
            let status = REFUSED.to_owned();
            end::note(tx, &task, Moment { at, container: None, status, exit_code: None, reason: Some(reason.clone()) });
        }
        Ok::<_, Infallible>(())
    });
    update.await.map_err(UpdateError::into_store)
}

async fn take(
    service: &EcsService,
    caller: &Caller,
    cluster: Option<&str>,
    task: Option<&str>,
    told: Told,
) -> Result<(), Error> {
    let scope = Scope::of(caller);
    let reference = task.ok_or_else(|| invalid("task: must not be empty"))?;
    // Most reports repeat what is known: they cost no transaction.
    let view = service.store.view();
    let task = find(&view, &scope, cluster, reference)?;
    authorise_report(&view, caller, &task)?;
    if next_state(&view, &task, &told).is_none() {
        return Ok(());
    }
    let update = service.store.update(|tx| {
        let task = find(tx, &scope, cluster, reference)?;
        authorise_report(tx, caller, &task)?;
        apply(tx, &task, &told);
        Ok::<_, Error>(())
    });
    update.await.map_err(error::update)
}

pub(super) fn apply(tx: &mut Tx<'_>, task: &TaskRow, told: &Told) {
    let Some((before, next)) = next_state(tx, task, told) else { return };
    if next.last_status == TaskStatus::Stopped {
        note_end(tx, task, &next, told);
    }
    end::observe(tx, task, &before, next);
}

/// An agent's task is of the agent's cluster, or, on Fargate capacity, of the one that its ARN names.
pub(super) fn find(
    view: &Snapshot,
    scope: &Scope,
    cluster: Option<&str>,
    reference: &str,
) -> Result<Arc<TaskRow>, Error> {
    let of_arn = reference.rsplit('/').nth(1).filter(|_| reference.starts_with("arn:"));
    let cluster = match of_arn {
        Some(name) => name,
        None => cluster::name_of(scope, cluster)?,
    };
    // Agents give up on a report that is answered so: the task has been forgotten.
    reference::find(view, scope, cluster, reference)?.ok_or_else(|| invalid(format!("Unable to find task {reference}")))
}

fn authorise_report(view: &Snapshot, caller: &Caller, task: &TaskRow) -> Result<(), Error> {
    match view.get::<ContainerInstanceRow>(&task.container_instance_key()) {
        Some(instance) => authorise(caller, &instance),
        None => Err(Error::access_denied_exception("The task's container instance is not registered.")),
    }
}

pub(super) fn next_state(view: &Snapshot, task: &TaskRow, told: &Told) -> Option<(TaskState, TaskState)> {
    let before = view.get::<TaskStatusRow>(&task.key())?.state.clone();
    let mut report = told.report.clone();
    if task.network_interface.as_ref().is_some_and(|interface| told.attached.contains(&interface.attachment_id)) {
        report.status = report.status.max(Some(TaskStatus::Pending));
    }
    let next = advance(&before, &report, told.at)?;
    Some((before, next))
}

/// Writes why the task ended: what the control plane wanted of it, or else what its node says.
fn note_end(tx: &mut Tx<'_>, task: &TaskRow, state: &TaskState, told: &Told) {
    let mut row = task.clone();
    let reason = told.reason.clone();
    row.desired_status = DesiredStatus::Stopped;
    if row.stop_code.is_none() {
        let of_container = || state.containers.iter().find_map(|container| container.reason.clone());
        let (code, reason) = if state.started_at.is_none() {
            (StopCode::TaskFailedToStart, reason.or_else(of_container))
        } else {
            (StopCode::EssentialContainerExited, reason)
        };
        row.stop_code = Some(code);
        row.failure = failure(tx, task, state, told);
        row.stopped_reason = reason.or_else(|| Some("Essential container in task exited".to_owned()));
    }
    tx.put(row);
}

/// How a task that ended by itself failed the deployment that it was of, if it did. With a health check it is the check that
/// says when a task is healthy, and without one the time.
fn failure(view: &Snapshot, task: &TaskRow, state: &TaskState, told: &Told) -> Option<FailureKind> {
    let Some(started_at) = state.started_at else { return Some(FailureKind::NeverRan) };
    let definition = view.get::<TaskDefinitionRow>(&revision_key(&task.scope, &task.family, task.revision));
    let definition = definition.as_ref().map(|row| &row.definition);
    let was_healthy = if definition.is_some_and(is_checked) {
        task_health(definition, Some(state)) == HealthStatus::Healthy
    } else {
        // What comes after the end of an essential container is no time of health.
        let until = leaving::since(task, definition, state).map_or(told.at, |at| at.min(told.at));
        until.since(started_at) >= told.healthy_after
    };
    (!was_healthy).then_some(FailureKind::NeverHealthy)
}
