//! Lifecycle hooks: no deployment passes a stage before its hooks let it, none of them is decided by anything but its task, its
//! owner or its time, and nothing of a deployment starts before it scales up.

use std::collections::BTreeSet;
use std::time::Duration;

use estiva_api_ecs::types as api;
use estiva_ecs::service::rollout_table::{HookState, HookStatus, ServiceDeploymentRow, ServiceDeploymentStatus};
use estiva_planning::deployment::Stage;
use estiva_planning::lifecycle::TaskStatus;

use super::Audit;
use super::doings::Doings;

/// What is known of hooks beside the rows.
#[derive(Default)]
pub struct Hooks {
    /// The ids of those that the owner has answered, or tried to.
    pub answered: BTreeSet<String>,
}

/// By how much the end of a hook's time may be off: what a decision takes until it is written.
const EXPIRY_SLACK: Duration = Duration::from_secs(1);

/// Whether the deployments that a transaction changes heed their hooks.
pub(super) fn check(books: &Audit, doings: &Doings) -> Vec<String> {
    let mut wrong = Vec::new();
    for (before, after) in &doings.deployments {
        let former = before.as_ref().map(|row| row.hooks.as_slice()).unwrap_or_default();
        let why = after.hooks.iter().find_map(|hook| {
            let is_new = former.iter().all(|it| it.id != hook.id || it.status != hook.status);
            is_new.then(|| misjudged(books, after, hook)).flatten()
        });
        let why = why.or_else(|| not_held_up(before.as_ref().map_or(Stage::ReconcileService, |it| it.stage), after));
        wrong.extend(why.map(|why| format!("service deployment {}: {why}", after.id)));
    }
    wrong.extend(doings.started.iter().filter_map(|task| early(books, task.deployment.as_deref()?)));
    wrong
}

/// A hook of a stage that the deployment has passed, and which did not let it.
fn not_held_up(from: Stage, row: &ServiceDeploymentRow) -> Option<String> {
    let is_over = row.status == ServiceDeploymentStatus::Successful;
    let has_passed = |stage: Stage| from <= stage && (stage < row.stage || is_over);
    for (place, hook) in row.configuration.lifecycle_hooks.iter().flatten().enumerate() {
        for stage in
            hook.lifecycle_stages.iter().flatten().copied().filter_map(stage_of).filter(|stage| has_passed(*stage))
        {
            let state = row.hooks.iter().find(|state| state.place == place && state.stage == stage);
            let status = state.map(|state| state.status);
            let lets_pass =
                status == Some(HookStatus::Succeeded) || status == Some(HookStatus::TimedOut) && goes_on(hook);
            if !lets_pass {
                return Some(format!("it passes {}, where hook {place} is {status:?}", stage.as_str()));
            }
        }
    }
    None
}

fn stage_of(stage: api::DeploymentLifecycleHookStage) -> Option<Stage> {
    estiva_planning::deployment::STAGES.into_iter().find(|it| it.as_str() == stage.as_str())
}

fn goes_on(hook: &api::DeploymentLifecycleHook) -> bool {
    let action = hook.timeout_configuration.as_ref().and_then(|timeout| timeout.action);
    action == Some(api::DeploymentLifecycleHookAction::Continue)
}

/// Why a hook should not stand as it now does.
fn misjudged(books: &Audit, row: &ServiceDeploymentRow, hook: &HookState) -> Option<String> {
    let given = row.configuration.lifecycle_hooks.as_ref()?.get(hook.place)?;
    if hook.status == HookStatus::Failed && row.status != ServiceDeploymentStatus::InProgress {
        // Whatever it was waiting for: its deployment is given up.
        return None;
    }
    let now = books.world.clock.true_now();
    let why = match (hook.status, &hook.task) {
        (HookStatus::Succeeded, Some(task)) => (!ended_well(books, task)).then_some("its task did not end well"),
        (HookStatus::Failed, Some(task)) => ended_well(books, task).then_some("its task ended well"),
        (HookStatus::Succeeded | HookStatus::Failed, None) => {
            let is_pause = given.target_type == Some(api::DeploymentLifecycleHookTargetType::Pause);
            (is_pause && !books.hooks.answered.contains(&hook.id)).then_some("nobody answered")
        }
        (HookStatus::TimedOut, _) => (hook.expires_at > now).then_some("it has time left"),
        (HookStatus::AwaitingAction | HookStatus::InProgress, _) => {
            let minutes = given.timeout_configuration.as_ref().and_then(|timeout| timeout.timeout_in_minutes)?;
            let lasting = Duration::from_secs(u64::try_from(minutes).unwrap_or(0) * 60);
            let (early, late) = (now.plus(lasting.saturating_sub(EXPIRY_SLACK)), now.plus(lasting + EXPIRY_SLACK));
            (!(early..=late).contains(&hook.expires_at)).then_some("it expires at another time than it should")
        }
    }?;
    Some(format!("hook {} is {:?}, but {why}", hook.id, hook.status))
}

fn ended_well(books: &Audit, task: &str) -> bool {
    let Some(status) = books.statuses.get(task) else { return false };
    let exited = status.state.containers.iter().all(|container| container.exit_code == Some(0));
    status.state.last_status == TaskStatus::Stopped && exited
}

/// A task of a deployment that has not come to scale up.
fn early(books: &Audit, deployment: &str) -> Option<String> {
    let rows = books.services.deployments.values();
    let row = rows
        .into_iter()
        .find(|row| row.deployment == deployment && row.status == ServiceDeploymentStatus::InProgress)?;
    (row.stage < Stage::ScaleUp).then(|| format!("a task of {deployment} is started at {}", row.stage.as_str()))
}
