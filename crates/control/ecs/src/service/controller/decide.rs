//! A pass over one service: from its roster and rows to a decision.

use std::collections::BTreeSet;

use estiva_model::Timestamp;
use estiva_planning::deployment::{Backoff, Bounds, DaemonWanted, Roster, Wanted, plan_daemon, plan_replica};
use estiva_store::{Row, Snapshot};

use super::decision::{Decision, Start};
use super::member::service_key;
use super::{ServiceController, failures, start};
use crate::service::deployment;
use crate::service::event::Kind;
use crate::service::rollout_table::{Deployment, DeploymentStatus, Rollout};
use crate::service::table::{ServiceRow, ServiceStatus};
use crate::task::table::{BY_CONTAINER_INSTANCE, TaskRow};

/// Tasks that one pass starts; the next one goes on.
const STARTS_MAX: usize = 500;
/// Transitions of a deployment in one pass: it has fewer stages.
const TRANSITIONS_MAX: usize = 16;

/// What is to be done for the deployment whose tasks are to run.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Its id.
    pub deployment: String,
    /// How many tasks it is to have.
    pub wanted: usize,
    /// How many healthy ones it has.
    pub healthy: usize,
    /// Tasks of other deployments that are to run still.
    pub outgoing: usize,
    /// As many healthy tasks as are wanted, and no others.
    pub is_steady: bool,
    /// The deployment whose tasks are started, if it is another: its own has failed.
    start_for: Option<String>,
    start: usize,
    missing: usize,
    start_on: Option<BTreeSet<String>>,
    stop: BTreeSet<String>,
    scale_in: usize,
    is_stuck: bool,
}

impl ServiceController {
    /// What to do for a service. `None` if there is none.
    pub(super) fn decide(&mut self, view: &Snapshot, key: &str, now: Timestamp) -> Option<Decision> {
        let service = view.get::<ServiceRow>(key).filter(|row| row.status != ServiceStatus::Inactive);
        let Some(service) = service else {
            self.rosters.remove(key);
            self.blocked.remove(key);
            self.attentive.remove(key);
            self.uneven.remove(key);
            self.digests.remove(key);
            return None;
        };
        let mut roster = self.rosters.remove(key).unwrap_or_default();
        roster.settle(now);
        let mut decision = Decision::new(view, service);
        if decision.service.status == ServiceStatus::Draining {
            drain(&mut decision, &roster);
        } else if decision.service.is_external {
            self.plan_sets(view, &mut decision, &roster, now);
        } else {
            self.plan_deployment(view, &mut decision, &roster, now);
        }
        roster.forget_turns(|deployment| decision.rollout.deployment(deployment).is_some());
        decision.look_again(roster.next_due());
        self.rosters.insert(key.to_owned(), roster);
        Some(decision)
    }

    fn plan_deployment(&mut self, view: &Snapshot, decision: &mut Decision, roster: &Roster, now: Timestamp) {
        if let Some(id) = decision.starting() {
            heed_failures(view, decision, roster, &id, now);
        }
        let mut plan = self.plan(view, decision, roster, now);
        for _ in 0..TRANSITIONS_MAX {
            if !self.lead(view, decision, &plan, now) {
                break;
            }
            plan = self.plan(view, decision, roster, now);
        }
        if self.rebalance(view, decision, roster, &plan) {
            plan = self.plan(view, decision, roster, now);
        }
        self.resolve_images(view, decision);
        forget_ended(decision, roster);
        if let Some(digests) = self.digests.get_mut(&decision.service.key()) {
            digests.retain(|deployment, _| decision.rollout.deployment(deployment).is_some());
        }
        self.act_on(view, decision, roster, plan, now);
    }

    fn resolve_images(&self, view: &Snapshot, decision: &mut Decision) {
        let Some(id) = decision.rollout.primary().map(|entry| entry.id.clone()) else { return };
        let Some(revision) = decision.revision(view, &id) else { return };
        let digests = self.new_digests(view, &decision.service, &id, &revision);
        decision.resolved = digests.map(|digests| (revision, digests));
    }

