//! Tasks on their way out, which may take its time: other containers are still to end.

use estiva_api_ecs::types as api;
use estiva_model::Timestamp;
use estiva_planning::lifecycle::{ContainerState, ContainerStatus, DesiredStatus, TaskState};

use super::table::TaskRow;

/// Since when a task is on its way out: it was told to stop, or an essential container of it has ended.
pub(crate) fn since(task: &TaskRow, definition: Option<&api::TaskDefinition>, state: &TaskState) -> Option<Timestamp> {
    let containers = definition.into_iter().flat_map(|definition| definition.container_definitions.iter().flatten());
    let essential = containers.filter(|container| container.essential != Some(false));
    let told_at = (task.desired_status == DesiredStatus::Stopped).then(|| state.stopping_at.unwrap_or(Timestamp(0)));
    essential.filter_map(|container| ended_at(state, container.name.as_deref()?)).chain(told_at).min()
}

/// When a container ended, as far as the task's timeline tells.
fn ended_at(state: &TaskState, name: &str) -> Option<Timestamp> {
    let has_ended = |it: &ContainerState| it.name == name && it.last_status == ContainerStatus::Stopped;
    let stopped = ContainerStatus::Stopped.as_str();
    let moment = state.timeline.iter().find(|it| it.container.as_deref() == Some(name) && it.status == stopped);
    state.containers.iter().any(has_ended).then(|| moment.map_or(Timestamp(0), |moment| moment.at))
}
