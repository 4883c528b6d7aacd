//! The operations on service deployments: Describe, List, Stop, Continue.

use std::sync::Arc;

use estiva_api_ecs::Error;
use estiva_api_ecs::types as api;
use estiva_schema::Request;
use estiva_store::{Row, Snapshot, Tx};

use super::super::describe::desired;
use super::super::rollout_table::{
    DeploymentStatus, HookState, HookStatus, RolloutRow, ServiceDeploymentRow, ServiceDeploymentStatus as Status,
};
use super::super::table::{ServiceRow, child_key};
use super::super::task_counts::{TaskCounts, count};
use super::super::{hook, reference, revision};
use super::arn;
use crate::EcsService;
use crate::cluster;
use crate::error::{self, invalid};
use crate::failure::missing;
use crate::page::Page;
use crate::scope::Scope;

/// DescribeServiceDeployments takes so many at a time.
const DEPLOYMENTS_MAX: usize = 20;
/// ListServiceDeployments gives so many unless it is told otherwise.
const PAGE_DEFAULT: i32 = 20;

pub(crate) fn describe(
    service: &EcsService,
    request: &Request<api::DescribeServiceDeploymentsRequest>,
) -> Result<api::DescribeServiceDeploymentsResponse, Error> {
    let Request { input, caller, .. } = request;
    let scope = Scope::of(caller);
    let view = service.store.view();
    if !(1..=DEPLOYMENTS_MAX).contains(&input.service_deployment_arns.len()) {
        return Err(invalid(format!("serviceDeploymentArns: 1 to {DEPLOYMENTS_MAX} ARNs must be given.")));
    }
    let (mut deployments, mut failures) = (Vec::new(), Vec::new());
    for text in &input.service_deployment_arns {
        let (key, id) = parse(&scope, text)?;
        let row = view.get::<ServiceDeploymentRow>(&child_key(&key, &id));
        match row.zip(view.get::<ServiceRow>(&key)) {
            Some((row, service)) => deployments.push(to_api(&view, &service, &row)),
            None => failures.push(missing(text.clone())),
        }
    }
    Ok(api::DescribeServiceDeploymentsResponse { service_deployments: Some(deployments), failures: Some(failures) })
}

/// The newest come first.
pub(crate) fn list(
    service: &EcsService,
    request: &Request<api::ListServiceDeploymentsRequest>,
) -> Result<api::ListServiceDeploymentsResponse, Error> {
    let Request { input, caller, .. } = request;
    let scope = Scope::of(caller);
    let view = service.store.view();
    let (cluster, name) = match input.service.split('/').collect::<Vec<_>>().as_slice() {
        [_, cluster, _] if input.service.starts_with("arn:") => ((*cluster).to_owned(), input.service.as_str()),
        _ => (cluster::name_of(&scope, input.cluster.as_deref())?.to_owned(), input.service.as_str()),
    };
    let cluster = cluster::active(&view, &scope, Some(&cluster))?;
    let found = reference::find(&view, &scope, &cluster.name, name)?;
    let found = found.ok_or_else(|| Error::service_not_found_exception("Service not found."))?;
    let page =
        Page::new(service.tokens.of(request), input.next_token.as_deref(), input.max_results.or(Some(PAGE_DEFAULT)))?;
    let statuses = input.status.as_deref().unwrap_or_default();
    let is_within = |row: &Arc<ServiceDeploymentRow>| {
        let range = input.created_at.as_ref();
        range.and_then(|range| range.after).is_none_or(|after| row.created_at > after)
            && range.and_then(|range| range.before).is_none_or(|before| row.created_at < before)
    };
    let mut rows: Vec<_> = view
        .scan::<ServiceDeploymentRow>(&child_key(&found.key(), ""))
        .filter(|row| statuses.is_empty() || statuses.contains(&row.status.to_api()))
        .filter(is_within)
        .collect();
    let order = |row: &Arc<ServiceDeploymentRow>| format!("{:020}/{}", i64::MAX - row.created_at.as_millis(), row.id);
    rows.sort_by_key(order);
    let (rows, next_token) = page.cut(rows.into_iter().filter(|row| order(row) > page.after), order);
    let brief = |row: &Arc<ServiceDeploymentRow>| api::ServiceDeploymentBrief {
        cluster_arn: Some(found.scope.arn(format!("cluster/{}", found.cluster))),
        created_at: Some(row.created_at),
        finished_at: row.finished_at,
        service_arn: Some(found.arn()),
        service_deployment_arn: Some(arn(&found, &row.id)),
        started_at: row.started_at,
        status: Some(row.status.to_api()),
        status_reason: row.status_reason.clone(),
        target_service_revision_arn: Some(revision::arn(&found, &row.target_revision)),
    };
    Ok(api::ListServiceDeploymentsResponse { service_deployments: Some(rows.iter().map(brief).collect()), next_token })
}

