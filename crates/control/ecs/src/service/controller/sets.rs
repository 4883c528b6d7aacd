//! Services whose task sets are somebody else's to change: each set has the tasks that its scale says.

use std::collections::BTreeSet;

use estiva_model::Timestamp;
use estiva_planning::deployment::{Bounds, FailureCounts, Roster, Wanted, plan_replica};
use estiva_store::{Row, Snapshot};

use super::act::{Decision, Start};
use super::{ServiceController, failures, start};
use crate::service::rollout_table::DeploymentStatus;
use crate::service::task_set::computed_desired_count;

impl ServiceController {
    pub(super) fn plan_sets(&mut self, view: &Snapshot, decision: &mut Decision, roster: &Roster, now: Timestamp) {
        let service = decision.service.key();
        let is_blocked = self.blocked.contains_key(&service);
        let failed = decision.rollout.deployments.iter().map(|set| failures(view, set));
        let failed = failed.fold(FailureCounts::default(), |all, it| all + it.all);
        decision.rollout.backoff = decision.rollout.backoff.after(failed, now);
        let may_start = !decision.rollout.backoff.is_waiting(now) && !is_blocked;
        let mut missing = 0;
        for set in decision.rollout.deployments.clone() {
            let desired = computed_desired_count(&decision.service, &set);
            let wanted = Wanted {
                deployment: set.id.clone(),
                desired,
                extra: 0,
                bounds: Bounds { lower: 0, upper: usize::MAX },
                may_start,
                unplaced: 0,
            };
            let step = plan_replica(&only(roster, &set.id), &wanted, now);
            missing += step.missing;
            for key in &step.stop {
                decision.stop(roster, key, &set.id);
            }
            let mut rng = self.ambient.rng();
            let chosen = start::select_to_stop(view, &decision.service, &set.id, roster, step.scale_in, now, &mut rng);
            for key in chosen {
                decision.stop(roster, &key, &set.id);
            }
            if step.start > 0 {
                decision.starts.push(Start { deployment: set.id.clone(), count: step.start, only_on: None });
            }
            let is_stable = step.is_steady;
            if !is_stable {
                decision.look_again(roster.next_unprotected(now));
            }
            let state = decision.rollout.deployment_mut(&set.id).and_then(|it| it.task_set.as_mut());
            if let Some(state) = state.filter(|state| state.is_stable != is_stable) {
                state.is_stable = is_stable;
                state.stability_at = self.ambient.now();
            }
        }
        if missing == 0 || !is_blocked {
            decision.rollout.unplaced = 0;
        }
        let strays: Vec<String> = roster
            .members()
            .filter(|(_, member)| !member.is_stopping && decision.rollout.deployment(&member.deployment).is_none())
            .map(|(key, _)| key.clone())
            .collect();
        for key in strays {
            decision.stop(roster, &key, "ecs-svc/deleted");
        }
        let with_tasks: BTreeSet<&str> = roster.members().map(|(_, member)| member.deployment.as_str()).collect();
        let is_over =
            |status: DeploymentStatus, id: &str| status == DeploymentStatus::Draining && !with_tasks.contains(id);
        decision.rollout.deployments.retain(|set| !is_over(set.status, &set.id));
        decision.look_again(decision.rollout.backoff.until.filter(|until| *until > now));
    }
}

/// The tasks of one task set.
fn only(roster: &Roster, deployment: &str) -> Roster {
    let mut own = Roster::default();
    for (key, member) in roster.members().filter(|(_, member)| member.deployment == deployment) {
        own.put(key, member.clone());
    }
    own
}
