//! Who may open a session for which container instance.

use std::sync::Arc;

use estiva_ecs::container_instance::table::{ContainerInstanceRow, ContainerInstanceStatus, key};
use estiva_ecs::scope::Scope;
use estiva_model::Principal;
use estiva_store::Snapshot;
use estiva_wire::server::{Refusal, Upgrade};
use hyper::StatusCode;
use serde_json::json;

/// The container instance that the request speaks for.
pub(crate) fn instance(
    view: &Snapshot,
    upgrade: &Upgrade,
    parameter: &str,
) -> Result<Arc<ContainerInstanceRow>, Refusal> {
    let scope = Scope::of(&upgrade.caller);
    let arn = upgrade.parameter(parameter).unwrap_or_default();
    let unknown = || refusal("InvalidInstanceException", &format!("There is no container instance {arn:?}."));
    let mut parts = arn.rsplit('/');
    let (id, cluster) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    if scope.name_in("container-instance", arn) != Some(id) || cluster.is_empty() {
        return Err(unknown());
    }
    let row = view.get::<ContainerInstanceRow>(&key(&scope, cluster, id)).ok_or_else(unknown)?;
    if row.status == ContainerInstanceStatus::Inactive {
        return Err(refusal("InactiveInstanceException", "The container instance is deregistered."));
    }
    if upgrade.caller.principal != Principal::Root && upgrade.caller.arn() != row.registered_by {
        return Err(refusal("AccessDeniedException", "The container instance is another principal's."));
    }
    Ok(row)
}

/// AWS's agent waits an hour after an InactiveInstanceException, and backs off after anything else.
pub(crate) fn refusal(kind: &str, message: &str) -> Refusal {
    Refusal { status: StatusCode::BAD_REQUEST, body: json!({ kind: message }).to_string() }
}
