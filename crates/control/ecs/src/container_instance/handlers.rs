//! The operations on container instances.

use std::sync::Arc;

use estiva_api_ecs::Error;
use estiva_api_ecs::types as api;
use estiva_model::Principal;
use estiva_planning::lifecycle::TaskStatus;
use estiva_schema::Request;
use estiva_store::{Row, Snapshot};

use super::reference::{authorise, find};
use super::table::{BY_CLUSTER_STATUS, ContainerInstanceRow, ContainerInstanceStatus, ReservationRow};
use super::view::{Include, to_api};
use super::{poll_endpoint, register, selection};
use crate::EcsService;
use crate::cluster;
use crate::error::{self, invalid};
use crate::failure::{self, failure};
use crate::page::{Page, merged};
use crate::scope::Scope;
use crate::task::table::{BY_CONTAINER_INSTANCE, TaskRow};
use crate::task::{self, Stop};

/// DescribeContainerInstances and UpdateContainerInstancesState take so many at a time.
const INSTANCES_MAX: usize = 100;
const UPDATED_MAX: usize = 10;

pub(crate) use register::register;

pub(crate) fn discover_poll_endpoint(
    service: &EcsService,
    request: &Request<api::DiscoverPollEndpointRequest>,
) -> Result<api::DiscoverPollEndpointResponse, Error> {
    poll_endpoint::discover(service, request)
}

pub(crate) async fn deregister(
    service: &EcsService,
    request: Request<api::DeregisterContainerInstanceRequest>,
) -> Result<api::DeregisterContainerInstanceResponse, Error> {
    let Request { input, caller, .. } = request;
    let scope = Scope::of(&caller);
    let row = service.store.update(|tx| {
        let cluster = cluster::active(tx, &scope, input.cluster.as_deref())?;
        let row = find(tx, &scope, &cluster.name, &input.container_instance)?;
        let row = row.filter(|row| row.status != ContainerInstanceStatus::Inactive).ok_or_else(not_found)?;
        authorise(&caller, &row)?;
        let tasks = tx.index::<TaskRow>(BY_CONTAINER_INSTANCE, &row.key());
        let live: Vec<_> = tasks.filter(|row| task::status_of(tx, row) != Some(TaskStatus::Stopped)).collect();
        if !live.is_empty() && input.force != Some(true) {
            return Err(invalid("Found running tasks on the instance."));
        }
        for task in live {
            task::abandon(tx, &task, &Stop::of_deregistration(), service.ambient.now());
        }
        let mut row = (*row).clone();
        row.status = ContainerInstanceStatus::Inactive;
        row.inactive_since = Some(service.ambient.now());
        tx.delete::<ReservationRow>(&row.key());
        Ok(tx.put(row))
    });
    let row = row.await.map_err(error::update)?;
    let instance = to_api(&service.store.view(), &row, Include::TAGS);
    Ok(api::DeregisterContainerInstanceResponse { container_instance: Some(instance) })
}

pub(crate) fn describe(
    service: &EcsService,
    request: &Request<api::DescribeContainerInstancesRequest>,
) -> Result<api::DescribeContainerInstancesResponse, Error> {
    let Request { input, caller, .. } = request;
    let scope = Scope::of(caller);
    let view = service.store.view();
    let cluster = cluster::active(&view, &scope, input.cluster.as_deref())?;
    check_count(input.container_instances.len(), INSTANCES_MAX)?;
    let include = Include::of(input.include.as_deref());
    let (mut instances, mut failures) = (Vec::new(), Vec::new());
    for reference in &input.container_instances {
        match find(&view, &scope, &cluster.name, reference)? {
            Some(row) => instances.push(to_api(&view, &row, include)),
            None => failures.push(missing(&scope, &cluster.name, reference)),
        }
    }
    Ok(api::DescribeContainerInstancesResponse { container_instances: Some(instances), failures: Some(failures) })
}

