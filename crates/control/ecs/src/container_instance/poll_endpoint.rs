//! DiscoverPollEndpoint.

use estiva_api_ecs::Error;
use estiva_api_ecs::types as api;
use estiva_schema::Request;

use super::reference::{authorise, find};
use super::table::ContainerInstanceStatus;
use crate::EcsService;
use crate::cluster;
use crate::scope::Scope;

pub(super) fn discover(
    service: &EcsService,
    request: &Request<api::DiscoverPollEndpointRequest>,
) -> Result<api::DiscoverPollEndpointResponse, Error> {
    let Request { input, caller, .. } = request;
    let scope = Scope::of(caller);
    let view = service.store.view();
    if let Some(reference) = input.container_instance.as_ref().filter(|reference| !reference.is_empty()) {
        // The model has no ClusterNotFoundException for this operation.
        let cluster = cluster::active(&view, &scope, input.cluster.as_deref());
        let cluster = cluster.map_err(|error| Error::client_exception(error.message()))?;
        let row = find(&view, &scope, &cluster.name, reference)?;
        let row = row.filter(|row| row.status != ContainerInstanceStatus::Inactive);
        let row =
            row.ok_or_else(|| Error::client_exception(format!("Container instance {reference} is not registered.")))?;
        authorise(caller, &row)?;
    }
    let endpoint = &service.options.endpoint;
    Ok(api::DiscoverPollEndpointResponse {
        endpoint: Some(format!("{endpoint}/acs")),
        telemetry_endpoint: Some(format!("{endpoint}/tcs")),
        service_connect_endpoint: None,
    })
}
