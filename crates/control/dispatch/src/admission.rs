//! Who may open a session for which container instance.

use std::sync::Arc;

use estiva_ecs::container_instance::table::{ContainerInstanceRow, ContainerInstanceStatus, key};
use estiva_ecs::scope::Scope;
use estiva_model::Principal;
use estiva_store::Snapshot;
use estiva_wire::server::{Refusal, Upgrade};
use hyper::StatusCode;
use serde_json::json;

/// The container instance that the request speaks for. ACS and TCS name their parameters differently; the cluster may
/// be a name or an ARN, and may be left out, for the instance's ARN has it too.
pub(crate) fn instance(
    view: &Snapshot,
    upgrade: &Upgrade,
    cluster_parameter: &str,
    instance_parameter: &str,
) -> Result<Arc<ContainerInstanceRow>, Refusal> {
    let scope = Scope::of(&upgrade.caller);
    let arn = upgrade.parameter(instance_parameter).unwrap_or_default();
    let unknown = || refusal("InvalidInstanceException", &format!("There is no container instance {arn:?}."));
    let mut parts = arn.rsplit('/');
    let (id, cluster) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    if scope.name_in("container-instance", arn) != Some(id) || cluster.is_empty() {
        return Err(unknown());
    }
    let row = view.get::<ContainerInstanceRow>(&key(&scope, cluster, id)).ok_or_else(unknown)?;
    if upgrade.caller.principal != Principal::Root && upgrade.caller.arn() != row.registered_by {
        return Err(refusal("AccessDeniedException", "The container instance is another principal's."));
    }
    let named = upgrade.parameter(cluster_parameter).filter(|named| !named.is_empty());
    if let Some(named) = named
        && scope.name_in("cluster", named) != Some(cluster)
    {
        return Err(refusal("InvalidClusterException", &format!("The instance is not of cluster {named:?}.")));
    }
    if row.status == ContainerInstanceStatus::Inactive {
        return Err(refusal("InactiveInstanceException", "The container instance is deregistered."));
    }
    Ok(row)
}

/// The caller has no business here.
pub(crate) fn refused(message: &str) -> Refusal {
    refusal("AccessDeniedException", message)
}

/// There is no such session with a program.
pub(crate) fn no_session() -> Refusal {
    let body = json!({ "message": "There is no such session." }).to_string();
    Refusal { status: StatusCode::NOT_FOUND, body }
}

/// There is no room for one more session.
pub(crate) fn too_many() -> Refusal {
    let body = json!({ "ServerException": "There are too many sessions." }).to_string();
    Refusal { status: StatusCode::SERVICE_UNAVAILABLE, body }
}

/// AWS's agent waits an hour after an InactiveInstanceException, and backs off after anything else.
fn refusal(kind: &str, message: &str) -> Refusal {
    Refusal { status: StatusCode::BAD_REQUEST, body: json!({ kind: message }).to_string() }
}
