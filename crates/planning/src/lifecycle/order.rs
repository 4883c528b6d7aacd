//! What may come after what: the one rule that every writer of a task's state keeps.

use super::{ContainerState, TaskState, TaskStatus};

/// Whether `after` may be a later state than `before`: STOPPED is final, neither the task nor a container of it goes backwards,
/// what is once known stays, and the version grows. A note in the timeline alone is no change.
pub fn follows(before: &TaskState, after: &TaskState) -> bool {
    if before.version == after.version {
        return TaskState { timeline: after.timeline.clone(), ..before.clone() } == *after;
    }
    before.last_status != TaskStatus::Stopped
        && before.last_status <= after.last_status
        && before.version < after.version
        && keeps_times(before, after)
        && before.containers.len() == after.containers.len()
        && before.containers.iter().zip(&after.containers).all(|(old, new)| container_follows(old, new))
}

fn keeps_times(before: &TaskState, after: &TaskState) -> bool {
    let times = |state: &TaskState| {
        [state.pull_started_at, state.pull_stopped_at, state.started_at, state.stopping_at, state.execution_stopped_at]
    };
    times(before).iter().zip(times(after)).all(|(old, new)| old.is_none() || *old == new)
}

fn container_follows(before: &ContainerState, after: &ContainerState) -> bool {
    before.name == after.name
        && before.last_status <= after.last_status
        && (before.exit_code.is_none() || before.exit_code == after.exit_code)
}
