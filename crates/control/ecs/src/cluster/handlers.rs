//! The operations on clusters.

use std::sync::Arc;

use estiva_api_ecs::Error;
use estiva_api_ecs::types as api;
use estiva_schema::Request;
use estiva_store::{Row, Snapshot, Tx};

use super::arguments::{check_configuration, check_same};
use super::reference::{active, name_of};
use super::table::{ClusterRow, ClusterSetting, ClusterStatus};
use super::view::{services, to_api};
use crate::EcsService;
use crate::container_instance::table::ContainerInstanceStatus;
use crate::error::{self, invalid};
use crate::failure::missing;
use crate::name;
use crate::page::Page;
use crate::scope::Scope;
use crate::tag::Tags;
use crate::task::table::{BY_CLUSTER_STATUS, TaskStatusRow, cluster_status_value};
use crate::{account_setting, capacity_provider, container_instance};
use estiva_planning::lifecycle::TaskStatus;

/// DescribeClusters takes so many at a time.
const CLUSTERS_MAX: usize = 100;

pub(crate) async fn create(
    service: &EcsService,
    request: Request<api::CreateClusterRequest>,
) -> Result<api::CreateClusterResponse, Error> {
    let Request { input, caller, .. } = request;
    let scope = Scope::of(&caller);
    let name = input.cluster_name.as_deref().filter(|name| !name.is_empty()).unwrap_or(super::DEFAULT_CLUSTER);
    if !name::is_legal(name) {
        return Err(invalid(name::mismatch("ClusterName", name)));
    }
    let name = name.to_owned();
    check_configuration(input.configuration.as_ref())?;
    let tags = Tags::from_request(input.tags.clone())?;
    let settings = settings(input.settings.as_deref().unwrap_or_default())?;
    let update = service.store.update(|tx| {
        // A cluster that is there already is the answer, as it is.
        if let Some(row) = tx.get::<ClusterRow>(&scope.key(&[&name])).filter(|row| row.status == ClusterStatus::Active)
        {
            check_same(&row, &input)?;
            return Ok::<_, Error>(row);
        }
        let mut row = ClusterRow::new(&scope, &name, service.ambient.now());
        let insights = account_setting::effective(tx, &scope, &caller.arn(), api::SettingName::ContainerInsights);
        row.put_settings(vec![ClusterSetting { name: "containerInsights".to_owned(), value: insights }]);
        row.put_settings(settings.clone());
        let providers = input.capacity_providers.as_deref().unwrap_or_default();
        row.capacity_providers = capacity_provider::check_there(tx, &scope, providers)?;
        let strategy = input.default_capacity_provider_strategy.as_deref().unwrap_or_default();
        row.default_strategy = capacity_provider::check_strategy(&scope, strategy, &row.capacity_providers)?;
        row.configuration.clone_from(&input.configuration);
        row.service_connect_defaults = input.service_connect_defaults.as_ref().map(connect_defaults);
        row.tags = tags.clone();
        Ok(tx.put(row))
    });
    let row = update.await.map_err(error::update)?;
    Ok(api::CreateClusterResponse { cluster: Some(everything(&service.store.view(), &row)) })
}

pub(crate) fn describe(
    service: &EcsService,
    request: &Request<api::DescribeClustersRequest>,
) -> Result<api::DescribeClustersResponse, Error> {
    let Request { input, caller, .. } = request;
    let scope = Scope::of(caller);
    let view = service.store.view();
    let include = input.include.as_deref().unwrap_or_default();
    let default = vec![super::DEFAULT_CLUSTER.to_owned()];
    let references = input.clusters.as_ref().filter(|clusters| !clusters.is_empty()).unwrap_or(&default);
    if references.len() > CLUSTERS_MAX {
        return Err(invalid(format!("Clusters cannot have more than {CLUSTERS_MAX} elements.")));
    }
    let (mut clusters, mut failures) = (Vec::new(), Vec::new());
    for reference in references {
        let name = name_of(&scope, Some(reference))?;
        match view.get::<ClusterRow>(&scope.key(&[name])) {
            Some(row) => clusters.push(to_api(&view, &row, include)),
            None => failures.push(missing(scope.arn(format!("cluster/{name}")))),
        }
    }
    Ok(api::DescribeClustersResponse { clusters: Some(clusters), failures: Some(failures) })
}

pub(crate) fn list(
    service: &EcsService,
    request: &Request<api::ListClustersRequest>,
) -> Result<api::ListClustersResponse, Error> {
    let Request { input, caller, .. } = request;
    let scope = Scope::of(caller);
    let view = service.store.view();
    let page = Page::new(service.tokens.of(request), input.next_token.as_deref(), input.max_results)?;
    let rows = view.scan_from::<ClusterRow>(&scope.key(&[""]), &page.after);
    let rows = rows.filter(|row| row.status == ClusterStatus::Active);
    let (rows, next_token) = page.cut(rows, |row: &Arc<ClusterRow>| row.key());
    Ok(api::ListClustersResponse { cluster_arns: Some(rows.iter().map(|row| row.arn()).collect()), next_token })
}

pub(crate) async fn update(
    service: &EcsService,
    request: Request<api::UpdateClusterRequest>,
) -> Result<api::UpdateClusterResponse, Error> {
    let Request { input, caller, .. } = request;
    let settings = settings(input.settings.as_deref().unwrap_or_default())?;
    check_configuration(input.configuration.as_ref())?;
    let scope = Scope::of(&caller);
    let row = change(service, &scope, &input.cluster, |row| {
        row.put_settings(settings.clone());
        if let Some(configuration) = &input.configuration {
            row.configuration = Some(configuration.clone());
        }
        if let Some(defaults) = &input.service_connect_defaults {
            row.service_connect_defaults = Some(connect_defaults(defaults));
        }
    });
    let row = row.await?;
    Ok(api::UpdateClusterResponse { cluster: Some(everything(&service.store.view(), &row)) })
}

