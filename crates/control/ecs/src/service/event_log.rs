//! ListServiceEvents of Estiva's own API: a service's events beyond the hundred that DescribeServices shows.

use std::sync::Arc;

use estiva_api_estiva::Error;
use estiva_api_estiva::types as api;
use estiva_schema::Request;
use estiva_store::Row;

use super::event::ServiceEventRow;
use super::reference;
use crate::EcsService;
use crate::cluster;
use crate::page::Page;
use crate::scope::Scope;
use crate::task::history::translated;

/// The newest first.
pub(crate) fn list(
    service: &EcsService,
    request: &Request<api::ListServiceEventsRequest>,
) -> Result<api::ListServiceEventsResponse, Error> {
    let Request { input, caller, .. } = request;
    let scope = Scope::of(caller);
    let view = service.store.view();
    let cluster = cluster::active(&view, &scope, input.cluster.as_deref()).map_err(translated)?;
    let found = reference::find(&view, &scope, &cluster.name, &input.service).map_err(translated)?;
    let not_found = || Error::service_not_found_exception(format!("There is no service {}.", input.service));
    let found = found.ok_or_else(not_found)?;
    let page =
        Page::new(service.tokens.of(request), input.next_token.as_deref(), input.max_results).map_err(translated)?;
    let rows = view.scan_from::<ServiceEventRow>(&format!("{}/", found.key()), &page.after);
    let (rows, next_token) = page.cut(rows, |row: &Arc<ServiceEventRow>| row.key());
    let event =
        |row: &Arc<ServiceEventRow>| api::ServiceEvent { id: row.id.clone(), at: row.at, message: row.message.clone() };
    Ok(api::ListServiceEventsResponse { events: Some(rows.iter().map(event).collect()), next_token })
}
