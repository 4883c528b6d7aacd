//! A cluster as DescribeClusters shows it.

use estiva_api_ecs::types as api;
use estiva_planning::lifecycle::TaskStatus;
use estiva_store::Snapshot;

use super::table::ClusterRow;
use crate::capacity_provider::StrategyItem;
use crate::container_instance::table::{
    BY_CLUSTER_STATUS as INSTANCES_BY_STATUS, ContainerInstanceRow, ContainerInstanceStatus,
};
use crate::service::table::{
    BY_CLUSTER_LAUNCH_TYPE_STATUS as SERVICES_BY_LAUNCH_TYPE_STATUS, BY_CLUSTER_STATUS as SERVICES_BY_STATUS,
    ServiceRow,
};
use crate::task::table::{
    BY_CLUSTER_LAUNCH_TYPE_STATUS, BY_CLUSTER_STATUS, TaskStatusRow, cluster_launch_type_status_value,
    cluster_status_value,
};

/// What the counts call pending and running.
const PENDING: [TaskStatus; 3] = [TaskStatus::Provisioning, TaskStatus::Pending, TaskStatus::Activating];
const RUNNING: [TaskStatus; 4] =
    [TaskStatus::Running, TaskStatus::Deactivating, TaskStatus::Stopping, TaskStatus::Deprovisioning];

pub(super) fn to_api(view: &Snapshot, row: &ClusterRow, include: &[api::ClusterField]) -> api::Cluster {
    let includes = |field: api::ClusterField| include.contains(&field);
    let tasks = |statuses: &[TaskStatus]| -> usize {
        let value = |status: &TaskStatus| cluster_status_value(&row.scope, &row.name, *status);
        statuses.iter().map(|status| view.index_count::<TaskStatusRow>(BY_CLUSTER_STATUS, &value(status))).sum()
    };
    let (pending, running) = (tasks(&PENDING), tasks(&RUNNING));
    let instances = |status: ContainerInstanceStatus| {
        let value = row.scope.key(&[&row.name, status.as_str()]);
        view.index_count::<ContainerInstanceRow>(INSTANCES_BY_STATUS, &value)
    };
    let registered = instances(ContainerInstanceStatus::Active) + instances(ContainerInstanceStatus::Draining);
    let setting = |it: &super::table::ClusterSetting| api::ClusterSetting {
        name: api::ClusterSettingName::parse(&it.name),
        value: Some(it.value.clone()),
    };
    api::Cluster {
        cluster_arn: Some(row.arn()),
        cluster_name: Some(row.name.clone()),
        status: Some(row.status.as_str().to_owned()),
        registered_container_instances_count: Some(count(registered)),
        running_tasks_count: Some(count(running)),
        pending_tasks_count: Some(count(pending)),
        active_services_count: Some(count(services(view, row, "ACTIVE"))),
        capacity_providers: Some(row.capacity_providers.clone()),
        default_capacity_provider_strategy: Some(row.default_strategy.iter().map(StrategyItem::to_api).collect()),
        statistics: Some(if includes(api::ClusterField::Statistics) { statistics(view, row) } else { Vec::new() }),
        tags: Some(if includes(api::ClusterField::Tags) { row.tags.to_api() } else { Vec::new() }),
        settings: Some(if includes(api::ClusterField::Settings) {
            row.settings.iter().map(setting).collect()
        } else {
            Vec::new()
        }),
        configuration: row.configuration.clone().filter(|_| includes(api::ClusterField::Configurations)),
        attachments: includes(api::ClusterField::Attachments).then(Vec::new),
        service_connect_defaults: row.service_connect_defaults.clone(),
        ..api::Cluster::default()
    }
}

/// How many services of the cluster are in a status.
pub(super) fn services(view: &Snapshot, row: &ClusterRow, status: &str) -> usize {
    view.index_count::<ServiceRow>(SERVICES_BY_STATUS, &row.scope.key(&[&row.name, status]))
}

/// Every launch type's counts.
fn statistics(view: &Snapshot, row: &ClusterRow) -> Vec<api::KeyValuePair> {
    let pair = |name: String, value: usize| api::KeyValuePair { name: Some(name), value: Some(value.to_string()) };
    let mut statistics = Vec::new();
    for (launch_type, name) in [("EC2", "EC2"), ("FARGATE", "Fargate"), ("EXTERNAL", "External")] {
        for (word, statuses) in [("running", &RUNNING[..]), ("pending", &PENDING[..])] {
            let value =
                |status: &TaskStatus| cluster_launch_type_status_value(&row.scope, &row.name, launch_type, *status);
            let count = |status| view.index_count::<TaskStatusRow>(BY_CLUSTER_LAUNCH_TYPE_STATUS, &value(status));
            statistics.push(pair(format!("{word}{name}TasksCount"), statuses.iter().map(count).sum()));
        }
        for (word, status) in [("active", "ACTIVE"), ("draining", "DRAINING")] {
            let value = row.scope.key(&[&row.name, launch_type, status]);
            let count = view.index_count::<ServiceRow>(SERVICES_BY_LAUNCH_TYPE_STATUS, &value);
            statistics.push(pair(format!("{word}{name}ServiceCount"), count));
        }
    }
    statistics
}

fn count(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}
