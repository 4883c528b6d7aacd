//! Services as callers refer to them: by name or ARN.

use std::sync::Arc;

use estiva_api_ecs::Error;
use estiva_store::Snapshot;

use super::table::{ServiceRow, ServiceStatus};
use crate::cluster;
use crate::error::{INVALID_REGION, invalid};
use crate::name;
use crate::scope::Scope;

/// The service's name.
pub(super) fn name_of<'a>(scope: &Scope, reference: &'a str) -> Result<&'a str, Error> {
    let name = scope.name_in("service", reference).filter(|name| name::is_legal(name));
    name.ok_or_else(|| {
        if scope.is_of_other_region(reference) {
            return invalid(INVALID_REGION);
        }
        invalid(format!("Invalid service name: {reference}"))
    })
}

/// The service of the cluster that a name or ARN means, also one that is INACTIVE.
pub(crate) fn find(
    view: &Snapshot,
    scope: &Scope,
    cluster: &str,
    reference: &str,
) -> Result<Option<Arc<ServiceRow>>, Error> {
    let name = name_of(scope, reference)?;
    cluster::check_same(cluster, reference)?;
    Ok(view.get::<ServiceRow>(&scope.key(&[cluster, name])))
}

/// The ACTIVE service that is meant, or ECS's error.
pub(super) fn active(view: &Snapshot, scope: &Scope, cluster: &str, reference: &str) -> Result<Arc<ServiceRow>, Error> {
    let row = find(view, scope, cluster, reference)?;
    let row = row.ok_or_else(|| Error::service_not_found_exception("Service not found."))?;
    if row.status == ServiceStatus::Active {
        return Ok(row);
    }
    Err(Error::service_not_active_exception("Service was not ACTIVE."))
}
