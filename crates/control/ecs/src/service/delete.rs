//! DeleteService.

use std::sync::Arc;

use estiva_api_ecs::Error;
use estiva_api_ecs::types as api;
use estiva_model::Timestamp;
use estiva_schema::Request;
use estiva_store::Row;

use super::describe::to_api;
use super::rollout_table::RolloutRow;
use super::table::{ServiceRow, ServiceStatus};
use super::{deployment, reference};
use crate::EcsService;
use crate::cluster;
use crate::error::{self, invalid};
use crate::scope::Scope;

/// The service becomes DRAINING; the controller ends its tasks, and then it is INACTIVE.
pub(crate) async fn delete(
    service: &EcsService,
    request: Request<api::DeleteServiceRequest>,
) -> Result<api::DeleteServiceResponse, Error> {
    let Request { input, caller, .. } = request;
    let scope = Scope::of(&caller);
    let update = service.store.update(|tx| {
        let cluster = cluster::active(tx, &scope, input.cluster.as_deref())?;
        let found = reference::find(tx, &scope, &cluster.name, &input.service)?;
        let found = found.filter(|found| found.status != ServiceStatus::Inactive);
        let found = found.ok_or_else(|| Error::service_not_found_exception("Service not found."))?;
        if found.status != ServiceStatus::Active {
            return Ok::<_, Error>(found);
        }
        if found.desired_count > 0 && input.force != Some(true) {
            return Err(invalid("The service cannot be stopped while it is scaled above 0."));
        }
        let sets = tx.get::<RolloutRow>(&found.key());
        if found.is_external && input.force != Some(true) && sets.is_some_and(|sets| !sets.deployments.is_empty()) {
            return Err(invalid("The service cannot be stopped while deployments are active."));
        }
        let mut row = (*found).clone();
        row.status = ServiceStatus::Draining;
        row.desired_count = 0;
        deployment::give_up(tx, &row, "The service was deleted.", &service.ambient);
        Ok(tx.put(row))
    });
    let row = update.await.map_err(error::update)?;
    Ok(api::DeleteServiceResponse { service: Some(to_api(&service.store.view(), &row, true)) })
}

/// Forgets the services that have been INACTIVE since `before`.
pub(crate) async fn forget_inactive(service: &EcsService, before: Timestamp) -> Result<(), Error> {
    let is_due = |row: &Arc<ServiceRow>| row.inactive_since.is_some_and(|since| since < before);
    let due: Vec<_> = service.store.view().scan::<ServiceRow>("").filter(is_due).collect();
    for row in due {
        let update = service.store.update(|tx| {
            // One of the same name may have been made since.
            if let Some(row) = tx.get::<ServiceRow>(&row.key()).filter(is_due) {
                deployment::forget(tx, &row);
            }
            Ok::<_, Error>(())
        });
        update.await.map_err(error::update)?;
    }
    Ok(())
}
