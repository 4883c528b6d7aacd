//! CreateService.

use std::sync::Arc;

use estiva_api_ecs::Error;
use estiva_api_ecs::types as api;
use estiva_schema::Request;
use estiva_store::{Row, Snapshot};

use super::describe::to_api;
use super::table::{BY_CLUSTER_STATUS, ServiceRow, ServiceStatus};
use super::{check, deployment, hook, network};
use crate::EcsService;
use crate::cluster::table::ClusterRow;
use crate::error::{self, invalid};
use crate::scope::Scope;
use crate::tag::Tags;
use crate::task::strategy;
use crate::task_definition::table::TaskDefinitionRow;
use crate::{capacity_provider, cluster, idempotency, name, task_definition};

/// Services of a cluster (Amazon ECS service quotas).
const SERVICES_MAX: usize = 5000;
/// Characters of a token (Amazon ECS API Reference, CreateService, CreateTaskSet).
pub(super) const TOKEN_CHARS_MAX: usize = 36;

pub(super) const BOTH_LAUNCH_TYPE_AND_STRATEGY: &str =
    "Specifying both a launch type and capacity provider strategy is not supported. Remove one and try again.";

pub(crate) async fn create(
    service: &EcsService,
    request: Request<api::CreateServiceRequest>,
) -> Result<api::CreateServiceResponse, Error> {
    let Request { mut input, caller, .. } = request;
    let scope = Scope::of(&caller);
    if !name::is_legal(&input.service_name) {
        return Err(invalid(name::mismatch("ServiceName", &input.service_name)));
    }
    input.client_token = idempotency::token(input.client_token.as_ref());
    input.platform_version = input.platform_version.filter(|version| !version.is_empty());
    check::supported!(input)?;
    check::percents(input.deployment_configuration.as_ref())?;
    if let Some(token) = &input.client_token {
        idempotency::check_token(token, TOKEN_CHARS_MAX)?;
    }
    let ambient = &service.ambient;
    let update = service.store.update(|tx| {
        let cluster = cluster::active(tx, &scope, input.cluster.as_deref())?;
        let mut row = wanted(&scope, &cluster, &input)?;
        row.created_at = ambient.now();
        row.created_by = caller.arn();
        if let Some(known) = known(tx, &row)? {
            return Ok::<_, Error>(known);
        }
        if row.is_external {
            row.settings.task_sets = Some(Vec::new());
            deployment::forget(tx, &row);
            return Ok(tx.put(row));
        }
        let text = input.task_definition.as_deref().filter(|text| !text.is_empty());
        let text = text.ok_or_else(|| invalid("TaskDefinition can not be blank."))?;
        let definition = task_definition::reference::active(tx, &scope, text)?;
        check_runnable(&row, &definition)?;
        hook::check_runnable(tx, &row)?;
        deployment::forget(tx, &row);
        let row = tx.put(row);
        deployment::begin(tx, &row, &definition, ambient);
        Ok(row)
    });
    let row = update.await.map_err(error::update)?;
    Ok(api::CreateServiceResponse { service: Some(to_api(&service.store.view(), &row, true)) })
}

