//! Service revisions: what a service was, each time it was deployed.

use std::sync::Arc;

use estiva_api_ecs::Error;
use estiva_api_ecs::types as api;
use estiva_model::{Ambient, hex_id};
use estiva_schema::Request;
use estiva_store::{Row, Snapshot, Tx};
use rand::RngExt;

use super::table::{ServiceRevisionRow, ServiceRow, child_key};
use crate::EcsService;
use crate::capacity_provider::StrategyItem;
use crate::error::invalid;
use crate::failure::missing;
use crate::scope::Scope;
use crate::task_definition::table::{self as task_definition, TaskDefinitionRow};

/// DescribeServiceRevisions takes so many at a time.
const REVISIONS_MAX: usize = 20;

/// `arn:aws:ecs:region:account:service-revision/cluster/service/id`
pub(super) fn arn(service: &ServiceRow, id: &str) -> String {
    service.scope.arn(format!("service-revision/{}/{}/{id}", service.cluster, service.name))
}

pub(super) fn find_revision(view: &Snapshot, service: &ServiceRow, id: &str) -> Option<Arc<ServiceRevisionRow>> {
    view.get::<ServiceRevisionRow>(&child_key(&service.key(), id))
}

/// Notes what the service is now.
pub(super) fn record(
    tx: &mut Tx<'_>,
    service: &ServiceRow,
    definition: &TaskDefinitionRow,
    ambient: &Ambient,
) -> std::sync::Arc<ServiceRevisionRow> {
    let settings = api::ServiceRevision {
        capacity_provider_strategy: (!service.capacity_provider_strategy.is_empty())
            .then(|| service.capacity_provider_strategy.iter().map(StrategyItem::to_api).collect()),
        created_at: Some(ambient.now()),
        launch_type: service.settings.launch_type,
        network_configuration: service.settings.network_configuration.clone(),
        platform_family: service.settings.platform_family.clone(),
        platform_version: service.settings.platform_version.clone(),
        ..api::ServiceRevision::default()
    };
    tx.put(ServiceRevisionRow {
        service: service.key(),
        id: number(ambient),
        family: definition.family.clone(),
        revision: definition.revision,
        settings,
        image_digests: std::collections::BTreeMap::new(),
    })
}

/// 19 decimal digits, as ECS's ids of revisions and deployments have.
pub(super) fn number(ambient: &Ambient) -> String {
    let mut rng = ambient.rng();
    let first = char::from(b'1' + rng.random_range(0..9_u8));
    std::iter::once(first).chain((0..18).map(|_| char::from(b'0' + rng.random_range(0..10_u8)))).collect()
}

/// An id of a service deployment or of a hook.
pub(super) fn opaque(ambient: &Ambient) -> String {
    hex_id(&mut ambient.rng(), 21)
}

/// The service's key and the last part of an ARN `kind/cluster/service/id`.
pub(super) fn parse(scope: &Scope, kind: &str, text: &str) -> Option<(String, String)> {
    match scope.parts_of(kind, text)?.as_slice() {
        [cluster, service, id] => Some((scope.key(&[cluster, service]), (*id).to_owned())),
        _ => None,
    }
}

pub(crate) fn describe(
    service: &EcsService,
    request: &Request<api::DescribeServiceRevisionsRequest>,
) -> Result<api::DescribeServiceRevisionsResponse, Error> {
    let Request { input, caller, .. } = request;
    let scope = Scope::of(caller);
    let view = service.store.view();
    if !(1..=REVISIONS_MAX).contains(&input.service_revision_arns.len()) {
        return Err(invalid(format!("serviceRevisionArns: 1 to {REVISIONS_MAX} ARNs must be given.")));
    }
    let (mut revisions, mut failures) = (Vec::new(), Vec::new());
    for text in &input.service_revision_arns {
        let illegal = || invalid(format!("Invalid service revision ARN: {text}"));
        let (key, id) = parse(&scope, "service-revision", text).ok_or_else(illegal)?;
        let row = view.get::<ServiceRevisionRow>(&child_key(&key, &id));
        match row.zip(view.get::<ServiceRow>(&key)) {
            Some((row, service)) => revisions.push(to_api(&view, &service, &row)),
            None => failures.push(missing(text.clone())),
        }
    }
    Ok(api::DescribeServiceRevisionsResponse { service_revisions: Some(revisions), failures: Some(failures) })
}

fn to_api(view: &estiva_store::Snapshot, service: &ServiceRow, row: &ServiceRevisionRow) -> api::ServiceRevision {
    let key = task_definition::revision_key(&service.scope, &row.family, row.revision);
    let definition = view.get::<TaskDefinitionRow>(&key);
    let containers = definition.iter().flat_map(|row| row.definition.container_definitions.iter().flatten());
    let image = |container: &api::ContainerDefinition| {
        let name = container.name.clone().unwrap_or_default();
        api::ContainerImage {
            image: container.image.clone(),
            image_digest: row.image_digests.get(&name).cloned(),
            container_name: Some(name),
        }
    };
    api::ServiceRevision {
        service_revision_arn: Some(arn(service, &row.id)),
        service_arn: Some(service.arn()),
        cluster_arn: Some(service.scope.arn(format!("cluster/{}", service.cluster))),
        task_definition: Some(task_definition::arn(&service.scope, &row.family, row.revision)),
        container_images: Some(containers.map(image).collect()),
        guard_duty_enabled: Some(false),
        load_balancers: Some(Vec::new()),
        service_registries: Some(Vec::new()),
        ..row.settings.clone()
    }
}
