//! The end of a task: why it has to end, and what is given back once it has.

use estiva_model::Timestamp;
use estiva_planning::lifecycle::{
    DesiredStatus, Moment, StopCode, TaskReport, TaskState, TaskStatus, advance, begin_stopping,
};
use estiva_store::{Row, Tx};

use super::table::{TaskRow, TaskStatusRow};
use crate::container_instance;
use crate::container_instance::table::{AddressRow, address_key};

/// Why a task has to end.
#[derive(Debug, Clone)]
pub(crate) struct Stop {
    /// In ECS's word.
    pub code: StopCode,
    /// In the stopper's.
    pub reason: String,
}

impl Stop {
    /// Its container instance was deregistered.
    pub fn of_deregistration() -> Self {
        Self {
            code: StopCode::TerminationNotice,
            reason: "Container instance deregistration forced by user".to_owned(),
        }
    }
}

/// Notes that a task has to end. The first reason stays.
pub(crate) fn request(tx: &mut Tx<'_>, task: &TaskRow, stop: &Stop, now: Timestamp) {
    if task.desired_status == DesiredStatus::Stopped {
        return;
    }
    let mut row = task.clone();
    row.desired_status = DesiredStatus::Stopped;
    row.stop_code = Some(stop.code);
    row.stopped_reason = Some(stop.reason.clone());
    let row = tx.put(row);
    if let Some(status) = tx.get::<TaskStatusRow>(&row.key())
        && let Some(next) = begin_stopping(&status.state, true, now)
    {
        observe(tx, &row, &status.state, next);
    }
}

/// Adds to the task's timeline what is no change of its state.
pub(crate) fn note(tx: &mut Tx<'_>, task: &TaskRow, moment: Moment) {
    if let Some(status) = tx.get::<TaskStatusRow>(&task.key()) {
        let mut state = status.state.clone();
        state.note(moment);
        tx.put(TaskStatusRow { state, ..(*status).clone() });
    }
}

/// Ends a task that nobody will report on any more.
pub(crate) fn abandon(tx: &mut Tx<'_>, task: &TaskRow, stop: &Stop, now: Timestamp) {
    request(tx, task, stop, now);
    let gone = TaskReport { status: Some(TaskStatus::Stopped), ..TaskReport::default() };
    if let Some(status) = tx.get::<TaskStatusRow>(&task.key())
        && let Some(next) = advance(&status.state, &gone, now)
    {
        observe(tx, task, &status.state, next);
    }
}

/// Writes what has been observed of a task; with its end it gives back what it held.
pub(super) fn observe(tx: &mut Tx<'_>, task: &TaskRow, before: &TaskState, after: TaskState) {
    let instance = task.container_instance_key();
    container_instance::moved(tx, &instance, &task.demand, before.last_status, after.last_status);
    if after.last_status == TaskStatus::Stopped
        && let Some(row) = tx.get::<TaskRow>(&task.key())
    {
        tx.put(TaskRow { is_live: false, ..(*row).clone() });
    }
    if after.last_status == TaskStatus::Stopped
        && let Some(interface) = &task.network_interface
    {
        tx.delete::<AddressRow>(&address_key(&instance, &interface.private_ipv4_address));
    }
    tx.put(TaskStatusRow {
        scope: task.scope.clone(),
        cluster: task.cluster.clone(),
        id: task.id.clone(),
        launch_type: task.launch_type.clone(),
        state: after,
        deployment: task.deployment.clone(),
    });
}