/// The service that the request means, with ECS's defaults.
fn wanted(scope: &Scope, cluster: &ClusterRow, input: &api::CreateServiceRequest) -> Result<ServiceRow, Error> {
    let is_daemon = input.scheduling_strategy == Some(api::SchedulingStrategy::Daemon);
    let controller = input.deployment_controller.as_ref().map_or(api::DeploymentControllerType::Ecs, |it| it.r#type);
    if controller == api::DeploymentControllerType::CodeDeploy {
        return Err(invalid("deploymentController: Estiva does not support CODE_DEPLOY yet"));
    }
    let is_external = controller == api::DeploymentControllerType::External;
    if is_external {
        check_external(input)?;
    }
    let desired_count = match input.desired_count {
        Some(_) if is_daemon => {
            return Err(invalid(check::NO_DESIRED_COUNT));
        }
        None if is_daemon => 0,
        None if !is_external => {
            return Err(invalid("desiredCount: must be given for the REPLICA scheduling strategy."));
        }
        count => check::desired_count(count.unwrap_or(0))?,
    };
    let strategy = if is_external { Vec::new() } else { capacity(scope, cluster, input)? };
    let launch_type =
        input.launch_type.or(strategy.is_empty().then_some(api::LaunchType::Ec2)).filter(|_| !is_external);
    let mut row = ServiceRow {
        scope: scope.clone(),
        cluster: cluster.name.clone(),
        name: input.service_name.clone(),
        status: ServiceStatus::Active,
        desired_count,
        is_daemon,
        is_external,
        settings: settings(input, launch_type, controller),
        capacity_provider_strategy: strategy,
        tags: Tags::from_request(input.tags.clone())?,
        client_token: input.client_token.clone(),
        request_digest: input.client_token.as_ref().map(|_| idempotency::digest(input)),
        ..ServiceRow::blank(scope)
    };
    fill_in(&mut row);
    check::service(&row)?;
    Ok(row)
}

fn capacity(
    scope: &Scope,
    cluster: &ClusterRow,
    input: &api::CreateServiceRequest,
) -> Result<Vec<capacity_provider::StrategyItem>, Error> {
    let asked = input.capacity_provider_strategy.as_deref().unwrap_or_default();
    let strategy = match input.launch_type {
        Some(_) if !asked.is_empty() => {
            return Err(invalid(BOTH_LAUNCH_TYPE_AND_STRATEGY));
        }
        Some(_) => Vec::new(),
        None if asked.is_empty() => cluster.default_strategy.clone(),
        None => capacity_provider::check_strategy(scope, asked, &cluster.capacity_providers)?,
    };
    capacity_provider::check_runnable(&strategy)?;
    Ok(strategy)
}

fn settings(
    input: &api::CreateServiceRequest,
    launch_type: Option<api::LaunchType>,
    controller: api::DeploymentControllerType,
) -> api::Service {
    api::Service {
        availability_zone_rebalancing: input.availability_zone_rebalancing,
        deployment_configuration: Some(input.deployment_configuration.clone().unwrap_or_default()),
        deployment_controller: Some(api::DeploymentController { r#type: controller }),
        enable_ecs_managed_tags: Some(input.enable_ecs_managed_tags.unwrap_or(false)),
        enable_execute_command: Some(input.enable_execute_command.unwrap_or(false)),
        health_check_grace_period_seconds: input.health_check_grace_period_seconds,
        launch_type,
        network_configuration: network::filled_in(input.network_configuration.as_ref()),
        placement_constraints: Some(input.placement_constraints.clone().unwrap_or_default()),
        placement_strategy: Some(strategy::shown(input.placement_strategy.as_deref())),
        platform_version: input.platform_version.clone(),
        propagate_tags: input.propagate_tags.or(Some(api::PropagateTags::None)),
        scheduling_strategy: input.scheduling_strategy.or(Some(api::SchedulingStrategy::Replica)),
        ..api::Service::default()
    }
}

/// Defaults that depend on each other.
pub(super) fn fill_in(row: &mut ServiceRow) {
    let (minimum, maximum) = row.percents();
    let percent = |percent: usize| i32::try_from(percent).ok();
    if row.launch_type() == api::LaunchType::Fargate {
        row.settings.platform_version.get_or_insert_with(|| "LATEST".to_owned());
        row.settings.platform_family = Some("Linux".to_owned());
    }
    let rebalancing = match super::check::no_rebalancing(row) {
        None => api::AvailabilityZoneRebalancing::Enabled,
        Some(_) => api::AvailabilityZoneRebalancing::Disabled,
    };
    row.settings.availability_zone_rebalancing.get_or_insert(rebalancing);
    if row.is_external {
        return;
    }
    let configuration = row.settings.deployment_configuration.get_or_insert_default();
    configuration.minimum_healthy_percent = configuration.minimum_healthy_percent.or(percent(minimum));
    configuration.maximum_percent = configuration.maximum_percent.or(percent(maximum));
    configuration.strategy.get_or_insert(api::DeploymentStrategy::Rolling);
    configuration.deployment_circuit_breaker.get_or_insert_default();
    configuration.bake_time_in_minutes.get_or_insert(0);
}

/// A former service of that name may be in the way, or be what a repeated call asks for.
fn known(view: &Snapshot, row: &ServiceRow) -> Result<Option<Arc<ServiceRow>>, Error> {
    let count = view.index_count::<ServiceRow>(BY_CLUSTER_STATUS, &row.scope.key(&[&row.cluster, "ACTIVE"]));
    match view.get::<ServiceRow>(&row.key()) {
        Some(known) if known.status == ServiceStatus::Active => {
            let is_same = known.request_digest.is_none() || row.request_digest == known.request_digest;
            if row.client_token.is_some() && row.client_token == known.client_token && is_same {
                return Ok(Some(known));
            }
            Err(invalid("Creation of service was not idempotent."))
        }
        Some(known) if known.status == ServiceStatus::Draining => {
            Err(invalid("Unable to Start a service that is still Draining."))
        }
        _ if count >= SERVICES_MAX => {
            Err(Error::invalid_parameter_exception(format!("A cluster can have at most {SERVICES_MAX} services.")))
        }
        _ => Ok(None),
    }
}

/// A service whose tasks would be refused each time is refused at once.
pub(super) fn check_runnable(row: &ServiceRow, definition: &Arc<TaskDefinitionRow>) -> Result<(), Error> {
    super::controller::launch(row, definition, None, "ecs-svc/0", row.launch_type()).map(drop)
}

/// What each task set of a service with the EXTERNAL controller says for itself.
fn check_external(input: &api::CreateServiceRequest) -> Result<(), Error> {
    if input.task_definition.as_ref().is_some_and(|text| !text.is_empty()) {
        return Err(invalid("TaskDefinition must be blank"));
    }
    let fields = [
        ("launchType", input.launch_type.is_some()),
        ("capacityProviderStrategy", check::given(input.capacity_provider_strategy.as_ref())),
        ("platformVersion", input.platform_version.is_some()),
        ("networkConfiguration", input.network_configuration.is_some()),
    ];
    match fields.iter().find(|(_, given)| *given) {
        Some((field, _)) => {
            Err(invalid(format!("{field} cannot be specified for services with an EXTERNAL deployment controller.")))
        }
        None => Ok(()),
    }
}
