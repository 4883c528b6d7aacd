//! Deployments: how one begins, and how one is given up. In between the controller leads it.

pub mod operations;

use std::collections::BTreeSet;
use std::sync::Arc;

use estiva_model::Ambient;
use estiva_planning::deployment::{Backoff, Roster, Stage, Threshold};
use estiva_store::{Row, Snapshot, Tx};

use super::rollout_table::{
    Deployment, DeploymentStatus, Rollout, RolloutRow, ServiceDeploymentRow, ServiceDeploymentStatus,
};
use super::table::{ServiceRevisionRow, ServiceRow, child_key};
use super::{controller, event, hook, revision};
use crate::task_definition::table::TaskDefinitionRow;
use estiva_api_ecs::types as api;

/// Service deployments that are kept of a service. ECS keeps those of 90 days.
const KEPT_MAX: usize = 100;

/// `arn:aws:ecs:region:account:service-deployment/cluster/service/id`
pub(super) fn arn(service: &ServiceRow, id: &str) -> String {
    service.scope.arn(format!("service-deployment/{}/{}/{id}", service.cluster, service.name))
}

/// Begins a deployment of what the service is now. One that is under way is stopped where it is.
pub(super) fn begin(tx: &mut Tx<'_>, service: &ServiceRow, definition: &TaskDefinitionRow, ambient: &Ambient) {
    let revision = revision::record(tx, service, definition, ambient);
    let mut rollout = rollout(tx, service);
    let now = ambient.now();
    end_under_way(tx, &mut rollout, "A newer deployment of the service took its place.", ambient);
    let id = format!("ecs-svc/{}", revision::number(ambient));
    let source = rollout.deployments.iter().find(|deployment| deployment.was_completed).map(|it| it.id.clone());
    let source_revisions = rollout.deployments.iter().map(|deployment| deployment.revision.clone()).collect();
    for deployment in &mut rollout.deployments {
        deployment.status = DeploymentStatus::Active;
    }
    rollout.deployments.insert(0, entry(&id, &revision.id, now));
    let configuration = service.settings.deployment_configuration.clone().unwrap_or_default();
    let row = ServiceDeploymentRow {
        service: service.key(),
        id: revision::opaque(ambient),
        deployment: id,
        source,
        source_revisions,
        target_revision: revision.id.clone(),
        status: ServiceDeploymentStatus::Pending,
        status_reason: None,
        stage: Stage::ReconcileService,
        configuration,
        hooks: Vec::new(),
        bake_until: None,
        triggered_alarms: Vec::new(),
        failures: 0,
        threshold: None,
        rollback: None,
        created_at: now,
        started_at: None,
        stopped_at: None,
        finished_at: None,
        updated_at: now,
    };
    rollout.under_way = Some(row.id.clone());
    rollout.latest = Some(row.id.clone());
    rollout.forget_unplaced();
    rollout.extra = 0;
    rollout.is_steady = false;
    if service.is_daemon {
        rollout.instances = controller::eligible(tx, service, Some(&revision), &Roster::default()).len();
    }
    tx.put(row);
    tx.put(rollout);
    prune(tx, service);
}

/// Forgets the oldest service deployments beyond what is kept, and the revisions that only they were about.
fn prune(tx: &mut Tx<'_>, service: &ServiceRow) {
    let prefix = child_key(&service.key(), "");
    let mut rows: Vec<_> = tx.scan::<ServiceDeploymentRow>(&prefix).collect();
    if rows.len() <= KEPT_MAX {
        return;
    }
    rows.sort_by_key(|row| std::cmp::Reverse(row.created_at));
    let outdated = rows.split_off(KEPT_MAX);
    let current = rollout(tx, service).deployments;
    let of_rows = rows.iter().flat_map(|row| row.source_revisions.iter().chain([&row.target_revision]));
    let wanted: BTreeSet<&String> = of_rows.chain(current.iter().map(|entry| &entry.revision)).collect();
    for row in &outdated {
        tx.delete::<ServiceDeploymentRow>(&row.key());
        for id in row.source_revisions.iter().chain([&row.target_revision]).filter(|id| !wanted.contains(id)) {
            tx.delete::<ServiceRevisionRow>(&child_key(&service.key(), id));
        }
    }
}

/// Forgets the oldest revisions of former task sets beyond what is kept.
pub(super) fn prune_revisions_of_sets(tx: &mut Tx<'_>, service: &ServiceRow) {
    let current = rollout(tx, service).deployments;
    let is_over = |row: &Arc<ServiceRevisionRow>| current.iter().all(|set| set.revision != row.id);
    let prefix = child_key(&service.key(), "");
    let mut rows: Vec<_> = tx.scan::<ServiceRevisionRow>(&prefix).filter(is_over).collect();
    if rows.len() <= KEPT_MAX {
        return;
    }
    rows.sort_by_key(|row| std::cmp::Reverse(row.settings.created_at));
    for row in &rows[KEPT_MAX..] {
        tx.delete::<ServiceRevisionRow>(&row.key());
    }
}

