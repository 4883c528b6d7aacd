//! Scale-in protection: tasks of services that are not to be stopped by scaling in or by deployments, for a time.

use std::ops::RangeInclusive;
use std::time::Duration;

use estiva_api_ecs::Error;
use estiva_api_ecs::types as api;
use estiva_model::Timestamp;
use estiva_planning::lifecycle::{DesiredStatus, TaskStatus};
use estiva_schema::Request;
use estiva_store::{Row, Snapshot};
use serde::{Deserialize, Serialize};

use super::reference;
use super::table::TaskRow;
use crate::EcsService;
use crate::cluster;
use crate::error::{self, invalid};
use crate::failure::failure;
use crate::scope::Scope;
use crate::service::table::GROUP_PREFIX;

/// UpdateTaskProtection takes so many at a time, GetTaskProtection so many.
const UPDATED_MAX: usize = 10;
const TASKS_MAX: usize = 100;
const EXPIRES_IN_MINUTES: RangeInclusive<i32> = 1..=2880;
const EXPIRES_IN_MINUTES_DEFAULT: i32 = 120;

/// That a task is protected. It goes with its task.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TaskProtectionRow {
    /// The task's key.
    pub task: String,
    /// Until when.
    pub expires_at: Timestamp,
}

impl Row for TaskProtectionRow {
    const TABLE: &'static str = "task_protections";

    fn key(&self) -> String {
        self.task.clone()
    }
}

pub(crate) async fn update(
    service: &EcsService,
    request: Request<api::UpdateTaskProtectionRequest>,
) -> Result<api::UpdateTaskProtectionResponse, Error> {
    let Request { input, caller, .. } = request;
    let scope = Scope::of(&caller);
    if !(1..=UPDATED_MAX).contains(&input.tasks.len()) {
        return Err(invalid(format!("tasks: 1 to {UPDATED_MAX} tasks must be given.")));
    }
    let minutes = input.expires_in_minutes.unwrap_or(EXPIRES_IN_MINUTES_DEFAULT);
    if !EXPIRES_IN_MINUTES.contains(&minutes) {
        return Err(invalid("expiresInMinutes: must be from 1 to 2880."));
    }
    reference::authorise(service, &caller, "ecs:UpdateTaskProtection", Some(&input.cluster), &input.tasks)?;
    let lasting = Duration::from_secs(u64::try_from(minutes).unwrap_or(1) * 60);
    let update = service.store.update(|tx| {
        let cluster = cluster::active(tx, &scope, Some(&input.cluster))?;
        let (mut protected, mut failures) = (Vec::new(), Vec::new());
        for text in &input.tasks {
            let Some(row) = reference::find(tx, &scope, &cluster.name, text)? else {
                failures.push(missing(&scope, &cluster.name, text)?);
                continue;
            };
            if let Some(why) = unfit(tx, &row, input.protection_enabled) {
                failures.push(explained(row.arn(), "TASK_NOT_VALID", why));
                continue;
            }
            if input.protection_enabled {
                tx.put(TaskProtectionRow { task: row.key(), expires_at: service.ambient.now().plus(lasting) });
            } else {
                tx.delete::<TaskProtectionRow>(&row.key());
            }
            protected.push(shown(tx, &row, service.ambient.now()));
        }
        Ok::<_, Error>((protected, failures))
    });
    let (protected, failures) = update.await.map_err(error::update)?;
    Ok(api::UpdateTaskProtectionResponse { protected_tasks: Some(protected), failures: Some(failures) })
}

pub(crate) fn get(
    service: &EcsService,
    request: &Request<api::GetTaskProtectionRequest>,
) -> Result<api::GetTaskProtectionResponse, Error> {
    let Request { input, caller, .. } = request;
    let scope = Scope::of(caller);
    let view = service.store.view();
    let tasks = input.tasks.as_deref().unwrap_or_default();
    reference::authorise(service, caller, "ecs:GetTaskProtection", Some(&input.cluster), tasks)?;
    let cluster = cluster::active(&view, &scope, Some(&input.cluster))?;
    if !(1..=TASKS_MAX).contains(&tasks.len()) {
        return Err(invalid(format!("tasks: 1 to {TASKS_MAX} tasks must be given.")));
    }
    let (mut protected, mut failures) = (Vec::new(), Vec::new());
    for text in tasks {
        match reference::find(&view, &scope, &cluster.name, text)? {
            Some(row) => protected.push(shown(&view, &row, service.ambient.now())),
            None => failures.push(missing(&scope, &cluster.name, text)?),
        }
    }
    Ok(api::GetTaskProtectionResponse { protected_tasks: Some(protected), failures: Some(failures) })
}

/// Why a task cannot be protected, or not be told that it no longer is.
fn unfit(view: &Snapshot, row: &TaskRow, protects: bool) -> Option<&'static str> {
    if !row.group.starts_with(GROUP_PREFIX) {
        Some("The task does not belong to a service.")
    } else if reference::status_of(view, row) == Some(TaskStatus::Stopped) {
        Some("The task has stopped.")
    } else if protects && row.desired_status == DesiredStatus::Stopped {
        // One that gives its protection up when it is told to stop does no harm, and is not to fail over it.
        Some("The task is stopping.")
    } else {
        None
    }
}

fn shown(view: &Snapshot, row: &TaskRow, now: Timestamp) -> api::ProtectedTask {
    let protection = view.get::<TaskProtectionRow>(&row.key()).filter(|protection| protection.expires_at > now);
    api::ProtectedTask {
        expiration_date: protection.as_ref().map(|protection| protection.expires_at),
        protection_enabled: Some(protection.is_some()),
        task_arn: Some(row.arn()),
    }
}

fn missing(scope: &Scope, cluster: &str, text: &str) -> Result<api::Failure, Error> {
    let arn = reference::arn(scope, cluster, reference::id(scope, text)?);
    Ok(explained(arn, "MISSING", "The task was not found."))
}

fn explained(arn: String, reason: &str, detail: &str) -> api::Failure {
    api::Failure { detail: Some(detail.to_owned()), ..failure(arn, reason) }
}
