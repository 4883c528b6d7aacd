//! UpdateService.

use std::sync::Arc;

use estiva_api_ecs::Error;
use estiva_api_ecs::types as api;
use estiva_schema::Request;
use estiva_store::{Row, Tx};

use super::describe::to_api;
use super::revision::find_revision;
use super::rollout_table::RolloutRow;
use super::table::{ServiceRevisionRow, ServiceRow};
use super::{check, create, deployment, hook, network, reference};
use crate::EcsService;
use crate::error::{self, invalid};
use crate::scope::Scope;
use crate::task::strategy;
use crate::{capacity_provider, cluster, task_definition};

pub(crate) async fn update(
    service: &EcsService,
    request: Request<api::UpdateServiceRequest>,
) -> Result<api::UpdateServiceResponse, Error> {
    let Request { mut input, caller, .. } = request;
    let scope = Scope::of(&caller);
    input.platform_version = input.platform_version.filter(|version| !version.is_empty());
    check::supported!(input)?;
    check::percents(input.deployment_configuration.as_ref())?;
    check::unsupported(&[("deploymentController", input.deployment_controller.is_some())])?;
    let update = service.store.update(|tx| {
        let cluster = cluster::active(tx, &scope, input.cluster.as_deref())?;
        let found = reference::active(tx, &scope, &cluster.name, &input.service)?;
        let mut before = deployed(tx, &found);
        // Of what was made before its defaults were filled in.
        before.settings.network_configuration = network::filled_in(before.settings.network_configuration.as_ref());
        let mut row = before.clone();
        apply(&mut row, &input)?;
        if let Some(strategy) = input.capacity_provider_strategy.as_deref() {
            row.capacity_provider_strategy = if strategy.is_empty() {
                cluster.default_strategy.clone()
            } else {
                capacity_provider::check_strategy(&scope, strategy, &cluster.capacity_providers)?
            };
            capacity_provider::check_runnable(&row.capacity_provider_strategy)?;
            let is_launch_type = row.capacity_provider_strategy.is_empty();
            row.settings.launch_type = is_launch_type.then_some(row.settings.launch_type).flatten();
        }
        check::service(&row)?;
        if row.is_external {
            check_external(&input)?;
            return Ok::<_, Error>(tx.put(row));
        }
        let text = match &input.task_definition {
            Some(text) => text.clone(),
            None => current(tx, &row)?,
        };
        let definition = task_definition::reference::find(tx, &scope, &text)?;
        let definition = definition.ok_or_else(|| Error::client_exception("TaskDefinition not found."))?;
        if input.task_definition.is_some() {
            task_definition::reference::active(tx, &scope, &text)?;
        }
        create::check_runnable(&row, &definition)?;
        let is_other = current(tx, &row)? != format!("{}:{}", definition.family, definition.revision)
            || row.settings.network_configuration != before.settings.network_configuration
            || row.capacity_provider_strategy != before.capacity_provider_strategy
            || row.settings.platform_version != before.settings.platform_version;
        let is_deployed = is_other || input.force_new_deployment == Some(true);
        // What no deployment begins with may wait: a definition that is gone must not keep anybody from scaling.
        if is_deployed || names_hooks(&input) {
            hook::check_runnable(tx, &row)?;
        }
        let row = tx.put(row);
        if is_deployed {
            deployment::begin(tx, &row, &definition, &service.ambient);
        } else {
            deployment::forget_waits(tx, &row);
        }
        Ok(row)
    });
    let row = update.await.map_err(error::update)?;
    Ok(api::UpdateServiceResponse { service: Some(to_api(&service.store.view(), &row, true)) })
}

fn names_hooks(input: &api::UpdateServiceRequest) -> bool {
    input.deployment_configuration.as_ref().is_some_and(|it| it.lifecycle_hooks.is_some())
}

/// The service as its PRIMARY deployment has it: what an update starts from.
fn deployed(tx: &Tx<'_>, row: &ServiceRow) -> ServiceRow {
    let revision = primary(tx, row).filter(|_| !row.is_external);
    revision.map_or_else(|| row.clone(), |revision| row.as_of(&revision))
}

/// `family:revision` of what the service is to run.
fn current(tx: &Tx<'_>, row: &ServiceRow) -> Result<String, Error> {
    let revision = primary(tx, row).ok_or_else(|| Error::server_exception("The service's revision is missing."))?;
    Ok(format!("{}:{}", revision.family, revision.revision))
}

/// The revision of the PRIMARY deployment.
fn primary(tx: &Tx<'_>, row: &ServiceRow) -> Option<Arc<ServiceRevisionRow>> {
    let rollout = tx.get::<RolloutRow>(&row.key())?;
    find_revision(tx, row, &rollout.primary()?.revision)
}

fn apply(row: &mut ServiceRow, input: &api::UpdateServiceRequest) -> Result<(), Error> {
    if let Some(count) = input.desired_count {
        if row.is_daemon {
            return Err(invalid(check::NO_DESIRED_COUNT));
        }
        row.desired_count = check::desired_count(count)?;
    }
    let settings = &mut row.settings;
    if let Some(given) = &input.deployment_configuration {
        merge(settings.deployment_configuration.get_or_insert_default(), given);
    }
    macro_rules! take {
        ($($field:ident)*) => {
            $(if input.$field.is_some() {
                settings.$field.clone_from(&input.$field);
            })*
        };
    }
    take!(
        availability_zone_rebalancing enable_ecs_managed_tags enable_execute_command health_check_grace_period_seconds
        placement_constraints platform_version propagate_tags
    );
    if let Some(configuration) = network::filled_in(input.network_configuration.as_ref()) {
        settings.network_configuration = Some(configuration);
    }
    if let Some(strategies) = input.placement_strategy.as_deref() {
        settings.placement_strategy = Some(strategy::shown(Some(strategies)));
    }
    Ok(())
}

/// What an update does not name stays as it was.
fn merge(kept: &mut api::DeploymentConfiguration, given: &api::DeploymentConfiguration) {
    macro_rules! take {
        ($($field:ident)*) => {
            $(if given.$field.is_some() {
                kept.$field.clone_from(&given.$field);
            })*
        };
    }
    take!(
        alarms bake_time_in_minutes canary_configuration deployment_circuit_breaker early_success_criteria lifecycle_hooks
        linear_configuration maximum_percent minimum_healthy_percent strategy
    );
}

/// Of a service with the EXTERNAL controller only the count and the grace period can be changed.
fn check_external(input: &api::UpdateServiceRequest) -> Result<(), Error> {
    let fields = [
        ("taskDefinition", input.task_definition.is_some()),
        ("networkConfiguration", input.network_configuration.is_some()),
        ("capacityProviderStrategy", input.capacity_provider_strategy.is_some()),
        ("forceNewDeployment", input.force_new_deployment == Some(true)),
    ];
    match fields.iter().find(|(_, given)| *given) {
        Some((field, _)) => {
            Err(invalid(format!("{field} cannot be updated on services with an EXTERNAL deployment controller.")))
        }
        None => Ok(()),
    }
}
