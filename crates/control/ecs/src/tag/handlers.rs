//! TagResource, UntagResource, ListTagsForResource.

use estiva_api_ecs::Error;
use estiva_api_ecs::types as api;
use estiva_schema::Request;
use estiva_store::{Row, Snapshot, Tx};

use super::Tags;
use crate::EcsService;
use crate::capacity_provider::table::CapacityProviderRow;
use crate::cluster::table::ClusterRow;
use crate::container_instance::table::ContainerInstanceRow;
use crate::error::{self, invalid};
use crate::name::Revision;
use crate::scope::Scope;
use crate::service::table::ServiceRow;
use crate::task::table::TaskRow;
use crate::task_definition::table::{TaskDefinitionRow, revision_key};

pub(crate) async fn tag(
    service: &EcsService,
    request: Request<api::TagResourceRequest>,
) -> Result<api::TagResourceResponse, Error> {
    let Request { input, caller, .. } = request;
    change(service, &Scope::of(&caller), &input.resource_arn, |tags| tags.merge(input.tags.clone())).await?;
    Ok(api::TagResourceResponse {})
}

pub(crate) async fn untag(
    service: &EcsService,
    request: Request<api::UntagResourceRequest>,
) -> Result<api::UntagResourceResponse, Error> {
    let Request { input, caller, .. } = request;
    change(service, &Scope::of(&caller), &input.resource_arn, |tags| {
        tags.remove(&input.tag_keys);
        Ok(())
    })
    .await?;
    Ok(api::UntagResourceResponse {})
}

pub(crate) fn list(
    service: &EcsService,
    request: &Request<api::ListTagsForResourceRequest>,
) -> Result<api::ListTagsForResourceResponse, Error> {
    let resource = Resource::parse(&Scope::of(&request.caller), &request.input.resource_arn)?;
    let view = service.store.view();
    let tags = match &resource {
        Resource::CapacityProvider(key) => tags_of::<CapacityProviderRow>(&view, key),
        Resource::Service(key) => tags_of::<ServiceRow>(&view, key),
        Resource::Cluster(key) => tags_of::<ClusterRow>(&view, key),
        Resource::TaskDefinition(key) => tags_of::<TaskDefinitionRow>(&view, key),
        Resource::Task(key) => tags_of::<TaskRow>(&view, key),
        Resource::ContainerInstance(key) => tags_of::<ContainerInstanceRow>(&view, key),
    };
    Ok(api::ListTagsForResourceResponse { tags: Some(tags?.to_api()) })
}

async fn change(
    service: &EcsService,
    scope: &Scope,
    arn: &str,
    change: impl Fn(&mut Tags) -> Result<(), Error>,
) -> Result<(), Error> {
    let resource = Resource::parse(scope, arn)?;
    let update = service.store.update(|tx| match &resource {
        Resource::CapacityProvider(key) => change_row::<CapacityProviderRow>(tx, key, &change),
        Resource::Service(key) => change_row::<ServiceRow>(tx, key, &change),
        Resource::Cluster(key) => change_row::<ClusterRow>(tx, key, &change),
        Resource::TaskDefinition(key) => change_row::<TaskDefinitionRow>(tx, key, &change),
        Resource::Task(key) => change_row::<TaskRow>(tx, key, &change),
        Resource::ContainerInstance(key) => change_row::<ContainerInstanceRow>(tx, key, &change),
    });
    update.await.map_err(error::update)
}

/// What can have labels, by the key of its row.
enum Resource {
    CapacityProvider(String),
    Service(String),
    Cluster(String),
    TaskDefinition(String),
    Task(String),
    ContainerInstance(String),
}

impl Resource {
    fn parse(scope: &Scope, text: &str) -> Result<Self, Error> {
        let illegal = || invalid(format!("Invalid ARN: {text}"));
        let parts = |kind: &str| scope.parts_of(kind, text);
        let one = |kind: &str| parts(kind).filter(|parts| parts.len() == 1);
        let two = |kind: &str| parts(kind).filter(|parts| parts.len() == 2).map(|parts| scope.key(&parts));
        if let Some(name) = one("task-definition") {
            return match Revision::parse(name[0])? {
                Revision { family, revision: Some(revision) } => {
                    Ok(Self::TaskDefinition(revision_key(scope, &family, revision)))
                }
                Revision { .. } => Err(illegal()),
            };
        }
        one("capacity-provider")
            .map(|name| Self::CapacityProvider(scope.key(&name)))
            .or_else(|| one("cluster").map(|name| Self::Cluster(scope.key(&name))))
            .or_else(|| two("service").map(Self::Service))
            .or_else(|| two("task").map(Self::Task))
            .or_else(|| two("container-instance").map(Self::ContainerInstance))
            .ok_or_else(illegal)
    }
}

/// A row that has labels.
trait Tagged: Row + Clone {
    fn tags(&self) -> &Tags;
    fn tags_mut(&mut self) -> &mut Tags;
}

macro_rules! tagged {
    ($($row:ty),*) => {$(
        impl Tagged for $row {
            fn tags(&self) -> &Tags {
                &self.tags
            }

            fn tags_mut(&mut self) -> &mut Tags {
                &mut self.tags
            }
        }
    )*};
}

tagged!(CapacityProviderRow, ServiceRow, ClusterRow, TaskDefinitionRow, TaskRow, ContainerInstanceRow);

fn tags_of<R: Tagged>(view: &Snapshot, key: &str) -> Result<Tags, Error> {
    view.get::<R>(key).map(|row| row.tags().clone()).ok_or_else(not_found)
}

fn change_row<R: Tagged>(
    tx: &mut Tx<'_>,
    key: &str,
    change: impl Fn(&mut Tags) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut row = (*tx.get::<R>(key).ok_or_else(not_found)?).clone();
    change(row.tags_mut())?;
    tx.put(row);
    Ok(())
}

fn not_found() -> Error {
    Error::resource_not_found_exception("The specified resource was not found.")
}
