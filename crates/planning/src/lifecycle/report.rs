//! What a node's report, or the wish to stop, makes of a task's state.

use estiva_model::Timestamp;

use super::timeline::moments;
use super::{ContainerState, ContainerStatus, HealthStatus, NetworkBinding, TaskState, TaskStatus};

/// A node's report on a task, as SubmitTaskStateChange carries it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TaskReport {
    /// How far the task is; absent in a report on containers alone.
    pub status: Option<TaskStatus>,
    /// An ordered history: a container can appear as RUNNING and then as STOPPED.
    pub containers: Vec<ContainerReport>,
    /// When the first image's pull began.
    pub pull_started_at: Option<Timestamp>,
    /// When the last image's pull ended.
    pub pull_stopped_at: Option<Timestamp>,
    /// When the last container ended.
    pub execution_stopped_at: Option<Timestamp>,
}

/// A node's report on a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContainerReport {
    /// Which container; one that the task does not have is passed over.
    pub name: String,
    /// How far it is.
    pub status: Option<ContainerStatus>,
    /// Its exit code, if it ended.
    pub exit_code: Option<i32>,
    /// Why it did not start, or why it ended.
    pub reason: Option<String>,
    /// The runtime's id of the container.
    pub runtime_id: Option<String>,
    /// The digest of the image's manifest.
    pub image_digest: Option<String>,
    /// Ports as published.
    pub network_bindings: Vec<NetworkBinding>,
    /// What its health check makes of it; absent where nothing is said of that.
    pub health: Option<HealthStatus>,
}

/// The state after `report`, or `None` if it tells nothing new. `now` is the time of its arrival.
///
/// A STOPPED task never changes; a task or container never goes backwards; what is once known (an exit code, a time)
/// stays as it was first reported.
pub fn advance(task: &TaskState, report: &TaskReport, now: Timestamp) -> Option<TaskState> {
    if task.last_status == TaskStatus::Stopped {
        return None;
    }
    let mut next = task.clone();
    for container in &report.containers {
        if let Some(state) = next.containers.iter_mut().find(|state| state.name == container.name) {
            advance_container(state, container);
        }
    }
    next.pull_started_at = task.pull_started_at.or(report.pull_started_at);
    next.pull_stopped_at = task.pull_stopped_at.or(report.pull_stopped_at);
    next.execution_stopped_at = task.execution_stopped_at.or(report.execution_stopped_at);
    if let Some(status) = report.status
        && status > next.last_status
    {
        enter(&mut next, status, now);
    }
    close(task, next, now)
}

/// The state once the task has been told to stop, or `None` if it is stopping already.
///
/// A task that no node has taken yet (`on_node` is false) is STOPPED at once.
pub fn begin_stopping(task: &TaskState, on_node: bool, now: Timestamp) -> Option<TaskState> {
    if task.stopping_at.is_some() || task.last_status == TaskStatus::Stopped {
        return None;
    }
    let mut next = task.clone();
    next.stopping_at = Some(now);
    if !on_node {
        enter(&mut next, TaskStatus::Stopped, now);
    } else if task.last_status >= TaskStatus::Running && task.last_status < TaskStatus::Stopping {
        next.last_status = TaskStatus::Stopping;
    }
    close(task, next, now)
}

fn close(before: &TaskState, mut after: TaskState, now: Timestamp) -> Option<TaskState> {
    if *before == after {
        return None;
    }
    after.version = before.version + 1;
    let heard = moments(before, &after, now);
    after.timeline.extend(heard);
    Some(after)
}

fn enter(task: &mut TaskState, status: TaskStatus, now: Timestamp) {
    task.last_status = status;
    match status {
        TaskStatus::Running => task.started_at = Some(now),
        TaskStatus::Stopped => {
            task.stopping_at.get_or_insert(now);
            task.stopped_at = Some(now);
            for container in &mut task.containers {
                container.last_status = ContainerStatus::Stopped;
            }
        }
        _ => {}
    }
}

fn advance_container(state: &mut ContainerState, report: &ContainerReport) {
    if let Some(status) = report.status
        && status > state.last_status
    {
        state.last_status = status;
    }
    // An exit code of a container that runs on is one of a former run: a restart keeps the container RUNNING.
    if report.status == Some(ContainerStatus::Stopped) {
        state.exit_code = state.exit_code.or(report.exit_code);
    }
    if let Some(health) = report.health
        && state.last_status != ContainerStatus::Stopped
    {
        state.health = health;
    }
    state.reason = state.reason.take().or_else(|| report.reason.clone());
    state.runtime_id = state.runtime_id.take().or_else(|| report.runtime_id.clone());
    state.image_digest = state.image_digest.take().or_else(|| report.image_digest.clone());
    if state.network_bindings.is_empty() {
        state.network_bindings.clone_from(&report.network_bindings);
    }
}