/// Forgets everything of a service that is INACTIVE.
pub(super) fn forget(tx: &mut Tx<'_>, service: &ServiceRow) {
    let next_event = rollout(tx, service).next_event;
    for number in next_event.saturating_sub(event::KEPT_MAX)..next_event {
        event::delete(tx, &service.key(), number);
    }
    let prefix = child_key(&service.key(), "");
    let deployments: Vec<String> = tx.scan::<ServiceDeploymentRow>(&prefix).map(|row| row.key()).collect();
    let revisions: Vec<String> = tx.scan::<ServiceRevisionRow>(&prefix).map(|row| row.key()).collect();
    for key in deployments {
        tx.delete::<ServiceDeploymentRow>(&key);
    }
    for key in revisions {
        tx.delete::<ServiceRevisionRow>(&key);
    }
    tx.delete::<RolloutRow>(&service.key());
    tx.delete::<ServiceRow>(&service.key());
}

/// An entry of `deployments[]` that is to become the service's.
pub(super) fn entry(id: &str, revision: &str, now: estiva_model::Timestamp) -> Deployment {
    Deployment {
        id: id.to_owned(),
        revision: revision.to_owned(),
        status: DeploymentStatus::Primary,
        rollout: Rollout::InProgress,
        rollout_reason: format!("ECS deployment {id} in progress."),
        was_completed: false,
        forgiven: 0,
        backoff: Backoff::default(),
        unplaced: 0,
        attempts: 0,
        created_at: now,
        updated_at: now,
        task_set: None,
    }
}

/// Stops whatever deployment is under way; the service is going.
pub(super) fn give_up(tx: &mut Tx<'_>, service: &ServiceRow, reason: &str, ambient: &Ambient) {
    let mut rollout = rollout(tx, service);
    end_under_way(tx, &mut rollout, reason, ambient);
    rollout.extra = 0;
    rollout.is_steady = false;
    tx.put(rollout);
}

fn end_under_way(tx: &mut Tx<'_>, rollout: &mut RolloutRow, reason: &str, ambient: &Ambient) {
    let Some(id) = rollout.under_way.take() else { return };
    let Some(row) = tx.get::<ServiceDeploymentRow>(&child_key(&rollout.service, &id)) else { return };
    let now = ambient.now();
    let mut row = (*row).clone();
    row.status = match row.status {
        ServiceDeploymentStatus::RollbackInProgress => ServiceDeploymentStatus::RollbackFailed,
        _ => ServiceDeploymentStatus::Stopped,
    };
    row.status_reason = Some(reason.to_owned());
    row.stopped_at.get_or_insert(now);
    row.finished_at = Some(now);
    row.updated_at = now;
    hook::end_tasks(tx, &row.close_hooks(), hook::DEPLOYMENT_ENDED, now);
    tx.put(row);
}

/// How the service's deployments stand.
pub(super) fn rollout(view: &Snapshot, service: &ServiceRow) -> RolloutRow {
    let row = view.get::<RolloutRow>(&service.key()).map(|row| (*row).clone());
    row.unwrap_or_else(|| RolloutRow { service: service.key(), ..RolloutRow::default() })
}

/// How many failed tasks the circuit breaker takes; `None` without one.
pub(super) fn threshold(configuration: &api::DeploymentConfiguration, desired: usize) -> Option<usize> {
    let breaker = configuration.deployment_circuit_breaker.as_ref().filter(|breaker| breaker.enable)?;
    Some(breaker.threshold_configuration.as_ref().map_or(Threshold::default(), threshold_of).tasks(desired))
}

/// How many failed tasks a rollback takes: as many as the deployment, and ECS's default without a circuit breaker.
pub(super) fn rollback_threshold(configuration: &api::DeploymentConfiguration, desired: usize) -> usize {
    threshold(configuration, desired).unwrap_or_else(|| Threshold::default().tasks(desired))
}

fn threshold_of(given: &api::ThresholdConfiguration) -> Threshold {
    let value = usize::try_from(given.value).unwrap_or(1);
    match given.r#type {
        api::ThresholdType::Count => Threshold::Count(value),
        api::ThresholdType::BoundedPercent => Threshold::BoundedPercent(value),
        api::ThresholdType::UnboundedPercent => Threshold::UnboundedPercent(value),
    }
}

/// Whoever changes a service may have mended what its tasks failed of: the next ones do not wait.
pub(super) fn forget_waits(tx: &mut Tx<'_>, service: &ServiceRow) {
    let mut rollout = rollout(tx, service);
    let is_waiting = |entry: &Deployment| entry.backoff != entry.backoff.forgotten();
    if rollout.deployments.iter().any(is_waiting) {
        for entry in &mut rollout.deployments {
            entry.backoff = entry.backoff.forgotten();
        }
        tx.put(rollout);
    }
}
