//! The hooks of a deployment's stage, one after the other.

use estiva_api_ecs::types as api;
use estiva_model::{Ambient, Timestamp};
use estiva_planning::deployment::Gate;
use estiva_planning::lifecycle::{StopCode, TaskState, TaskStatus};
use estiva_planning::placement::Strategies;
use estiva_store::{Row, Snapshot, Tx};

use super::ServiceController;
use super::decision::Decision;
use crate::service::hook::{self, Hook, Target};
use crate::service::revision;
use crate::service::rollout_table::{HookState, HookStatus, ServiceDeploymentRow};
use crate::service::table::ServiceRow;
use crate::task::constraint::Constraints;
use crate::task::placement::{Placeable, Placer};
use crate::task::table::{TaskRow, TaskStatusRow};
use crate::task_definition::table::{TaskDefinitionRow, revision_key};

impl ServiceController {
    /// What the hooks of the present stage say; begins the next of them.
    pub(super) fn gate(&mut self, view: &Snapshot, decision: &mut Decision, now: Timestamp) -> Gate {
        let service = decision.service.key();
        let Some(row) = &mut decision.under_way else { return Gate::Open };
        let configured = row.configuration.lifecycle_hooks.clone().unwrap_or_default();
        for (place, configured) in configured.iter().enumerate() {
            let Ok(hook) = hook::read(configured) else { continue };
            if !hook.stages.contains(&row.stage) {
                continue;
            }
            let now_at = row.stage;
            let Some(begun) = row.hooks.iter().position(|it| it.place == place && it.stage == now_at) else {
                row.hooks.push(begin(&hook, place, row, &self.placer.ambient, now));
                if matches!(hook.target, Target::Task(..)) {
                    decision.hook_starts.push(row.hooks.len() - 1);
                }
                decision.look_again(Some(now.plus(hook.timeout)));
                return Gate::Waiting;
            };
            let state = &mut row.hooks[begun];
            if look(view, state, &hook, now) {
                decision.hook_stops.extend(state.task.clone().map(|task| (task, hook::TIMED_OUT)));
            }
            match state.status {
                HookStatus::Succeeded => {}
                HookStatus::TimedOut if hook.continues_on_timeout => {}
                HookStatus::TimedOut => return Gate::Failed(format!("{} timed out", state.id)),
                HookStatus::Failed => return Gate::Failed(state.reason.clone().unwrap_or_default()),
                HookStatus::AwaitingAction | HookStatus::InProgress => {
                    let expires_at = state.expires_at;
                    if let Some(task) = state.task.clone() {
                        self.watch_hook(view, &task, &service);
                    }
                    decision.look_again(Some(expires_at));
                    return Gate::Waiting;
                }
            }
        }
        Gate::Open
    }
}

fn begin(hook: &Hook, place: usize, row: &ServiceDeploymentRow, ambient: &Ambient, now: Timestamp) -> HookState {
    HookState {
        place,
        stage: row.stage,
        id: revision::opaque(ambient),
        status: if hook.target == Target::Pause { HookStatus::AwaitingAction } else { HookStatus::InProgress },
        expires_at: now.plus(hook.timeout),
        task: None,
        reason: None,
    }
}

/// Takes in what has become of a hook; whether its time has just run out.
fn look(view: &Snapshot, state: &mut HookState, hook: &Hook, now: Timestamp) -> bool {
    if !state.status.is_open() {
        return false;
    }
    if let Some(key) = &state.task {
        match ended(view, key) {
            None => {}
            Some(Ok(())) => state.status = HookStatus::Succeeded,
            Some(Err(reason)) => {
                state.status = HookStatus::Failed;
                state.reason = Some(reason);
            }
        }
    }
    let has_run_out = state.status.is_open() && state.expires_at <= now;
    if has_run_out {
        state.status = HookStatus::TimedOut;
        state.reason = Some(format!("it did not end within {} minutes", hook.timeout.as_secs() / 60));
    }
    has_run_out
}

/// How a hook's task ended: well if every essential container exited with 0.
fn ended(view: &Snapshot, key: &str) -> Option<Result<(), String>> {
    let Some(status) = view.get::<TaskStatusRow>(key) else {
        return Some(Err("its task is gone".to_owned()));
    };
    let task = view.get::<TaskRow>(key)?;
    if status.state.last_status != TaskStatus::Stopped {
        // Of one that is lost nobody knows when it will be seen to have ended.
        let is_lost = task.stop_code == Some(StopCode::InfrastructureHealth);
        return is_lost.then(|| Err(task.stopped_reason.clone().unwrap_or_default()));
    }
    let definition = view.get::<TaskDefinitionRow>(&revision_key(&task.scope, &task.family, task.revision))?;
    Some(judge(&task, &definition.definition, &status.state))
}

fn judge(task: &TaskRow, definition: &api::TaskDefinition, state: &TaskState) -> Result<(), String> {
    let essential = definition.container_definitions.iter().flatten().filter(|it| it.essential.unwrap_or(true));
    for container in essential {
        let found = state.containers.iter().find(|it| container.name.as_ref() == Some(&it.name));
        match found.and_then(|it| it.exit_code) {
            Some(0) => {}
            Some(code) => {
                let name = container.name.as_deref().unwrap_or_default();
                return Err(format!("container {name} of task {} exited with {code}", task.id));
            }
            None => {
                let reason = task.stopped_reason.clone().unwrap_or_default();
                return Err(format!("task {} ended without an exit code: {reason}", task.id));
            }
        }
    }
    Ok(())
}

/// Starts the tasks of hooks that have just begun. One that cannot be started has failed.
pub(super) fn start_tasks(
    tx: &mut Tx<'_>,
    service: &ServiceRow,
    row: &mut ServiceDeploymentRow,
    begun: &[usize],
    placer: &Placer,
) {
    for place in begun {
        let configured = row.hooks.get(*place).map(|state| state.place);
        let configured = configured.and_then(|it| row.configuration.lifecycle_hooks.as_ref()?.get(it));
        let Some(Ok(Hook { target: Target::Task(definition, overrides), .. })) = configured.map(hook::read) else {
            continue;
        };
        let started = start_task(tx, service, &row.id, &definition, &overrides, placer);
        let Some(state) = row.hooks.get_mut(*place) else { continue };
        match started {
            Ok(task) => state.task = Some(task),
            Err(reason) => {
                state.status = HookStatus::Failed;
                state.reason = Some(reason);
            }
        }
    }
}

fn start_task(
    tx: &mut Tx<'_>,
    service: &ServiceRow,
    deployment: &str,
    definition: &str,
    overrides: &api::TaskOverride,
    placer: &Placer,
) -> Result<String, String> {
    let launch = hook::launch(tx, service, deployment, definition, overrides);
    let launch = launch.map_err(|error| error.to_string())?;
    if launch.allowed(tx) == Some(0) {
        return Err(format!("as many tasks of group {} run as may", launch.group));
    }
    let constraints = Constraints::parse(None, launch.defined_constraints()).map_err(|error| error.to_string())?;
    let what = Placeable { launch: &launch, constraints: &constraints, strategies: &Strategies::default() };
    let made = placer.make(tx, &what, 1);
    let made = made.ok_or("there is no container instance for its task")?;
    let task = made.tasks.first().ok_or_else(|| {
        let reasons: Vec<&str> = made.lacking.iter().map(|(_, lack)| lack.reason()).collect();
        format!("no container instance has room for its task: {}", reasons.join(", "))
    })?;
    Ok(task.key())
}
