//! The operations on task sets.

use std::sync::Arc;

use estiva_api_ecs::Error;
use estiva_api_ecs::types as api;
use estiva_schema::Request;
use estiva_store::{Row, Snapshot, Tx};

use super::super::create::{BOTH_LAUNCH_TYPE_AND_STRATEGY, TOKEN_CHARS_MAX, check_runnable, fill_in};
use super::super::rollout_table::{Deployment, DeploymentStatus, RolloutRow, TaskSet};
use super::super::table::ServiceRow;
use super::super::task_counts::TaskCounts;
use super::super::{check, deployment, network, reference, revision};
use super::to_api;
use crate::EcsService;
use crate::cluster::table::ClusterRow;
use crate::error::{self, invalid};
use crate::failure::missing;
use crate::scope::Scope;
use crate::tag::Tags;
use crate::{capacity_provider, cluster, idempotency, task_definition};

/// Task sets of a service.
const SETS_MAX: usize = 5;

pub(crate) async fn create(
    service: &EcsService,
    request: Request<api::CreateTaskSetRequest>,
) -> Result<api::CreateTaskSetResponse, Error> {
    let Request { mut input, caller, .. } = request;
    let scope = Scope::of(&caller);
    input.client_token = idempotency::token(input.client_token.as_ref());
    input.platform_version = input.platform_version.filter(|version| !version.is_empty());
    check::unsupported(&[
        ("loadBalancers", check::given(input.load_balancers.as_ref())),
        ("serviceRegistries", check::given(input.service_registries.as_ref())),
    ])?;
    if let Some(token) = &input.client_token {
        idempotency::check_token(token, TOKEN_CHARS_MAX)?;
    }
    let request_digest = input.client_token.as_ref().map(|_| idempotency::digest(&input));
    let scale = scale(input.scale.as_ref())?;
    let tags = Tags::from_request(input.tags.clone())?;
    let ambient = &service.ambient;
    let update = service.store.update(|tx| {
        let cluster = cluster::active(tx, &scope, Some(&input.cluster))?;
        let found = external(tx, &scope, &cluster.name, &input.service)?;
        let mut rollout = deployment::rollout(tx, &found);
        if let Some((known, state)) = made_by(&rollout, input.client_token.as_ref()) {
            if state.request_digest.is_some() && state.request_digest != request_digest {
                return Err(invalid("Creation of task set was not idempotent."));
            }
            return Ok((found, known.clone()));
        }
        let definition = task_definition::reference::active(tx, &scope, &input.task_definition)?;
        let own = wanted(&scope, &cluster, &found, &input)?;
        check_runnable(&own, &definition)?;
        if rollout.deployments.len() >= SETS_MAX {
            return Err(invalid(format!("A service can have at most {SETS_MAX} task sets.")));
        }
        let revision = revision::record(tx, &own, &definition, ambient);
        let id = format!("ecs-svc/{}", revision::number(ambient));
        let set = Deployment {
            status: DeploymentStatus::Active,
            task_set: Some(TaskSet {
                scale,
                external_id: input.external_id.clone(),
                tags: tags.clone(),
                is_stable: false,
                stability_at: ambient.now(),
                client_token: input.client_token.clone(),
                request_digest: request_digest.clone(),
            }),
            ..deployment::entry(&id, &revision.id, ambient.now())
        };
        rollout.deployments.insert(0, set.clone());
        tx.put(rollout);
        deployment::prune_revisions_of_sets(tx, &found);
        Ok::<_, Error>((found, set))
    });
    let (found, set) = update.await.map_err(error::update)?;
    Ok(api::CreateTaskSetResponse { task_set: Some(shown(service, &found, &set)) })
}

