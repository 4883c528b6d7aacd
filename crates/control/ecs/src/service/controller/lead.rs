//! Leads a deployment: one transition at a time, until it has succeeded or is taken back.

use std::time::Duration;

use estiva_api_ecs::types as api;
use estiva_model::Timestamp;
use estiva_planning::deployment::{Advance, Outcome, Signals, Stage, advance};
use estiva_store::Snapshot;

use super::decide::Plan;
use super::decision::Decision;
use super::{ServiceController, failures};
use crate::service::deployment;
use crate::service::event::Kind;
use crate::service::rollout_table::{
    DeploymentStatus, RollbackState, Rollout, ServiceDeploymentRow, ServiceDeploymentStatus as Status,
};

/// Whose word it is when too many tasks have failed.
const BREAKER: &str = "ECS deployment circuit breaker";
const TASKS_FAILED: &str = "tasks failed to start.";
/// How often alarms are asked for while a deployment is under way.
const ALARM_INTERVAL: Duration = Duration::from_secs(5);

impl ServiceDeploymentRow {
    pub(super) fn is_rolling_back(&self) -> bool {
        self.status == Status::RollbackInProgress
    }
}

impl ServiceController {
    /// Makes one transition of the deployment under way; whether there was one to make.
    pub(super) fn lead(&mut self, view: &Snapshot, decision: &mut Decision, plan: &Plan, now: Timestamp) -> bool {
        let Some(row) = decision.under_way.as_ref() else { return false };
        match row.status {
            Status::Pending => {
                if let Some(row) = &mut decision.under_way {
                    row.status = Status::InProgress;
                    row.started_at = Some(self.placer.ambient.now());
                }
                true
            }
            Status::StopRequested => {
                self.fail(view, decision, "ECS deployment", "stopped by request.", false);
                true
            }
            Status::RollbackRequested => {
                self.fail(view, decision, "ECS deployment", "rollback requested.", true);
                true
            }
            Status::RollbackInProgress if plan.is_steady => self.finish_rollback(decision),
            Status::RollbackInProgress => self.judge_rollback(view, decision, plan),
            Status::InProgress => self.advance(view, decision, plan, now),
            _ => false,
        }
    }

    fn advance(&mut self, view: &Snapshot, decision: &mut Decision, plan: &Plan, now: Timestamp) -> bool {
        let Some(signals) = self.signals(view, decision, plan, now) else { return false };
        let Some(row) = &mut decision.under_way else { return false };
        match advance(row.stage, &signals, now) {
            Advance::Stay => {
                decision.look_again(signals.bake_until.filter(|until| *until > now));
                false
            }
            Advance::Enter(stage) => {
                row.stage = stage;
                true
            }
            Advance::BakeUntil(until) => {
                row.bake_until = Some(until);
                true
            }
            Advance::End(Outcome::Successful) => self.succeed(decision),
            Advance::End(Outcome::BreakerTripped) => {
                let rolls_back = breaker(&row.configuration).is_some_and(|breaker| breaker.rollback);
                self.fail(view, decision, BREAKER, TASKS_FAILED, rolls_back);
                true
            }
            Advance::End(Outcome::Alarmed(names)) => {
                let rolls_back = row.configuration.alarms.as_ref().is_some_and(|alarms| alarms.rollback);
                row.triggered_alarms.clone_from(&names);
                let reason = format!("alarm detected: {}.", names.join(", "));
                self.fail(view, decision, "ECS deployment alarms", &reason, rolls_back);
                true
            }
            Advance::End(Outcome::HookFailed(reason)) => {
                let reason = format!("{reason}.");
                self.fail(view, decision, "ECS deployment lifecycle hook", &reason, true);
                true
            }
        }
    }

    fn signals(&mut self, view: &Snapshot, decision: &mut Decision, plan: &Plan, now: Timestamp) -> Option<Signals> {
        let gate = self.gate(view, decision, now);
        let threshold = decision.threshold(plan);
        let failed = decision.rollout.primary().map_or(0, |primary| failures(view, primary).total());
        let scope = decision.service.scope.clone();
        let alarm_names = decision.under_way.as_ref().and_then(|row| row.configuration.alarms.as_ref());
        let alarm_names = alarm_names.filter(|alarms| alarms.enable).map(|alarms| alarms.alarm_names.clone());
        if alarm_names.is_some() {
            decision.look_again(Some(now.plus(ALARM_INTERVAL)));
        }
        let alarms = alarm_names.map(|names| self.alarms.in_alarm(&scope, &names)).unwrap_or_default();
        let row = decision.under_way.as_mut()?;
        row.threshold = threshold;
        row.failures = failed;
        let early = row.configuration.early_success_criteria.as_ref().filter(|criteria| criteria.enable);
        let needed = early.map_or(plan.wanted, |criteria| {
            let percent = criteria.healthy_percent.and_then(|percent| usize::try_from(percent).ok()).unwrap_or(100);
            plan.wanted.saturating_mul(percent).div_ceil(100)
        });
        let is_deferred =
            early.is_some_and(|it| it.source_service_revision_cleanup == Some(api::ServiceRevisionCleanup::Deferred));
        let minutes = row.configuration.bake_time_in_minutes.and_then(|minutes| u64::try_from(minutes).ok());
        Some(Signals {
            gate,
            is_scaled_up: row.stage >= Stage::ScaleUp && plan.deployment == row.deployment && plan.healthy >= needed,
            is_cleaned_up: match early {
                Some(_) => is_deferred || plan.outgoing == 0,
                None => plan.is_steady,
            },
            breaker: threshold.map(|threshold| (failed, threshold)),
            alarms,
            bake: Duration::from_secs(minutes.unwrap_or(0) * 60),
            bake_until: row.bake_until,
        })
    }