    fn plan(&self, view: &Snapshot, decision: &Decision, roster: &Roster, now: Timestamp) -> Plan {
        let Some(id) = decision.scheduled() else { return Plan::default() };
        let service = &decision.service;
        let rollout = &decision.rollout;
        let has_failed = rollout.deployment(&id).is_some_and(is_given_up);
        let is_waiting = decision.backoff().is_some_and(|backoff| backoff.is_waiting(now));
        let fallback = decision.fallback().filter(|_| has_failed);
        let own = roster.staying(&id);
        let (minimum, maximum) = service.percents();
        let outgoing = roster.totals().total() - own.total();
        let is_blocked = self.blocked.contains_key(&service.key());
        if service.is_daemon {
            let starting = decision.revision(view, fallback.as_ref().unwrap_or(&id));
            let eligible = start::eligible(view, service, starting.as_deref(), roster);
            let wanted = DaemonWanted {
                deployment: &id,
                is_given_up: has_failed,
                eligible: &eligible,
                minimum_healthy_percent: minimum,
                may_start: (!has_failed || fallback.is_some()) && !is_waiting,
                has_company: &|instance: &str| has_company(view, instance),
            };
            let step = plan_daemon(roster, &wanted, now);
            return Plan {
                deployment: id,
                start_for: fallback,
                wanted: eligible.len(),
                healthy: own.healthy,
                outgoing,
                is_steady: step.is_steady,
                start: if is_blocked { 0 } else { step.start_on.len() },
                missing: step.start_on.len(),
                start_on: Some(step.start_on),
                stop: step.stop,
                ..Plan::default()
            };
        }
        let desired = usize::try_from(service.desired_count).unwrap_or(0);
        let bounds = Bounds::new(desired, minimum, maximum);
        let wanted = Wanted {
            deployment: id.clone(),
            desired,
            // The service may have been scaled since, to where there is less room for them.
            extra: rollout.extra.min(bounds.upper.saturating_sub(desired)),
            bounds,
            may_start: !has_failed && !is_waiting,
            unplaced: if is_blocked { rollout.unplaced() } else { 0 },
            is_alone: false,
        };
        let step = plan_replica(roster, &wanted, now);
        let (start, missing) = if fallback.is_some() {
            let all = roster.totals();
            let missing = desired.saturating_sub(all.total() - all.unhealthy);
            let room = wanted.bounds.upper.saturating_sub(all.total());
            (if is_waiting { 0 } else { missing.min(room) }, missing)
        } else {
            (step.start, step.missing)
        };
        Plan {
            deployment: id,
            start_for: fallback,
            wanted: desired,
            healthy: own.healthy,
            outgoing,
            is_steady: step.is_steady,
            start: if is_blocked { 0 } else { start },
            missing,
            start_on: None,
            stop: step.stop,
            scale_in: step.scale_in,
            is_stuck: step.is_stuck,
        }
    }

    fn act_on(&self, view: &Snapshot, decision: &mut Decision, roster: &Roster, plan: Plan, now: Timestamp) {
        if decision.service.is_daemon && !plan.deployment.is_empty() {
            decision.rollout.instances = plan.wanted;
        }
        if plan.start > 0 {
            let count = plan.start.min(STARTS_MAX);
            let only_on = plan.start_on.or_else(|| decision.only_on.take());
            let deployment = plan.start_for.unwrap_or_else(|| plan.deployment.clone());
            decision.starts.push(Start { deployment, count, only_on });
        } else if plan.missing == 0 && decision.rollout.unplaced() > 0 {
            decision.rollout.forget_unplaced();
            decision.over.push(Kind::Unplaced);
        } else if !self.blocked.contains_key(&decision.service.key()) {
            // There is more room, only it is not the time to start: nothing waits for room any more.
            decision.rollout.forget_unplaced();
        }
        for key in &plan.stop {
            decision.stop(roster, key, &plan.deployment);
        }
        if plan.scale_in > 0 {
            let mut rng = self.placer.ambient.rng();
            let chosen =
                start::select_to_stop(view, &decision.service, &plan.deployment, roster, plan.scale_in, now, &mut rng);
            for key in chosen {
                decision.stop(roster, &key, &plan.deployment);
            }
        }
        if plan.is_stuck {
            decision.say(
                Kind::Stuck,
                "was unable to stop or start tasks during a deployment because of the service deployment configuration. Update the \
                minimumHealthyPercent or maximumPercent value and try again.",
            );
        }
        let is_settled = plan.is_steady && decision.under_way.is_none() && decision.rollout.extra == 0;
        if is_settled && !decision.rollout.is_steady {
            decision.over.push(Kind::Steady);
            decision.say(Kind::Steady, "has reached a steady state.");
        }
        decision.rollout.is_steady = is_settled;
        if !plan.is_steady {
            decision.look_again(roster.next_unprotected(now));
        }
        decision.look_again(decision.backoff().and_then(|backoff| backoff.until).filter(|until| *until > now));
    }
}