pub(crate) async fn update(
    service: &EcsService,
    request: Request<api::UpdateTaskSetRequest>,
) -> Result<api::UpdateTaskSetResponse, Error> {
    let Request { input, caller, .. } = request;
    let scope = Scope::of(&caller);
    let scale = scale(Some(&input.scale))?;
    let update = service.store.update(|tx| {
        let cluster = cluster::active(tx, &scope, Some(&input.cluster))?;
        let found = external(tx, &scope, &cluster.name, &input.service)?;
        let set = change(tx, &found, &input.task_set, |set| {
            set.backoff = set.backoff.forgotten();
            let Some(state) = set.task_set.as_mut().filter(|state| state.scale.to_bits() != scale.to_bits()) else {
                return;
            };
            state.scale = scale;
            state.is_stable = false;
            set.updated_at = service.ambient.now();
        })?;
        Ok::<_, Error>((found, set))
    });
    let (found, set) = update.await.map_err(error::update)?;
    Ok(api::UpdateTaskSetResponse { task_set: Some(shown(service, &found, &set)) })
}

pub(crate) async fn delete(
    service: &EcsService,
    request: Request<api::DeleteTaskSetRequest>,
) -> Result<api::DeleteTaskSetResponse, Error> {
    let Request { input, caller, .. } = request;
    let scope = Scope::of(&caller);
    let update = service.store.update(|tx| {
        let cluster = cluster::active(tx, &scope, Some(&input.cluster))?;
        let found = external(tx, &scope, &cluster.name, &input.service)?;
        let set = find(&deployment::rollout(tx, &found), &input.task_set)?.clone();
        let is_scaled = set.task_set.as_ref().is_some_and(|state| state.scale > 0.0);
        if is_scaled && input.force != Some(true) {
            return Err(invalid("The task set cannot be deleted while its scale is above 0. Use force."));
        }
        let set = change(tx, &found, &input.task_set, |set| {
            if set.status != DeploymentStatus::Draining {
                set.status = DeploymentStatus::Draining;
                set.updated_at = service.ambient.now();
            }
        })?;
        Ok::<_, Error>((found, set))
    });
    let (found, set) = update.await.map_err(error::update)?;
    Ok(api::DeleteTaskSetResponse { task_set: Some(shown(service, &found, &set)) })
}

pub(crate) async fn set_primary(
    service: &EcsService,
    request: Request<api::UpdateServicePrimaryTaskSetRequest>,
) -> Result<api::UpdateServicePrimaryTaskSetResponse, Error> {
    let Request { input, caller, .. } = request;
    let scope = Scope::of(&caller);
    let update = service.store.update(|tx| {
        let cluster = cluster::active(tx, &scope, Some(&input.cluster))?;
        let found = external(tx, &scope, &cluster.name, &input.service)?;
        let mut rollout = deployment::rollout(tx, &found);
        let set = find(&rollout, &input.primary_task_set)?;
        if set.status == DeploymentStatus::Draining {
            return Err(invalid("A task set that is DRAINING cannot become PRIMARY."));
        }
        let id = set.id.clone();
        for set in &mut rollout.deployments {
            if set.id == id && set.status != DeploymentStatus::Primary {
                set.status = DeploymentStatus::Primary;
                set.updated_at = service.ambient.now();
            } else if set.id != id && set.status == DeploymentStatus::Primary {
                set.status = DeploymentStatus::Active;
            }
        }
        let set = find(&rollout, &id)?.clone();
        tx.put(rollout);
        Ok::<_, Error>((found, set))
    });
    let (found, set) = update.await.map_err(error::update)?;
    Ok(api::UpdateServicePrimaryTaskSetResponse { task_set: Some(shown(service, &found, &set)) })
}

pub(crate) fn describe(
    service: &EcsService,
    request: &Request<api::DescribeTaskSetsRequest>,
) -> Result<api::DescribeTaskSetsResponse, Error> {
    let Request { input, caller, .. } = request;
    let scope = Scope::of(caller);
    let view = service.store.view();
    let cluster = cluster::active(&view, &scope, Some(&input.cluster))?;
    let found = external(&view, &scope, &cluster.name, &input.service)?;
    let rollout = deployment::rollout(&view, &found);
    let with_tags = input.include.iter().flatten().any(|field| *field == api::TaskSetField::Tags);
    let asked = input.task_sets.as_deref().unwrap_or_default();
    let (mut sets, mut failures) = (Vec::new(), Vec::new());
    let show = |set: &Deployment| to_api(&view, &found, set, TaskCounts::of(&view, &set.id), with_tags);
    if asked.is_empty() {
        sets.extend(rollout.deployments.iter().map(show));
    }
    for text in asked {
        match find(&rollout, text) {
            Ok(set) => sets.push(show(set)),
            Err(_) => failures.push(missing(text.clone())),
        }
    }
    Ok(api::DescribeTaskSetsResponse { task_sets: Some(sets), failures: Some(failures) })
}