pub(crate) fn list(
    service: &EcsService,
    request: &Request<api::ListContainerInstancesRequest>,
) -> Result<api::ListContainerInstancesResponse, Error> {
    let Request { input, caller, .. } = request;
    let scope = Scope::of(caller);
    let view = service.store.view();
    let cluster = cluster::active(&view, &scope, input.cluster.as_deref())?;
    let filter = input.filter.as_deref().filter(|filter| !filter.is_empty()).map(selection::parse).transpose()?;
    let page = Page::new(service.tokens.of(request), input.next_token.as_deref(), input.max_results)?;
    let rows = |status: &str| {
        view.index_from::<ContainerInstanceRow>(BY_CLUSTER_STATUS, &scope.key(&[&cluster.name, status]), &page.after)
    };
    let matches = |row: &Arc<ContainerInstanceRow>| {
        filter.as_ref().is_none_or(|filter| selection::is_true_of(filter, &view, row))
    };
    let key = |row: &Arc<ContainerInstanceRow>| row.key();
    let (rows, next_token) = match input.status {
        Some(status) => page.cut(rows(status.as_str()).filter(matches), key),
        None => page.cut(merged(rows("ACTIVE"), rows("DRAINING")).filter(matches), key),
    };
    let arns = rows.iter().map(|row| row.arn()).collect();
    Ok(api::ListContainerInstancesResponse { container_instance_arns: Some(arns), next_token })
}

pub(crate) async fn update_state(
    service: &EcsService,
    request: Request<api::UpdateContainerInstancesStateRequest>,
) -> Result<api::UpdateContainerInstancesStateResponse, Error> {
    let Request { input, caller, .. } = request;
    let scope = Scope::of(&caller);
    check_count(input.container_instances.len(), UPDATED_MAX)?;
    let status = match input.status.as_str() {
        "ACTIVE" => ContainerInstanceStatus::Active,
        "DRAINING" => ContainerInstanceStatus::Draining,
        other => return Err(invalid(format!("status: container instances cannot be set to {other}"))),
    };
    // A node that is about to go, as EC2 announces it to Spot instances, drains itself. The rest is its owner's.
    if caller.principal != Principal::Root && status != ContainerInstanceStatus::Draining {
        let message =
            format!("User: {} is not authorized to set container instances to {}", caller.arn(), input.status);
        return Err(Error::access_denied_exception(message));
    }
    let update = service.store.update(|tx| {
        let cluster = cluster::active(tx, &scope, input.cluster.as_deref())?;
        let (mut rows, mut failures) = (Vec::new(), Vec::new());
        for reference in &input.container_instances {
            match find(tx, &scope, &cluster.name, reference)? {
                Some(row) if row.status != ContainerInstanceStatus::Inactive => {
                    authorise(&caller, &row)?;
                    let mut row = (*row).clone();
                    row.status = status;
                    rows.push(tx.put(row));
                }
                Some(row) => failures.push(failure(row.arn(), "INACTIVE")),
                None => failures.push(missing(&scope, &cluster.name, reference)),
            }
        }
        Ok::<_, Error>((rows, failures))
    });
    let (rows, failures) = update.await.map_err(error::update)?;
    let view: Snapshot = service.store.view();
    let instances = rows.iter().map(|row| to_api(&view, row, Include::default())).collect();
    Ok(api::UpdateContainerInstancesStateResponse { container_instances: Some(instances), failures: Some(failures) })
}

/// An agent of Estiva is part of the binary: there is no newer one that the server could send it.
pub(crate) fn update_agent(
    service: &EcsService,
    request: &Request<api::UpdateContainerAgentRequest>,
) -> Result<api::UpdateContainerAgentResponse, Error> {
    let Request { input, caller, .. } = request;
    let scope = Scope::of(caller);
    let view = service.store.view();
    let cluster = cluster::active(&view, &scope, input.cluster.as_deref())?;
    find(&view, &scope, &cluster.name, &input.container_instance)?.ok_or_else(not_found)?;
    Err(Error::no_update_available_exception("There is no update available for the container agent."))
}

fn check_count(count: usize, most: usize) -> Result<(), Error> {
    match count {
        0 => Err(invalid("Container instances cannot be empty.")),
        count if count > most => Err(invalid(format!("Container instances cannot have more than {most} elements."))),
        _ => Ok(()),
    }
}

fn not_found() -> Error {
    Error::client_exception("The referenced container instance was not found.")
}

fn missing(scope: &Scope, cluster: &str, reference: &str) -> api::Failure {
    let id = scope.name_in("container-instance", reference).unwrap_or(reference);
    failure::missing(scope.arn(format!("container-instance/{cluster}/{id}")))
}
