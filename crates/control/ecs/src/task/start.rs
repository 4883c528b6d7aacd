//! StartTask.

use std::sync::Arc;

use estiva_api_ecs::Error;
use estiva_api_ecs::types as api;
use estiva_planning::placement::Lack;
use estiva_schema::Request;

use super::launch::{Launch, TOO_MANY, Wishes};
use super::placement;
use super::run::shown;
use crate::EcsService;
use crate::container_instance::table::{ContainerInstanceRow, EXTERNAL_ATTRIBUTE};
use crate::error::{self, invalid};
use crate::failure::{failure, missing};
use crate::scope::Scope;
use crate::{cluster, container_instance, task_definition};

/// StartTask takes so many instances at a time.
const INSTANCES_MAX: usize = 10;

/// Makes a task on each of the instances that the caller names.
pub(crate) async fn start(
    service: &EcsService,
    request: Request<api::StartTaskRequest>,
) -> Result<api::StartTaskResponse, Error> {
    let Request { input, caller, .. } = request;
    let scope = Scope::of(&caller);
    match input.container_instances.len() {
        0 => return Err(invalid("Container instances cannot be empty.")),
        count if count > INSTANCES_MAX => {
            return Err(invalid(format!("Container instances cannot have more than {INSTANCES_MAX} elements.")));
        }
        _ => {}
    }
    let unsupported = [("volumeConfigurations", input.volume_configurations.iter().flatten().next().is_some())];
    if let Some((field, _)) = unsupported.iter().find(|(_, given)| *given) {
        return Err(invalid(format!("{field}: Estiva does not support it yet")));
    }
    let update = service.store.update(|tx| {
        let cluster = cluster::active(tx, &scope, input.cluster.as_deref())?;
        let definition = task_definition::reference::active(tx, &scope, &input.task_definition)?;
        // An instance that is the owner's own machine takes tasks of launch type EXTERNAL.
        let launch_on = |row: &ContainerInstanceRow| {
            let is_external = row.attribute(EXTERNAL_ATTRIBUTE).is_some();
            let launch_type = if is_external { api::LaunchType::External } else { api::LaunchType::Ec2 };
            Launch::new(scope.clone(), cluster.name.clone(), Arc::clone(&definition), wishes(&input, launch_type))
        };
        let (mut tasks, mut failures) = (Vec::new(), Vec::new());
        for reference in &input.container_instances {
            let Some(row) = container_instance::find(tx, &scope, &cluster.name, reference)? else {
                let id = scope.name_in("container-instance", reference).unwrap_or(reference);
                let arn = scope.arn(format!("container-instance/{}/{id}", cluster.name));
                failures.push(missing(arn));
                continue;
            };
            let launch = launch_on(&row)?;
            if let Some(lack) = placement::refusal(tx, &launch, Arc::clone(&row)) {
                failures.push(failure(row.arn(), lack.reason()));
            } else if launch.allowed(tx) == Some(0) {
                failures.push(failure(row.arn(), TOO_MANY));
            } else {
                match launch.put(tx, &row, &service.ambient) {
                    Some(task) => tasks.push(task),
                    None => failures.push(failure(row.arn(), Lack::NetworkInterface.reason())),
                }
            }
        }
        Ok::<_, Error>((tasks, failures))
    });
    let (tasks, failures) = update.await.map_err(error::update)?;
    Ok(api::StartTaskResponse { tasks: Some(shown(&service.store.view(), &tasks)), failures: Some(failures) })
}

fn wishes(input: &api::StartTaskRequest, launch_type: api::LaunchType) -> Wishes {
    Wishes {
        launch_type: Some(launch_type),
        overrides: input.overrides.clone(),
        network: input.network_configuration.clone(),
        group: input.group.clone(),
        started_by: input.started_by.clone(),
        tags: input.tags.clone(),
        propagate_tags: input.propagate_tags,
        enable_execute_command: input.enable_execute_command.unwrap_or(false),
        enable_managed_tags: input.enable_ecs_managed_tags.unwrap_or(false),
        ..Wishes::default()
    }
}