    fn succeed(&self, decision: &mut Decision) -> bool {
        let now = self.placer.ambient.now();
        let Some(row) = &mut decision.under_way else { return false };
        row.status = Status::Successful;
        row.finished_at = Some(now);
        let id = row.deployment.clone();
        if let Some(entry) = decision.rollout.deployment_mut(&id) {
            entry.rollout = Rollout::Completed;
            entry.rollout_reason = format!("ECS deployment {id} completed.");
            entry.was_completed = true;
            entry.updated_at = now;
        }
        decision.say(Kind::Happening, format!("(deployment {id}) deployment completed."));
        decision.end_deployment();
        true
    }

    fn finish_rollback(&self, decision: &mut Decision) -> bool {
        let now = self.placer.ambient.now();
        let Some(row) = &mut decision.under_way else { return false };
        row.status = Status::RollbackSuccessful;
        row.finished_at = Some(now);
        let id = decision.rollout.primary().map(|entry| entry.id.clone()).unwrap_or_default();
        if let Some(entry) = decision.rollout.deployment_mut(&id) {
            entry.rollout = Rollout::Completed;
            entry.rollout_reason = format!("ECS deployment {id} completed.");
            entry.updated_at = now;
        }
        decision.say(Kind::Happening, format!("(deployment {id}) deployment completed."));
        decision.end_deployment();
        true
    }

    /// A rollback whose own tasks fail has failed. Its service stays where it has got to, and goes on trying.
    fn judge_rollback(&self, view: &Snapshot, decision: &mut Decision, plan: &Plan) -> bool {
        let now = self.placer.ambient.now();
        let (Some(row), Some(primary)) = (&mut decision.under_way, decision.rollout.primary()) else { return false };
        let threshold = deployment::rollback_threshold(&row.configuration, plan.wanted);
        if failures(view, primary).total() < threshold {
            return false;
        }
        let id = primary.id.clone();
        let reason = format!("{BREAKER}: {TASKS_FAILED}");
        row.status = Status::RollbackFailed;
        row.status_reason = Some(format!("{BREAKER}: rolling back to deploymentId {id} failed: {TASKS_FAILED}"));
        row.finished_at = Some(now);
        if let Some(entry) = decision.rollout.deployment_mut(&id) {
            entry.rollout = Rollout::Failed;
            entry.rollout_reason = reason;
            entry.updated_at = now;
        }
        decision.say(Kind::Happening, format!("(deployment {id}) deployment failed: {TASKS_FAILED}"));
        decision.end_deployment();
        true
    }

    /// The deployment has failed by `what`, and `whose` word it is: its service goes back to where it came from, if it shall and
    /// can, or stays as it is.
    fn fail(&self, view: &Snapshot, decision: &mut Decision, whose: &str, what: &str, rolls_back: bool) {
        let now = self.placer.ambient.now();
        let reason = format!("{whose}: {what}");
        decision.close_hooks();
        let Some(row) = &mut decision.under_way else { return };
        let id = row.deployment.clone();
        row.status_reason = Some(reason.clone());
        let source = row.source.clone().filter(|_| rolls_back);
        let source = source.and_then(|id| decision.rollout.deployment(&id).cloned());
        decision.say(Kind::Happening, format!("(deployment {id}) deployment failed: {what}"));
        if let Some(entry) = decision.rollout.deployment_mut(&id) {
            entry.rollout = Rollout::Failed;
            entry.rollout_reason.clone_from(&reason);
            entry.updated_at = now;
        }
        let Some(row) = &mut decision.under_way else { return };
        let Some(source) = source else {
            row.status = Status::Stopped;
            row.stopped_at.get_or_insert(now);
            row.finished_at = Some(now);
            decision.end_deployment();
            return;
        };
        row.status = Status::RollbackInProgress;
        row.rollback = Some(RollbackState { reason, started_at: now, revision: source.revision.clone() });
        for entry in &mut decision.rollout.deployments {
            entry.status = DeploymentStatus::Active;
        }
        if let Some(entry) = decision.rollout.deployment_mut(&source.id) {
            entry.status = DeploymentStatus::Primary;
            entry.rollout = Rollout::InProgress;
            entry.rollout_reason = format!("{whose}: rolling back to deploymentId {}.", source.id);
            entry.updated_at = now;
            // What failed of it before is no part of the rollback.
            entry.forgiven = failures(view, entry).all.total();
            entry.backoff = entry.backoff.forgotten();
        }
        decision.rollout.deployments.sort_by_key(|entry| entry.status != DeploymentStatus::Primary);
        decision.say(Kind::Happening, format!("rolling back to deployment {}.", source.id));
    }
}

fn breaker(configuration: &api::DeploymentConfiguration) -> Option<&api::DeploymentCircuitBreaker> {
    configuration.deployment_circuit_breaker.as_ref().filter(|breaker| breaker.enable)
}
