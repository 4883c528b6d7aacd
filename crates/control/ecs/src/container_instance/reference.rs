//! Container instances as callers refer to them, and who may speak for one.

use std::sync::Arc;

use estiva_api_ecs::Error;
use estiva_model::{Caller, Principal};
use estiva_store::Snapshot;

use super::table::{BY_CLUSTER_STATUS, ContainerInstanceRow, ContainerInstanceStatus, key};
use crate::cluster;
use crate::error::invalid;
use crate::scope::Scope;

/// The container instance of the cluster that an id or ARN means.
pub(crate) fn find(
    view: &Snapshot,
    scope: &Scope,
    cluster: &str,
    reference: &str,
) -> Result<Option<Arc<ContainerInstanceRow>>, Error> {
    let id = scope.name_in("container-instance", reference).filter(|id| is_id(id));
    let id = id.ok_or_else(|| invalid(format!("Invalid container instance identifier: {reference}")))?;
    cluster::check_same(cluster, reference)?;
    Ok(view.get::<ContainerInstanceRow>(&key(scope, cluster, id)))
}

/// The container instances of a cluster in a status.
pub(crate) fn in_status(
    view: &Snapshot,
    scope: &Scope,
    cluster: &str,
    status: ContainerInstanceStatus,
) -> impl Iterator<Item = Arc<ContainerInstanceRow>> {
    let rows: Vec<_> =
        view.index::<ContainerInstanceRow>(BY_CLUSTER_STATUS, &scope.key(&[cluster, status.as_str()])).collect();
    rows.into_iter()
}

/// A container instance is spoken for by the principal that registered it, or by the account's owner.
pub(crate) fn authorise(caller: &Caller, instance: &ContainerInstanceRow) -> Result<(), Error> {
    if caller.principal == Principal::Root || caller.arn() == instance.registered_by {
        return Ok(());
    }
    let message = format!("User: {} is not authorized to act for container instance {}", caller.arn(), instance.arn());
    Err(Error::access_denied_exception(message))
}

fn is_id(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
}
