//! Services whose task sets are somebody else's to change: each set has the tasks that its scale says.

use estiva_model::Timestamp;
use estiva_planning::deployment::{Bounds, Roster, Wanted, plan_replica};
use estiva_store::{Row, Snapshot};

use super::decide::heed_failures;
use super::decision::{Decision, Start};
use super::{ServiceController, start};
use crate::service::event::Kind;
use crate::service::rollout_table::{Deployment, DeploymentStatus};
use crate::service::task_set::computed_desired_count;

impl ServiceController {
    pub(super) fn plan_sets(&mut self, view: &Snapshot, decision: &mut Decision, roster: &Roster, now: Timestamp) {
        let service = decision.service.key();
        for set in decision.rollout.deployments.clone() {
            let backoff = heed_failures(view, decision, roster, &set.id, now);
            // One that waits for room holds back no other.
            let is_blocked = self.blocked.get(&service).is_some_and(|it| it.deployments.contains(&set.id));
            let may_start = !backoff.is_waiting(now) && !is_blocked;
            decision.look_again(backoff.until.filter(|until| *until > now));
            let desired = computed_desired_count(&decision.service, &set);
            let wanted = Wanted {
                deployment: set.id.clone(),
                desired,
                extra: 0,
                bounds: Bounds { lower: 0, upper: usize::MAX },
                may_start,
                unplaced: 0,
                is_alone: true,
            };
            let step = plan_replica(roster, &wanted, now);
            for key in &step.stop {
                decision.stop(roster, key, &set.id);
            }
            if step.scale_in > 0 {
                let mut rng = self.placer.ambient.rng();
                let service = &decision.service;
                let chosen = start::select_to_stop(view, service, &set.id, roster, step.scale_in, now, &mut rng);
                for key in chosen {
                    decision.stop(roster, &key, &set.id);
                }
            }
            if step.start > 0 {
                decision.starts.push(Start { deployment: set.id.clone(), count: step.start, only_on: None });
            }
            let is_stable = step.is_steady;
            if !is_stable {
                decision.look_again(roster.next_unprotected(now));
            }
            let Some(entry) = decision.rollout.deployment_mut(&set.id) else { continue };
            if step.missing == 0 || !is_blocked {
                entry.unplaced = 0;
            }
            if let Some(state) = entry.task_set.as_mut().filter(|state| state.is_stable != is_stable) {
                state.is_stable = is_stable;
                state.stability_at = self.placer.ambient.now();
            }
        }
        stop_strays(decision, roster);
        forget_drained(decision, roster);
        if decision.rollout.deployments.iter().any(|set| set.task_set.as_ref().is_some_and(|state| !state.is_stable)) {
            decision.look_again(roster.next_unprotected(now));
        }
    }
}

/// Tasks of sets that the service does not know end.
fn stop_strays(decision: &mut Decision, roster: &Roster) {
    let is_unknown = |deployment: &str| decision.rollout.deployment(deployment).is_none();
    if !roster.deployments().into_iter().any(is_unknown) {
        return;
    }
    let strays = roster.members().filter(|(_, member)| !member.is_stopping && is_unknown(&member.deployment));
    for key in strays.map(|(key, _)| key.clone()).collect::<Vec<_>>() {
        decision.stop(roster, &key, "ecs-svc/deleted");
    }
}

/// Sets that were deleted are not shown any more once their tasks have ended.
fn forget_drained(decision: &mut Decision, roster: &Roster) {
    let is_drained = |set: &Deployment| {
        set.status == DeploymentStatus::Draining && roster.members().all(|(_, member)| member.deployment != set.id)
    };
    let drained = decision.rollout.deployments.extract_if(.., |set| is_drained(set)).map(|set| set.id);
    for id in drained.collect::<Vec<_>>() {
        decision.rollout.is_over_of(Some(&id), Kind::Unplaced);
    }
}