/// Asks the controller to end a deployment: where it is, or where it came from.
pub(crate) async fn stop(
    service: &EcsService,
    request: Request<api::StopServiceDeploymentRequest>,
) -> Result<api::StopServiceDeploymentResponse, Error> {
    let Request { input, caller, .. } = request;
    let scope = Scope::of(&caller);
    let (key, id) = parse(&scope, &input.service_deployment_arn)?;
    let aborts = input.stop_type == Some(api::StopServiceDeploymentStopType::Abort);
    let update = service.store.update(|tx| {
        let mut row = (*under_way(tx, &key, &id)?).clone();
        let wanted = if aborts { Status::StopRequested } else { Status::RollbackRequested };
        if row.status == wanted {
            return Ok(());
        }
        if !matches!(row.status, Status::Pending | Status::InProgress) {
            return Err(Error::conflict_exception("The service deployment is being stopped already."));
        }
        if !aborts && row.source.is_none() {
            return Err(invalid("The service deployment cannot be rolled back: there is no earlier one. Use ABORT."));
        }
        row.status = wanted;
        row.stopped_at = Some(service.ambient.now());
        row.updated_at = service.ambient.now();
        tx.put(row);
        Ok::<_, Error>(())
    });
    update.await.map_err(error::update)?;
    Ok(api::StopServiceDeploymentResponse { service_deployment_arn: Some(input.service_deployment_arn) })
}

/// Answers a PAUSE hook.
pub(crate) async fn proceed(
    service: &EcsService,
    request: Request<api::ContinueServiceDeploymentRequest>,
) -> Result<api::ContinueServiceDeploymentResponse, Error> {
    let Request { input, caller, .. } = request;
    let scope = Scope::of(&caller);
    let (key, id) = parse(&scope, &input.service_deployment_arn)?;
    let rolls_back = input.action == Some(api::DeploymentLifecycleHookAction::Rollback);
    let update = service.store.update(|tx| {
        let mut row = (*under_way(tx, &key, &id)?).clone();
        let waiting = row.hooks.iter_mut().find(|hook| hook.id == input.hook_id);
        let waiting = waiting.filter(|hook| hook.status == HookStatus::AwaitingAction);
        let waiting =
            waiting.ok_or_else(|| invalid(format!("hookId: no hook '{}' waits for an action.", input.hook_id)))?;
        if rolls_back {
            waiting.status = HookStatus::Failed;
            waiting.reason = Some("ContinueServiceDeployment asked for a rollback".to_owned());
        } else {
            waiting.status = HookStatus::Succeeded;
        }
        row.updated_at = service.ambient.now();
        tx.put(row);
        Ok::<_, Error>(())
    });
    update.await.map_err(error::update)?;
    Ok(api::ContinueServiceDeploymentResponse { service_deployment_arn: Some(input.service_deployment_arn) })
}

fn parse(scope: &Scope, text: &str) -> Result<(String, String), Error> {
    let illegal = || invalid(format!("Invalid service deployment ARN: {text}"));
    revision::parse(scope, "service-deployment", text).ok_or_else(illegal)
}

fn under_way(tx: &Tx<'_>, service: &str, id: &str) -> Result<Arc<ServiceDeploymentRow>, Error> {
    let row = tx.get::<ServiceDeploymentRow>(&child_key(service, id));
    let row =
        row.ok_or_else(|| Error::service_deployment_not_found_exception("The service deployment was not found."))?;
    if row.status.is_over() {
        return Err(Error::conflict_exception("The service deployment has ended already."));
    }
    Ok(row)
}

