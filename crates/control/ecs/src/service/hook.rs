//! Lifecycle hooks: what holds up a deployment at a stage until somebody continues it, or until a task has done its work.
//!
//! ECS's hooks are PAUSE and functions of AWS Lambda, which there are none of here. Beyond ECS, a hook whose target is a task
//! definition runs a task of it (a migration) and goes by its containers' exit codes; `hookDetails` may hold overrides as
//! RunTask has them.

use std::time::Duration;

use estiva_api_ecs::Error;
use estiva_api_ecs::types as api;
use estiva_model::Timestamp;
use estiva_planning::deployment::Stage;
use estiva_planning::lifecycle::StopCode;
use estiva_store::{Snapshot, Tx};

use super::table::ServiceRow;
use crate::error::{self, invalid};
use crate::task::end::{self, Stop};
use crate::task::launch::{GROUP_CHARS_MAX, Launch, Wishes};
use crate::task::table::TaskRow;
use crate::task_definition;

const TIMEOUT_DEFAULT: Duration = Duration::from_secs(1440 * 60);
const TIMEOUT_MINUTES_MAX: i32 = 20_160;

/// Why a hook's task is ended.
pub(super) const TIMED_OUT: &str = "The time of the lifecycle hook has run out.";
/// Why a hook's task is ended.
pub(super) const DEPLOYMENT_ENDED: &str = "The deployment of the lifecycle hook has ended.";

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

/// Checks that the tasks of the service's hooks could be launched now: what RunTask would refuse each time is refused at once.
pub(super) fn check_runnable(view: &Snapshot, service: &ServiceRow) -> Result<(), Error> {
    let configuration = service.settings.deployment_configuration.as_ref();
    let hooks = configuration.and_then(|it| it.lifecycle_hooks.as_deref()).unwrap_or_default();
    for (place, hook) in hooks.iter().enumerate() {
        let Target::Task(definition, overrides) = target(hook)? else { continue };
        let of = |field: &str, error| error::within(&format!("lifecycleHooks[{place}].{field}"), error);
        let launched = |overrides: &api::TaskOverride| launch(view, service, "ecs-svc/0", &definition, overrides);
        // What is wrong without the overrides is not the overrides' fault.
        let none = api::TaskOverride::default();
        launched(&none).map_err(|error| of("hookTargetArn", error))?;
        launched(&overrides).map_err(|error| of("hookDetails", error))?;
    }
    Ok(())
}

/// The task of a hook of one of the service's deployments, checked.
pub(super) fn launch(
    view: &Snapshot,
    service: &ServiceRow,
    deployment: &str,
    definition: &str,
    overrides: &api::TaskOverride,
) -> Result<Launch, Error> {
    let definition = task_definition::reference::active(view, &service.scope, definition)?;
    let is_awsvpc = definition.definition.network_mode == Some(api::NetworkMode::Awsvpc);
    let wishes = Wishes {
        launch_type: Some(service.launch_type()),
        overrides: Some(overrides.clone()),
        network: service.settings.network_configuration.clone().filter(|_| is_awsvpc),
        started_by: Some(deployment.to_owned()),
        group: Some(group(&service.name)),
        is_of_hook: true,
        enable_execute_command: service.settings.enable_execute_command.unwrap_or(false),
        ..Wishes::default()
    };
    Launch::new(service.scope.clone(), service.cluster.clone(), definition, wishes)
}

/// The group of the tasks of a service's hooks. The longest names of services are cut off.
fn group(service: &str) -> String {
    format!("hook:{service}").chars().take(GROUP_CHARS_MAX).collect()
}

/// Ends the tasks of hooks.
pub(super) fn end_tasks(tx: &mut Tx<'_>, tasks: &[String], why: &str, now: Timestamp) {
    for key in tasks {
        if let Some(task) = tx.get::<TaskRow>(key) {
            let stop = Stop { code: StopCode::ServiceSchedulerInitiated, reason: why.to_owned() };
            end::request(tx, &task, &stop, now);
        }
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
