//! Task sets: the deployments of a service whose deployment controller is EXTERNAL. Their owner says how many tasks each has.

pub mod operations;

use estiva_api_ecs::types as api;
use estiva_store::Snapshot;

use super::revision::find_revision;
use super::rollout_table::{Deployment, DeploymentStatus};
use super::table::ServiceRow;
use super::task_counts::{TaskCounts, count};
use crate::task_definition::table as task_definition;

/// `arn:aws:ecs:region:account:task-set/cluster/service/ecs-svc/id`
pub(super) fn arn(service: &ServiceRow, id: &str) -> String {
    service.scope.arn(format!("task-set/{}/{}/{id}", service.cluster, service.name))
}

/// The task set's part of the service's desired count, rounded up (Amazon ECS API Reference, TaskSet).
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a percentage of at most 5,000 tasks")]
pub(super) fn computed_desired_count(service: &ServiceRow, set: &Deployment) -> usize {
    let scale = set.task_set.as_ref().map_or(0.0, |state| state.scale);
    if set.status == DeploymentStatus::Draining {
        return 0;
    }
    (f64::from(service.desired_count) * scale / 100.0).ceil() as usize
}

/// A task set as ECS shows it.
pub(super) fn to_api(
    view: &Snapshot,
    service: &ServiceRow,
    set: &Deployment,
    counts: TaskCounts,
    with_tags: bool,
) -> api::TaskSet {
    let revision = find_revision(view, service, &set.revision);
    let settings = revision.as_ref().map(|revision| revision.settings.clone()).unwrap_or_default();
    let state = set.task_set.as_ref();
    api::TaskSet {
        id: Some(set.id.clone()),
        task_set_arn: Some(arn(service, &set.id)),
        service_arn: Some(service.arn()),
        cluster_arn: Some(service.scope.arn(format!("cluster/{}", service.cluster))),
        external_id: state.and_then(|state| state.external_id.clone()),
        status: Some(set.status.as_str().to_owned()),
        task_definition: revision.map(|it| task_definition::arn(&service.scope, &it.family, it.revision)),
        computed_desired_count: Some(count(computed_desired_count(service, set))),
        pending_count: Some(count(counts.pending)),
        running_count: Some(count(counts.running)),
        created_at: Some(set.created_at),
        updated_at: Some(set.updated_at),
        launch_type: settings.launch_type,
        capacity_provider_strategy: settings.capacity_provider_strategy,
        platform_version: settings.platform_version,
        platform_family: settings.platform_family,
        network_configuration: settings.network_configuration,
        load_balancers: Some(Vec::new()),
        service_registries: Some(Vec::new()),
        scale: Some(api::Scale { unit: Some(api::ScaleUnit::Percent), value: state.map(|state| state.scale) }),
        stability_status: Some(if state.is_some_and(|state| state.is_stable) {
            api::StabilityStatus::SteadyState
        } else {
            api::StabilityStatus::Stabilizing
        }),
        stability_status_at: state.map(|state| state.stability_at),
        tags: with_tags.then(|| state.map(|state| state.tags.to_api()).unwrap_or_default()),
        ..api::TaskSet::default()
    }
}
