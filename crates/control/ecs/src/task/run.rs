//! RunTask.

use std::sync::Arc;

use estiva_api_ecs::Error;
use estiva_api_ecs::types as api;
use estiva_schema::Request;
use estiva_store::Snapshot;

use super::capacity::{self, Part};
use super::client_token::ClientToken;
use super::constraint::Constraints;
use super::describe::to_api;
use super::launch::{Launch, TOO_MANY, Wishes};
use super::placement::{self, Placeable};
use super::strategy;
use super::table::{KeptFailure, TaskRow};
use crate::EcsService;
use crate::cluster;
use crate::error::{self, invalid};
use crate::failure::failure;
use crate::scope::Scope;
use crate::task_definition;

/// RunTask makes so many at a time.
const COUNT_MAX: i32 = 10;

/// Makes tasks where there is room for them. That there is none is no error: the answer says why, instance by instance.
pub(crate) async fn run(
    service: &EcsService,
    request: Request<api::RunTaskRequest>,
) -> Result<api::RunTaskResponse, Error> {
    let Request { input, caller, .. } = request;
    let scope = Scope::of(&caller);
    check_supported(&input)?;
    let strategies = strategy::parse(input.placement_strategy.as_deref())?;
    let count = input.count.unwrap_or(1);
    if !(1..=COUNT_MAX).contains(&count) {
        return Err(invalid(format!("Count must be between 1 and {COUNT_MAX}.")));
    }
    let count = usize::try_from(count).unwrap_or(1);
    let token = ClientToken::of(&scope, &input, service.ambient.now())?;
    let update = service.store.update(|tx| {
        let cluster = cluster::active(tx, &scope, input.cluster.as_deref())?;
        if let Some(former) = token.as_ref().map(|token| token.former(tx)).transpose()?.flatten() {
            let tasks: Vec<_> = former.tasks.iter().filter_map(|key| tx.get::<TaskRow>(key)).collect();
            return Ok((tasks, former.failures.iter().map(KeptFailure::to_api).collect()));
        }
        let definition = task_definition::reference::active(tx, &scope, &input.task_definition)?;
        let defined = definition.definition.placement_constraints.as_deref();
        let constraints = Constraints::parse(input.placement_constraints.as_deref(), defined)?;
        let strategy = input.capacity_provider_strategy.as_deref();
        let (mut tasks, mut failures) = (Vec::new(), Vec::new());
        for part in capacity::parts(&cluster, input.launch_type, strategy, count)? {
            check_fargate(&input, &part)?;
            let wishes = wishes(&input, &part);
            let launch = Launch::new(scope.clone(), cluster.name.clone(), Arc::clone(&definition), wishes)?;
            let allowed = launch.allowed(tx).map_or(part.count, |allowed| allowed.min(part.count));
            failures.extend((allowed..part.count).map(|_| failure(definition.arn(), TOO_MANY)));
            if allowed == 0 {
                continue;
            }
            let what = Placeable { launch: &launch, constraints: &constraints, strategies: &strategies };
            let made = service.placer.make(tx, &what, allowed);
            let made = made.ok_or_else(|| nowhere(&launch))?;
            failures.extend(placement::failures(&launch, &made.lacking));
            tasks.extend(made.tasks);
        }
        // What nothing came of may be tried again.
        if let Some(token) = token.filter(|_| !tasks.is_empty()) {
            tx.put(token.into_row(&tasks, &failures));
        }
        Ok::<_, Error>((tasks, failures))
    });
    let (tasks, failures) = update.await.map_err(error::update)?;
    Ok(api::RunTaskResponse { tasks: Some(shown(&service.store.view(), &tasks)), failures: Some(failures) })
}

/// Tasks that were just made, as ECS shows them; a task is shown with its tags then.
pub(super) fn shown(view: &Snapshot, tasks: &[Arc<TaskRow>]) -> Vec<api::Task> {
    tasks.iter().map(|task| to_api(view, task, true)).collect()
}

fn wishes(input: &api::RunTaskRequest, part: &Part) -> Wishes {
    Wishes {
        launch_type: Some(part.launch_type),
        capacity_provider: part.capacity_provider.clone(),
        overrides: input.overrides.clone(),
        network: input.network_configuration.clone(),
        group: input.group.clone(),
        started_by: input.started_by.clone(),
        tags: input.tags.clone(),
        propagate_tags: input.propagate_tags,
        enable_execute_command: input.enable_execute_command.unwrap_or(false),
        enable_managed_tags: input.enable_ecs_managed_tags.unwrap_or(false),
        service: None,
        is_of_hook: false,
    }
}

fn nowhere(launch: &Launch) -> Error {
    if launch.is_fargate() {
        return invalid("No Container Instances that offer Fargate capacity were found.");
    }
    invalid("No Container Instances were found in your cluster.")
}

/// Fargate chooses for itself, and has versions of its own.
fn check_fargate(input: &api::RunTaskRequest, part: &Part) -> Result<(), Error> {
    let is_given =
        |count: Option<usize>| part.launch_type == api::LaunchType::Fargate && count.is_some_and(|it| it > 0);
    if part.launch_type != api::LaunchType::Fargate && input.platform_version.as_ref().is_some_and(|it| !it.is_empty())
    {
        return Err(invalid("The platform version must be null when specifying an EC2 launch type."));
    }
    if is_given(input.placement_constraints.as_ref().map(Vec::len)) {
        return Err(invalid("Placement constraints are not supported with FARGATE launch type."));
    }
    if is_given(input.placement_strategy.as_ref().map(Vec::len)) {
        return Err(invalid("Placement strategies are not supported with FARGATE launch type."));
    }
    Ok(())
}

/// What would change where or how tasks run must not be passed over in silence.
fn check_supported(input: &api::RunTaskRequest) -> Result<(), Error> {
    let unsupported = [("volumeConfigurations", input.volume_configurations.iter().flatten().next().is_some())];
    if let Some((field, _)) = unsupported.iter().find(|(_, given)| *given) {
        return Err(invalid(format!("{field}: Estiva does not support it yet")));
    }
    Ok(())
}