fn to_api(view: &Snapshot, service: &ServiceRow, row: &ServiceDeploymentRow) -> api::ServiceDeployment {
    let rollout = view.get::<RolloutRow>(&row.service);
    let is_over = row.status.is_over();
    let wanted = rollout.as_ref().map_or(0, |rollout| desired(service, rollout));
    let summary = |id: &String| {
        let entry = rollout.iter().flat_map(|rollout| &rollout.deployments).find(|it| it.revision == *id);
        let counts = entry.map(|entry| TaskCounts::of(view, &entry.id)).unwrap_or_default();
        let requested = entry.filter(|entry| entry.status == DeploymentStatus::Primary).map_or(0, |_| wanted);
        api::ServiceRevisionSummary {
            arn: Some(revision::arn(service, id)),
            pending_task_count: Some(count(counts.pending)),
            requested_task_count: Some(count(requested)),
            running_task_count: Some(count(counts.running)),
            ..api::ServiceRevisionSummary::default()
        }
    };
    let monitoring = if is_over {
        api::ServiceDeploymentRollbackMonitorsStatus::MonitoringComplete
    } else {
        api::ServiceDeploymentRollbackMonitorsStatus::Monitoring
    };
    let has_tripped = row.threshold.is_some_and(|threshold| row.failures >= threshold);
    let alarms = row.configuration.alarms.as_ref().filter(|alarms| alarms.enable);
    let triggered = api::ServiceDeploymentRollbackMonitorsStatus::Triggered;
    let disabled = api::ServiceDeploymentRollbackMonitorsStatus::Disabled;
    api::ServiceDeployment {
        service_deployment_arn: Some(arn(service, &row.id)),
        service_arn: Some(service.arn()),
        cluster_arn: Some(service.scope.arn(format!("cluster/{}", service.cluster))),
        status: Some(row.status.to_api()),
        status_reason: row.status_reason.clone(),
        lifecycle_stage: (!is_over).then(|| api::ServiceDeploymentLifecycleStage::parse(row.stage.as_str())).flatten(),
        source_service_revisions: Some(row.source_revisions.iter().map(summary).collect()),
        target_service_revision: Some(summary(&row.target_revision)),
        deployment_configuration: Some(row.configuration.clone()),
        deployment_circuit_breaker: Some(api::ServiceDeploymentCircuitBreaker {
            failure_count: Some(count(row.failures)),
            status: Some(if row.threshold.is_none() {
                disabled
            } else if has_tripped {
                triggered
            } else {
                monitoring
            }),
            threshold: Some(count(row.threshold.unwrap_or(0))),
        }),
        alarms: alarms.map(|alarms| api::ServiceDeploymentAlarms {
            alarm_names: Some(alarms.alarm_names.clone()),
            status: Some(if row.triggered_alarms.is_empty() { monitoring } else { triggered }),
            triggered_alarm_names: Some(row.triggered_alarms.clone()),
        }),
        rollback: row.rollback.as_ref().map(|rollback| api::Rollback {
            reason: Some(rollback.reason.clone()),
            service_revision_arn: Some(revision::arn(service, &rollback.revision)),
            started_at: Some(rollback.started_at),
        }),
        lifecycle_hook_details: Some(row.hooks.iter().map(|hook| hook_detail(row, hook)).collect()),
        created_at: Some(row.created_at),
        started_at: row.started_at,
        stopped_at: row.stopped_at,
        finished_at: row.finished_at,
        updated_at: Some(row.updated_at),
    }
}

fn hook_detail(row: &ServiceDeploymentRow, state: &HookState) -> api::DeploymentLifecycleHookDetail {
    let given = row.configuration.lifecycle_hooks.as_ref().and_then(|hooks| hooks.get(state.place));
    let continues = given.and_then(|hook| hook::read(hook).ok()).is_some_and(|hook| hook.continues_on_timeout);
    api::DeploymentLifecycleHookDetail {
        expires_at: Some(state.expires_at),
        hook_id: Some(state.id.clone()),
        status: Some(match state.status {
            HookStatus::AwaitingAction => api::DeploymentLifecycleHookStatus::AwaitingAction,
            HookStatus::InProgress => api::DeploymentLifecycleHookStatus::InProgress,
            HookStatus::Succeeded => api::DeploymentLifecycleHookStatus::Succeeded,
            HookStatus::Failed => api::DeploymentLifecycleHookStatus::Failed,
            HookStatus::TimedOut => api::DeploymentLifecycleHookStatus::TimedOut,
        }),
        target_arn: given.and_then(|hook| hook.hook_target_arn.clone()),
        target_type: given.and_then(|hook| hook.target_type),
        timeout_action: Some(if continues {
            api::DeploymentLifecycleHookAction::Continue
        } else {
            api::DeploymentLifecycleHookAction::Rollback
        }),
    }
}
