//! Who uses a capacity provider of a cluster.

use estiva_planning::lifecycle::DesiredStatus;
use estiva_store::{Row, Snapshot};

use crate::cluster::table::ClusterRow;
use crate::service::rollout_table::RolloutRow;
use crate::service::table::{BY_CLUSTER_STATUS, ServiceRevisionRow, ServiceRow, child_key};
use crate::task::table::{BY_CLUSTER_DESIRED, TaskRow};

/// Whether a task of the cluster that has not ended is of the provider, or a service has it in its strategy.
pub(crate) fn is_used(view: &Snapshot, cluster: &ClusterRow, provider: &str) -> bool {
    let value = |last: &str| cluster.scope.key(&[&cluster.name, last]);
    let tasks = |desired: DesiredStatus| view.index::<TaskRow>(BY_CLUSTER_DESIRED, &value(desired.as_str()));
    let mut tasks = tasks(DesiredStatus::Running).chain(tasks(DesiredStatus::Stopped));
    let services = |status: &str| view.index::<ServiceRow>(BY_CLUSTER_STATUS, &value(status));
    tasks.any(|task| task.is_live && task.capacity_provider.as_deref() == Some(provider))
        || services("ACTIVE").chain(services("DRAINING")).any(|service| is_of_service(view, &service, provider))
}

fn is_of_service(view: &Snapshot, service: &ServiceRow, provider: &str) -> bool {
    let revision = |id: &str| view.get::<ServiceRevisionRow>(&child_key(&service.key(), id));
    let rollout = view.get::<RolloutRow>(&service.key());
    let deployments = rollout.iter().flat_map(|rollout| &rollout.deployments);
    let mut deployed = deployments
        .filter_map(|deployment| revision(&deployment.revision))
        .flat_map(|revision| revision.settings.capacity_provider_strategy.clone().unwrap_or_default());
    service.capacity_provider_strategy.iter().any(|item| item.capacity_provider == provider)
        || deployed.any(|item| item.capacity_provider == provider)
}