fn scale(scale: Option<&api::Scale>) -> Result<f64, Error> {
    let value = scale.and_then(|scale| scale.value).unwrap_or(0.0);
    if !(0.0..=100.0).contains(&value) {
        return Err(invalid("scale: must be from 0 to 100 percent."));
    }
    Ok(value)
}

/// The ACTIVE service with that controller.
fn external(view: &Snapshot, scope: &Scope, cluster: &str, text: &str) -> Result<Arc<ServiceRow>, Error> {
    let found = reference::active(view, scope, cluster, text)?;
    if found.is_external {
        return Ok(found);
    }
    Err(invalid("Task sets are for services with the EXTERNAL deployment controller."))
}

fn find<'a>(rollout: &'a RolloutRow, text: &str) -> Result<&'a Deployment, Error> {
    let set = rollout.deployments.iter().find(|set| set.id == text || text.ends_with(&format!("/{}", set.id)));
    set.ok_or_else(|| Error::task_set_not_found_exception("The specified task set was not found."))
}

fn change(
    tx: &mut Tx<'_>,
    service: &ServiceRow,
    text: &str,
    change: impl FnOnce(&mut Deployment),
) -> Result<Deployment, Error> {
    let mut rollout = deployment::rollout(tx, service);
    let id = find(&rollout, text)?.id.clone();
    if let Some(set) = rollout.deployment_mut(&id) {
        change(set);
        // What it is now may find room.
        set.unplaced = 0;
    }
    let set = find(&rollout, &id)?.clone();
    tx.put(rollout);
    Ok(set)
}

/// The task set that a repeated call means.
fn made_by<'a>(rollout: &'a RolloutRow, token: Option<&String>) -> Option<(&'a Deployment, &'a TaskSet)> {
    let token = token?;
    let mut sets = rollout.deployments.iter().filter_map(|set| set.task_set.as_ref().map(|state| (set, state)));
    sets.find(|(_, state)| state.client_token.as_ref() == Some(token))
}

/// The service as the task set is to have it.
fn wanted(
    scope: &Scope,
    cluster: &ClusterRow,
    found: &ServiceRow,
    input: &api::CreateTaskSetRequest,
) -> Result<ServiceRow, Error> {
    let strategy = input.capacity_provider_strategy.as_deref().unwrap_or_default();
    if input.launch_type.is_some() && !strategy.is_empty() {
        return Err(invalid(BOTH_LAUNCH_TYPE_AND_STRATEGY));
    }
    let mut own = found.clone();
    own.capacity_provider_strategy = capacity_provider::check_strategy(scope, strategy, &cluster.capacity_providers)?;
    capacity_provider::check_runnable(&own.capacity_provider_strategy)?;
    let default = own.capacity_provider_strategy.is_empty().then_some(api::LaunchType::Ec2);
    own.settings.launch_type = input.launch_type.or(default);
    own.settings.network_configuration = network::filled_in(input.network_configuration.as_ref());
    own.settings.platform_version.clone_from(&input.platform_version);
    fill_in(&mut own);
    check::service(&own)?;
    Ok(own)
}

fn shown(service: &EcsService, found: &ServiceRow, set: &Deployment) -> api::TaskSet {
    let view = service.store.view();
    let found = view.get::<ServiceRow>(&found.key());
    let found = found.as_deref();
    found.map(|found| to_api(&view, found, set, TaskCounts::of(&view, &set.id), true)).unwrap_or_default()
}