pub(crate) async fn update_settings(
    service: &EcsService,
    request: Request<api::UpdateClusterSettingsRequest>,
) -> Result<api::UpdateClusterSettingsResponse, Error> {
    let Request { input, caller, .. } = request;
    let settings = settings(&input.settings)?;
    let row = change(service, &Scope::of(&caller), &input.cluster, |row| row.put_settings(settings.clone())).await?;
    Ok(api::UpdateClusterSettingsResponse { cluster: Some(everything(&service.store.view(), &row)) })
}

pub(crate) async fn put_capacity_providers(
    service: &EcsService,
    request: Request<api::PutClusterCapacityProvidersRequest>,
) -> Result<api::PutClusterCapacityProvidersResponse, Error> {
    let Request { input, caller, .. } = request;
    let scope = Scope::of(&caller);
    let update = service.store.update(|tx| {
        let mut row = (*active(tx, &scope, Some(&input.cluster))?).clone();
        let former = std::mem::take(&mut row.capacity_providers);
        row.capacity_providers = capacity_provider::check_there(tx, &scope, &input.capacity_providers)?;
        let removed = former.iter().filter(|name| !row.capacity_providers.contains(name));
        if removed.into_iter().any(|name| capacity_provider::is_used(tx, &row, name)) {
            return Err(Error::resource_in_use_exception(
                "The specified capacity provider is in use and cannot be removed.",
            ));
        }
        let strategy = &input.default_capacity_provider_strategy;
        row.default_strategy = capacity_provider::check_strategy(&scope, strategy, &row.capacity_providers)?;
        Ok::<_, Error>(tx.put(row))
    });
    let row = update.await.map_err(error::update)?;
    let mut cluster = everything(&service.store.view(), &row);
    cluster.attachments_status = Some("UPDATE_COMPLETE".to_owned());
    Ok(api::PutClusterCapacityProvidersResponse { cluster: Some(cluster) })
}

pub(crate) async fn delete(
    service: &EcsService,
    request: Request<api::DeleteClusterRequest>,
) -> Result<api::DeleteClusterResponse, Error> {
    let Request { input, caller, .. } = request;
    let scope = Scope::of(&caller);
    let update = service.store.update(|tx| {
        let row = active(tx, &scope, Some(&input.cluster))?;
        if services(tx, &row, "ACTIVE") > 0 {
            return Err(Error::cluster_contains_services_exception(
                "The Cluster cannot be deleted while Services are active.",
            ));
        }
        check_empty(tx, &scope, &row.name)?;
        let mut row = (*row).clone();
        row.status = ClusterStatus::Inactive;
        Ok::<_, Error>(tx.put(row))
    });
    let row = update.await.map_err(error::update)?;
    Ok(api::DeleteClusterResponse { cluster: Some(everything(&service.store.view(), &row)) })
}

fn check_empty(tx: &Tx<'_>, scope: &Scope, name: &str) -> Result<(), Error> {
    let statuses = [ContainerInstanceStatus::Active, ContainerInstanceStatus::Draining];
    if statuses.into_iter().any(|status| container_instance::in_status(tx, scope, name, status).next().is_some()) {
        return Err(Error::cluster_contains_container_instances_exception(
            "The Cluster cannot be deleted while Container Instances are active or draining.",
        ));
    }
    let live = TaskStatus::ALL.iter().filter(|status| **status != TaskStatus::Stopped);
    let tasks: usize = live
        .map(|status| tx.index_count::<TaskStatusRow>(BY_CLUSTER_STATUS, &cluster_status_value(scope, name, *status)))
        .sum();
    if tasks > 0 {
        return Err(Error::cluster_contains_tasks_exception("The Cluster cannot be deleted while Tasks are active."));
    }
    Ok(())
}

async fn change(
    service: &EcsService,
    scope: &Scope,
    reference: &str,
    change: impl Fn(&mut ClusterRow),
) -> Result<Arc<ClusterRow>, Error> {
    let update = service.store.update(|tx| {
        let mut row = (*active(tx, scope, Some(reference))?).clone();
        change(&mut row);
        Ok::<_, Error>(tx.put(row))
    });
    update.await.map_err(error::update)
}

/// The settings of a request, by name and value.
pub(super) fn settings(settings: &[api::ClusterSetting]) -> Result<Vec<ClusterSetting>, Error> {
    let checked = |setting: &api::ClusterSetting| {
        let name = setting.name.ok_or_else(|| invalid("settings: a setting has no name"))?;
        let value = setting.value.clone().unwrap_or_default();
        if !["enabled", "disabled", "enhanced"].contains(&value.as_str()) {
            return Err(invalid(format!(
                "Invalid value '{value}' for setting {}: enabled, disabled or enhanced",
                name.as_str()
            )));
        }
        Ok(ClusterSetting { name: name.as_str().to_owned(), value })
    };
    settings.iter().map(checked).collect()
}

pub(super) fn connect_defaults(
    defaults: &api::ClusterServiceConnectDefaultsRequest,
) -> api::ClusterServiceConnectDefaults {
    api::ClusterServiceConnectDefaults { namespace: Some(defaults.namespace.clone()) }
}

/// A cluster as the operations that change it show it.
fn everything(view: &Snapshot, row: &ClusterRow) -> api::Cluster {
    use api::ClusterField::{Configurations, Settings, Tags};
    to_api(view, row, &[Configurations, Settings, Tags])
}
