//! DescribeServices, and a service as every operation shows it.

use estiva_api_ecs::Error;
use estiva_api_ecs::types as api;
use estiva_schema::Request;
use estiva_store::{Row, Snapshot};

use super::revision::{self, find_revision};
use super::rollout_table::{Deployment, DeploymentStatus, Rollout, RolloutRow};
use super::table::{ServiceRow, ServiceStatus};
use super::task_counts::{TaskCounts, count};
use super::{event, reference, task_set};
use crate::EcsService;
use crate::capacity_provider::StrategyItem;
use crate::cluster;
use crate::error::invalid;
use crate::failure::missing;
use crate::scope::Scope;
use crate::task_definition::table as task_definition;

/// DescribeServices takes so many at a time.
const SERVICES_MAX: usize = 10;

pub(crate) fn describe(
    service: &EcsService,
    request: &Request<api::DescribeServicesRequest>,
) -> Result<api::DescribeServicesResponse, Error> {
    let Request { input, caller, .. } = request;
    let scope = Scope::of(caller);
    let view = service.store.view();
    let cluster = cluster::active(&view, &scope, input.cluster.as_deref())?;
    match input.services.len() {
        0 => return Err(invalid("Services cannot be empty.")),
        count if count > SERVICES_MAX => {
            return Err(invalid(format!("Services cannot have more than {SERVICES_MAX} elements.")));
        }
        _ => {}
    }
    let with_tags = input.include.iter().flatten().any(|field| *field == api::ServiceField::Tags);
    let (mut services, mut failures) = (Vec::new(), Vec::new());
    for text in &input.services {
        if let Some(row) = reference::find(&view, &scope, &cluster.name, text)? {
            services.push(to_api(&view, &row, with_tags));
            continue;
        }
        let name = reference::name_of(&scope, text)?;
        failures.push(missing(scope.arn(format!("service/{}/{name}", cluster.name))));
    }
    Ok(api::DescribeServicesResponse { services: Some(services), failures: Some(failures) })
}

/// A service as ECS shows it.
pub(super) fn to_api(view: &Snapshot, row: &ServiceRow, with_tags: bool) -> api::Service {
    let rollout = view.get::<RolloutRow>(&row.key()).map(|row| (*row).clone()).unwrap_or_default();
    let counts: Vec<_> = rollout.deployments.iter().map(|it| (it, TaskCounts::of(view, &it.id))).collect();
    let desired = desired(row, &rollout);
    let primary = rollout.primary().and_then(|primary| find_revision(view, row, &primary.revision));
    let deployed = primary.as_ref().filter(|_| !row.is_external).map(|revision| row.as_of(revision));
    let row = deployed.as_ref().unwrap_or(row);
    let is_inactive = row.status == ServiceStatus::Inactive;
    let shown =
        |(deployment, counts): &(&Deployment, TaskCounts)| to_deployment(view, row, deployment, *counts, desired);
    let sets =
        |(deployment, counts): &(&Deployment, TaskCounts)| task_set::to_api(view, row, deployment, *counts, with_tags);
    let deployments = counts.iter().filter(|_| !row.is_external && !is_inactive).map(shown).collect();
    api::Service {
        service_arn: Some(row.arn()),
        service_name: Some(row.name.clone()),
        cluster_arn: Some(row.scope.arn(format!("cluster/{}", row.cluster))),
        status: Some(row.status.as_str().to_owned()),
        desired_count: Some(count(desired)),
        pending_count: Some(count(counts.iter().map(|(_, counts)| counts.pending).sum())),
        running_count: Some(count(counts.iter().map(|(_, counts)| counts.running).sum())),
        capacity_provider_strategy: (!row.capacity_provider_strategy.is_empty())
            .then(|| row.capacity_provider_strategy.iter().map(StrategyItem::to_api).collect()),
        task_definition: primary.map(|it| task_definition::arn(&row.scope, &it.family, it.revision)),
        deployments: Some(deployments),
        task_sets: row.is_external.then(|| counts.iter().map(sets).collect()),
        events: Some(event::newest(view, &row.key())),
        created_at: Some(row.created_at),
        created_by: Some(row.created_by.clone()),
        current_service_deployment: rollout
            .latest
            .as_ref()
            .filter(|_| !is_inactive)
            .map(|id| super::deployment::arn(row, id)),
        current_service_revisions: (!row.is_external && !is_inactive)
            .then(|| counts.iter().map(|it| current_revision(row, it, desired)).collect()),
        load_balancers: Some(Vec::new()),
        service_registries: Some(Vec::new()),
        role_arn: None,
        tags: with_tags.then(|| row.tags.to_api()),
        ..row.settings.clone()
    }
}

/// How many tasks a service wants.
pub(super) fn desired(row: &ServiceRow, rollout: &RolloutRow) -> usize {
    match row.status {
        ServiceStatus::Active if row.is_daemon => rollout.instances,
        _ => usize::try_from(row.desired_count).unwrap_or(0),
    }
}

fn to_deployment(
    view: &Snapshot,
    row: &ServiceRow,
    deployment: &Deployment,
    counts: TaskCounts,
    desired: usize,
) -> api::Deployment {
    let revision = find_revision(view, row, &deployment.revision);
    let settings = revision.as_ref().map(|revision| revision.settings.clone()).unwrap_or_default();
    let is_primary = deployment.status == DeploymentStatus::Primary;
    api::Deployment {
        id: Some(deployment.id.clone()),
        status: Some(deployment.status.as_str().to_owned()),
        task_definition: revision.map(|it| task_definition::arn(&row.scope, &it.family, it.revision)),
        desired_count: Some(count(if is_primary { desired } else { counts.pending + counts.running })),
        pending_count: Some(count(counts.pending)),
        running_count: Some(count(counts.running)),
        failed_tasks: Some(count(super::controller::failures(view, deployment).total())),
        created_at: Some(deployment.created_at),
        updated_at: Some(deployment.updated_at),
        capacity_provider_strategy: settings.capacity_provider_strategy,
        launch_type: settings.launch_type,
        platform_version: settings.platform_version,
        platform_family: settings.platform_family,
        network_configuration: settings.network_configuration,
        rollout_state: Some(match deployment.rollout {
            Rollout::InProgress => api::DeploymentRolloutState::InProgress,
            Rollout::Completed => api::DeploymentRolloutState::Completed,
            Rollout::Failed => api::DeploymentRolloutState::Failed,
        }),
        rollout_state_reason: Some(deployment.rollout_reason.clone()),
        ..api::Deployment::default()
    }
}

fn current_revision(
    row: &ServiceRow,
    (deployment, counts): &(&Deployment, TaskCounts),
    desired: usize,
) -> api::ServiceCurrentRevisionSummary {
    let is_primary = deployment.status == DeploymentStatus::Primary;
    api::ServiceCurrentRevisionSummary {
        arn: Some(revision::arn(row, &deployment.revision)),
        pending_task_count: Some(count(counts.pending)),
        requested_task_count: Some(count(if is_primary { desired } else { counts.pending + counts.running })),
        running_task_count: Some(count(counts.running)),
    }
}
