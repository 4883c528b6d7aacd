//! What nodes report of tasks: the sole way by which a task's observed state moves on by itself.

use std::sync::Arc;

use estiva_api_ecs::Error;
use estiva_api_ecs::types as api;
use estiva_model::{Caller, Timestamp};
use estiva_planning::lifecycle::{
    ContainerReport, ContainerStatus, DesiredStatus, NetworkBinding, StopCode, TaskReport, TaskState, TaskStatus,
    advance,
};
use estiva_schema::Request;
use estiva_store::{Row, Snapshot, Tx};

use super::table::{TaskRow, TaskStatusRow};
use super::{end, reference};
use crate::EcsService;
use crate::cluster;
use crate::container_instance::{authorise, table::ContainerInstanceRow};
use crate::error::{self, invalid};
use crate::scope::Scope;

/// What agents wait for.
const ACCEPT: &str = "ACCEPT";

pub(crate) async fn submit_task(
    service: &EcsService,
    request: Request<api::SubmitTaskStateChangeRequest>,
) -> Result<api::SubmitTaskStateChangeResponse, Error> {
    let Request { input, caller, .. } = request;
    let report = TaskReport {
        status: input.status.as_deref().map(task_status).transpose()?,
        containers: input.containers.unwrap_or_default().into_iter().map(container_report).collect::<Result<_, _>>()?,
        pull_started_at: input.pull_started_at,
        pull_stopped_at: input.pull_stopped_at,
        execution_stopped_at: input.execution_stopped_at,
    };
    take(service, &caller, input.cluster.as_deref(), input.task.as_deref(), report, input.reason).await?;
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
    let report = TaskReport { containers: vec![container_report(container)?], ..TaskReport::default() };
    take(service, &caller, input.cluster.as_deref(), input.task.as_deref(), report, None).await?;
    Ok(api::SubmitContainerStateChangeResponse { acknowledgment: Some(ACCEPT.to_owned()) })
}

/// The attachments of tasks are the node's own affair so far: that one is attached changes nothing that is shown.
pub(crate) fn submit_attachments(
    service: &EcsService,
    request: &Request<api::SubmitAttachmentStateChangesRequest>,
) -> Result<api::SubmitAttachmentStateChangesResponse, Error> {
    let scope = Scope::of(&request.caller);
    cluster::active(&service.store.view(), &scope, request.input.cluster.as_deref())?;
    Ok(api::SubmitAttachmentStateChangesResponse { acknowledgment: Some(ACCEPT.to_owned()) })
}

async fn take(
    service: &EcsService,
    caller: &Caller,
    cluster: Option<&str>,
    task: Option<&str>,
    report: TaskReport,
    reason: Option<String>,
) -> Result<(), Error> {
    let scope = Scope::of(caller);
    let reference = task.ok_or_else(|| invalid("task: must not be empty"))?;
    // Most reports repeat what is known: they cost no transaction.
    let view = service.store.view();
    let task = find(&view, &scope, cluster, reference)?;
    authorise_report(&view, caller, &task)?;
    if next_state(&view, &task, &report).is_none() {
        return Ok(());
    }
    let update = service.store.update(|tx| {
        let task = find(tx, &scope, cluster, reference)?;
        if let Some((before, next)) = next_state(tx, &task, &report) {
            let task =
                if next.last_status == TaskStatus::Stopped { ended(tx, &task, &next, reason.clone()) } else { task };
            end::observe(tx, &task, &before, next);
        }
        Ok::<_, Error>(())
    });
    update.await.map_err(error::update)
}

/// An agent's task is of the agent's cluster, or, on Fargate capacity, of the one that its ARN names.
fn find(view: &Snapshot, scope: &Scope, cluster: Option<&str>, reference: &str) -> Result<Arc<TaskRow>, Error> {
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

fn next_state(view: &Snapshot, task: &TaskRow, report: &TaskReport) -> Option<(TaskState, TaskState)> {
    let before = view.get::<TaskStatusRow>(&task.key())?.state.clone();
    let next = advance(&before, report, Timestamp::now())?;
    Some((before, next))
}

/// The task's row once it has ended, with the reason why.
fn ended(tx: &mut Tx<'_>, task: &TaskRow, state: &TaskState, reason: Option<String>) -> Arc<TaskRow> {
    let mut row = task.clone();
    row.desired_status = DesiredStatus::Stopped;
    if row.stop_code.is_none() {
        let of_container = || state.containers.iter().find_map(|container| container.reason.clone());
        let (code, reason) = if state.started_at.is_none() {
            (StopCode::TaskFailedToStart, reason.or_else(of_container))
        } else {
            (StopCode::EssentialContainerExited, reason)
        };
        row.stop_code = Some(code);
        row.stopped_reason = reason.or_else(|| Some("Essential container in task exited".to_owned()));
    }
    tx.put(row)
}

fn task_status(text: &str) -> Result<TaskStatus, Error> {
    TaskStatus::parse(text).ok_or_else(|| invalid(format!("status: '{text}' is no status of a task")))
}

fn container_report(change: api::ContainerStateChange) -> Result<ContainerReport, Error> {
    let status = |text: &str| match text {
        // AWS's agent has states in between, and says so at times.
        "RUNNING" => ContainerStatus::Running,
        "STOPPED" => ContainerStatus::Stopped,
        _ => ContainerStatus::Pending,
    };
    Ok(ContainerReport {
        name: change.container_name.ok_or_else(|| invalid("containerName: must not be empty"))?,
        status: change.status.as_deref().map(status),
        exit_code: change.exit_code,
        reason: change.reason,
        runtime_id: change.runtime_id,
        image_digest: change.image_digest,
        network_bindings: change.network_bindings.unwrap_or_default().into_iter().filter_map(binding).collect(),
    })
}

fn binding(binding: api::NetworkBinding) -> Option<NetworkBinding> {
    Some(NetworkBinding {
        bind_ip: binding.bind_ip.unwrap_or_default(),
        container_port: u16::try_from(binding.container_port?).ok()?,
        host_port: u16::try_from(binding.host_port?).ok()?,
        protocol: binding.protocol.map_or("tcp", |protocol| protocol.as_str()).to_owned(),
    })
}
