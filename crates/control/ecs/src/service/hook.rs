//! Lifecycle hooks: what holds up a deployment at a stage until somebody continues it, or until a task has done its work.
//!
//! ECS's hooks are PAUSE and functions of AWS Lambda, which there are none of here. Beyond ECS, a hook whose target is a task
//! definition runs a task of it (a migration) and goes by its containers' exit codes; `hookDetails` may hold overrides as
//! RunTask has them.

use std::time::Duration;

use estiva_api_ecs::Error;
use estiva_api_ecs::types as api;
use estiva_model::Ambient;
use estiva_planning::deployment::Stage;
use estiva_planning::lifecycle::StopCode;
use estiva_store::Tx;

use crate::error::invalid;
use crate::task::end::{self, Stop};
use crate::task::table::TaskRow;

const TIMEOUT_DEFAULT: Duration = Duration::from_secs(1440 * 60);
const TIMEOUT_MINUTES_MAX: i32 = 20_160;

/// Why the task of a hook ends with its deployment.
pub(super) const GIVEN_UP: &str = "The deployment of the lifecycle hook was given up.";

/// What a hook waits for.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Target {
    /// ContinueServiceDeployment.
    Pause,
    /// The end of a task: its task definition and overrides.
    Task(String, Box<api::TaskOverride>),
}

/// A hook of a deployment configuration, read.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Hook {
    pub target: Target,
    pub stages: Vec<Stage>,
    pub timeout: Duration,
    /// Whether it lets the deployment go on once the time is over, instead of failing it.
    pub continues_on_timeout: bool,
}

pub(super) fn check(hook: &api::DeploymentLifecycleHook) -> Result<(), Error> {
    read(hook).map(drop)
}

/// Reads a hook.
pub(super) fn read(hook: &api::DeploymentLifecycleHook) -> Result<Hook, Error> {
    let stages: Vec<Stage> =
        hook.lifecycle_stages.iter().flatten().map(|stage| stage_of(*stage)).collect::<Result<_, _>>()?;
    if stages.is_empty() {
        return Err(invalid("lifecycleHooks: at least one lifecycle stage must be given."));
    }
    let target = target(hook)?;
    if target == Target::Pause && stages.contains(&Stage::ProductionTrafficShift) {
        return Err(invalid("lifecycleHooks: PAUSE is not supported at PRODUCTION_TRAFFIC_SHIFT."));
    }
    let timeout = hook.timeout_configuration.as_ref();
    let minutes = timeout.and_then(|it| it.timeout_in_minutes);
    if minutes.is_some_and(|minutes| !(1..=TIMEOUT_MINUTES_MAX).contains(&minutes)) {
        return Err(invalid(format!("timeoutInMinutes: must be from 1 to {TIMEOUT_MINUTES_MAX}.")));
    }
    let seconds = minutes.and_then(|minutes| u64::try_from(minutes).ok()).map(|minutes| minutes * 60);
    Ok(Hook {
        target,
        stages,
        timeout: seconds.map_or(TIMEOUT_DEFAULT, Duration::from_secs),
        continues_on_timeout: timeout.and_then(|it| it.action) == Some(api::DeploymentLifecycleHookAction::Continue),
    })
}

/// Ends the task of a hook that nothing waits for any more.
pub(super) fn stop_task(tx: &mut Tx<'_>, key: &str, reason: &str, ambient: &Ambient) {
    let stop = Stop { code: StopCode::ServiceSchedulerInitiated, reason: reason.to_owned() };
    if let Some(task) = tx.get::<TaskRow>(key) {
        end::request(tx, &task, &stop, ambient.now());
    }
}

fn target(hook: &api::DeploymentLifecycleHook) -> Result<Target, Error> {
    let arn = hook.hook_target_arn.as_deref().unwrap_or_default();
    if hook.target_type == Some(api::DeploymentLifecycleHookTargetType::Pause) {
        return Ok(Target::Pause);
    }
    if !arn.starts_with("arn:") || !arn.contains(":task-definition/") {
        return Err(invalid(
            "lifecycleHooks: Estiva runs no functions of AWS Lambda. Give targetType PAUSE, or the ARN of a task definition as \
            hookTargetArn: a task of it is run, and its exit code decides.",
        ));
    }
    let overrides = match &hook.hook_details {
        None => api::TaskOverride::default(),
        Some(details) => estiva_schema::json::from_value(details).map_err(|error| {
            invalid(format!("lifecycleHooks: hookDetails must hold overrides as RunTask has them: {error}"))
        })?,
    };
    Ok(Target::Task(arn.to_owned(), Box::new(overrides)))
}

fn stage_of(stage: api::DeploymentLifecycleHookStage) -> Result<Stage, Error> {
    use api::DeploymentLifecycleHookStage as Given;
    Ok(match stage {
        Given::ReconcileService => Stage::ReconcileService,
        Given::PreScaleUp => Stage::PreScaleUp,
        Given::PostScaleUp => Stage::PostScaleUp,
        Given::PreProductionTrafficShift => Stage::PreProductionTrafficShift,
        Given::ProductionTrafficShift => Stage::ProductionTrafficShift,
        Given::PostProductionTrafficShift => Stage::PostProductionTrafficShift,
        Given::TestTrafficShift | Given::PostTestTrafficShift => {
            return Err(invalid(format!("lifecycleHooks: stage {} has no meaning for ROLLING.", stage.as_str())));
        }
    })
}
