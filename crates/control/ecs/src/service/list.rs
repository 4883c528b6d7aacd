//! ListServices, and ListServicesByNamespace, of which there are none yet.

use std::sync::Arc;

use estiva_api_ecs::Error;
use estiva_api_ecs::types as api;
use estiva_schema::Request;
use estiva_store::Row;

use super::table::{BY_CLUSTER_LAUNCH_TYPE_STATUS, BY_CLUSTER_STATUS, ServiceRow};
use crate::EcsService;
use crate::cluster;
use crate::page::Page;
use crate::scope::Scope;

/// ListServices gives so many unless it is told otherwise.
const PAGE_DEFAULT: i32 = 10;

/// The ACTIVE services of a cluster; those that are DRAINING are not listed.
pub(crate) fn list(
    service: &EcsService,
    request: &Request<api::ListServicesRequest>,
) -> Result<api::ListServicesResponse, Error> {
    let Request { input, caller, .. } = request;
    let scope = Scope::of(caller);
    let view = service.store.view();
    let cluster = cluster::active(&view, &scope, input.cluster.as_deref())?;
    let page =
        Page::new(service.tokens.of(request), input.next_token.as_deref(), input.max_results.or(Some(PAGE_DEFAULT)))?;
    let (index, value) = match input.launch_type {
        Some(kind) => (BY_CLUSTER_LAUNCH_TYPE_STATUS, scope.key(&[&cluster.name, kind.as_str(), "ACTIVE"])),
        None => (BY_CLUSTER_STATUS, scope.key(&[&cluster.name, "ACTIVE"])),
    };
    let is_managed = input.resource_management_type == Some(api::ResourceManagementType::Ecs);
    let passes = |row: &Arc<ServiceRow>| {
        !is_managed
            && input
                .scheduling_strategy
                .is_none_or(|strategy| (strategy == api::SchedulingStrategy::Daemon) == row.is_daemon)
    };
    let rows = view.index_from::<ServiceRow>(index, &value, &page.after).filter(passes);
    let (rows, next_token) = page.cut(rows, |row| row.key());
    Ok(api::ListServicesResponse { service_arns: Some(rows.iter().map(|row| row.arn()).collect()), next_token })
}
