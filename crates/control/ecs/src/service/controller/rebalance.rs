//! Evening out: tasks that stand where too many are get a successor elsewhere, and then go.

use std::collections::{BTreeMap, BTreeSet};

use estiva_api_ecs::types as api;
use estiva_planning::deployment::{Phase, Roster};
use estiva_planning::placement::moves;
use estiva_store::{Row, Snapshot};

use super::decide::Plan;
use super::decision::Decision;
use super::{ServiceController, Suspects, start};
use crate::container_instance::table::ContainerInstanceRow;
use crate::service::event::Kind;

/// With this label a service's tasks also move onto container instances that join. ECS has no such thing.
const INSTANCE_REBALANCING_TAG: &str = "estiva:instance-rebalancing";

impl ServiceController {
    /// Begins to even out a service at rest, and ends it once the successors are healthy; whether it did.
    pub(super) fn rebalance(&mut self, view: &Snapshot, decision: &mut Decision, roster: &Roster, plan: &Plan) -> bool {
        let key = decision.service.key();
        let has_failed =
            decision.rollout.unplaced() > 0 || decision.rollout.primary().is_some_and(|it| it.backoff.rounds > 0);
        if decision.rollout.extra > 0 {
            let is_over = plan.is_steady || has_failed || decision.under_way.is_some();
            if is_over {
                decision.rollout.extra = 0;
                decision.say(Kind::Happening, "has completed rebalancing its tasks.");
            }
            return is_over;
        }
        let is_at_rest = plan.is_steady && decision.under_way.is_none() && decision.rollout.is_steady;
        let Some(suspects) = is_at_rest.then(|| self.uneven.remove(&key)).flatten() else { return false };
        let service = &decision.service;
        let (_, maximum) = service.percents();
        let room = (plan.wanted * maximum / 100).saturating_sub(plan.wanted);
        let by_zone = service.settings.availability_zone_rebalancing == Some(api::AvailabilityZoneRebalancing::Enabled);
        let by_instance = service.tags.value(INSTANCE_REBALANCING_TAG).is_some_and(|value| value == "enabled");
        let zone_of = |instance: &str| {
            let instance = view.get::<ContainerInstanceRow>(instance);
            instance.map(|row| row.availability_zone()).unwrap_or_default()
        };
        let by_zone = by_zone && may_be_uneven(roster, plan, &suspects, zone_of);
        let by_instance = by_instance && may_be_uneven(roster, plan, &suspects, str::to_owned);
        if service.is_daemon || room == 0 || !by_zone && !by_instance {
            return false;
        }
        let revision = decision.revision(view, &plan.deployment);
        let eligible = start::eligible(view, service, revision.as_deref(), &Roster::default());
        let mut target = None;
        if by_zone {
            target = uneven(roster, plan, &eligible, zone_of);
        }
        if target.is_none() && by_instance {
            target = uneven(roster, plan, &eligible, str::to_owned);
        }
        let Some((count, only_on)) = target else { return false };
        decision.rollout.extra = count.min(room);
        decision.only_on = Some(only_on);
        let count = decision.rollout.extra;
        decision.say(Kind::Happening, format!("has begun rebalancing its tasks: {count} to be moved."));
        true
    }
}

/// Whether it is worth while to look at every container instance: one place that is known has two tasks more than another.
fn may_be_uneven(roster: &Roster, plan: &Plan, suspects: &Suspects, place_of: impl Fn(&str) -> String) -> bool {
    let counts = tasks_by_place(roster, plan, &place_of);
    let Some(most) = counts.values().max().copied().filter(|most| *most > 1) else { return false };
    match suspects {
        Suspects::All => true,
        Suspects::Instances(instances) => {
            let of_suspects = instances.iter().map(|instance| counts.get(&place_of(instance)).copied().unwrap_or(0));
            of_suspects.chain(counts.values().copied()).any(|count| count + 2 <= most)
        }
    }
}

/// How many healthy tasks there are in each place.
fn tasks_by_place(roster: &Roster, plan: &Plan, place_of: impl Fn(&str) -> String) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for member in roster.in_phase(&plan.deployment, Phase::Healthy).filter_map(|key| roster.get(key)) {
        *counts.entry(place_of(&member.instance)).or_default() += 1;
    }
    counts
}

/// How many tasks have to move so that no place has two more than another, and the container instances they move to.
fn uneven(
    roster: &Roster,
    plan: &Plan,
    eligible: &BTreeSet<String>,
    place_of: impl Fn(&str) -> String,
) -> Option<(usize, BTreeSet<String>)> {
    let mut counts: BTreeMap<String, usize> = eligible.iter().map(|instance| (place_of(instance), 0)).collect();
    counts.extend(tasks_by_place(roster, plan, &place_of));
    let places: Vec<String> = counts.keys().cloned().collect();
    let moves = moves(&counts.values().copied().collect::<Vec<_>>());
    let targets: BTreeSet<&String> = moves.iter().map(|(_, to)| &places[*to]).collect();
    let only_on: BTreeSet<String> =
        eligible.iter().filter(|instance| targets.contains(&place_of(instance))).cloned().collect();
    (!moves.is_empty() && !only_on.is_empty()).then_some((moves.len(), only_on))
}