/// What tasks of a deployment have failed since the last look makes the next ones wait; one that became healthy makes up for
/// those that were known before. Gives the wait.
pub(super) fn heed_failures(
    view: &Snapshot,
    decision: &mut Decision,
    roster: &Roster,
    id: &str,
    now: Timestamp,
) -> Backoff {
    let resets = decision.resets_on_healthy_task();
    let Some(entry) = decision.rollout.deployment_mut(id) else { return Backoff::default() };
    // Tasks that failed long ago have been forgotten.
    let all = failures(view, entry).all;
    entry.forgiven = entry.forgiven.min(all.total());
    let before = entry.backoff.clone();
    // The snapshot may show a failure that the roster has not heard of, and that nothing has made up for.
    if roster.has_recovered(id) && before.failures == all {
        entry.backoff = Backoff { failures: all, ..Backoff::default() };
        if resets {
            entry.forgiven = all.total();
        }
    } else {
        entry.backoff = before.after(all, now);
    }
    let backoff = entry.backoff.clone();
    if backoff.rounds < before.rounds {
        decision.over.push(Kind::Impaired);
    } else if backoff.is_impaired() && backoff != before {
        decision.say(
            Kind::Impaired,
            "is unable to consistently start tasks successfully. For more information, see the Troubleshooting section of the Amazon \
            ECS Developer Guide.",
        );
    }
    backoff
}

/// Whether no task is started for a deployment any more. One that was completed once is what a service is left with.
fn is_given_up(entry: &Deployment) -> bool {
    entry.rollout == Rollout::Failed && !entry.was_completed
}

/// Deployments that are over and have no tasks are not shown any more, unless the one under way may go back to them.
fn forget_ended(decision: &mut Decision, roster: &Roster) {
    let with_tasks: BTreeSet<&str> = roster.deployments();
    let source = decision.under_way.as_ref().and_then(|row| row.source.clone());
    let fallback = decision.fallback();
    decision.rollout.deployments.retain(|entry| {
        entry.status == DeploymentStatus::Primary
            || with_tasks.contains(entry.id.as_str())
            || source.as_ref() == Some(&entry.id)
            || fallback.as_ref() == Some(&entry.id)
    });
}

/// A service that was deleted ends its tasks, and is INACTIVE once they have ended.
fn drain(decision: &mut Decision, roster: &Roster) {
    let live: Vec<String> =
        roster.members().filter(|(_, member)| !member.is_stopping).map(|(key, _)| key.clone()).collect();
    let deployment = decision.rollout.primary().map(|it| it.id.clone()).unwrap_or_default();
    for key in live {
        decision.stop(roster, &key, &deployment);
    }
    if roster.is_empty() {
        decision.is_gone = true;
        // What it was is shown for as long as it is.
        let is_external = decision.service.is_external;
        decision.rollout.deployments.retain(|it| !is_external && it.status == DeploymentStatus::Primary);
    }
}

/// Whether others than DAEMON services' tasks are on a container instance.
fn has_company(view: &Snapshot, instance: &str) -> bool {
    let is_of_daemon = |task: &TaskRow| {
        let service = service_key(task).and_then(|key| view.get::<ServiceRow>(&key));
        service.is_some_and(|service| service.is_daemon)
    };
    view.index::<TaskRow>(BY_CONTAINER_INSTANCE, instance).any(|task| !is_of_daemon(&task))
}

impl Decision {
    /// The id of the deployment whose tasks are to run: until a deployment has come to scale up, that is the former one.
    fn scheduled(&self) -> Option<String> {
        let early = self
            .under_way
            .as_ref()
            .filter(|row| !row.is_rolling_back() && row.stage < estiva_planning::deployment::Stage::ScaleUp);
        match early {
            Some(row) => {
                let source = row.source.as_ref().and_then(|id| self.rollout.deployment(id));
                let other = || self.rollout.deployments.iter().find(|entry| entry.id != row.deployment);
                source.or_else(other).map(|entry| entry.id.clone())
            }
            None => self.rollout.primary().map(|entry| entry.id.clone()),
        }
    }

    /// The id of the deployment that missing tasks are started for once the PRIMARY one has failed: the last that was completed.
    fn fallback(&self) -> Option<String> {
        let primary = self.rollout.primary().filter(|primary| is_given_up(primary))?;
        let mut others = self.rollout.deployments.iter().filter(|entry| entry.id != primary.id);
        others.find(|entry| entry.was_completed).map(|entry| entry.id.clone())
    }

    /// The id of the deployment that missing tasks are started for.
    fn starting(&self) -> Option<String> {
        self.fallback().or_else(|| self.scheduled())
    }

    /// The wait after failures of the deployment that missing tasks are started for.
    fn backoff(&self) -> Option<&Backoff> {
        self.rollout.deployment(&self.starting()?).map(|entry| &entry.backoff)
    }

    fn resets_on_healthy_task(&self) -> bool {
        let configuration = self.service.settings.deployment_configuration.as_ref();
        let breaker = configuration.and_then(|it| it.deployment_circuit_breaker.as_ref());
        breaker.and_then(|it| it.reset_on_healthy_task).unwrap_or(true)
    }

    /// How many failed tasks the deployment takes.
    pub(super) fn threshold(&self, plan: &Plan) -> Option<usize> {
        let row = self.under_way.as_ref()?;
        deployment::threshold(&row.configuration, plan.wanted)
    }
}
