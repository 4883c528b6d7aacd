//! Services at work: whatever happens to their tasks, the bounds hold, and they come to rest.

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use estiva_model::Timestamp;

const NOW: Timestamp = Timestamp(1_000_000);

fn member(deployment: &str, phase: Phase) -> Member {
    Member {
        deployment: deployment.to_owned(),
        instance: "i".to_owned(),
        phase,
        is_leaving: false,
        is_stopping: false,
        settles_as: Settled::Healthy,
        protected_until: None,
        has_failed: false,
    }
}

fn roster(groups: &[(&str, Phase, usize)]) -> Roster {
    let mut roster = Roster::default();
    for (place, (deployment, phase, count)) in groups.iter().enumerate() {
        for n in 0..*count {
            roster.put(&format!("{place}-{n}"), member(deployment, *phase));
        }
    }
    roster
}

fn wanted(desired: usize, minimum: usize, maximum: usize) -> Wanted {
    Wanted {
        deployment: "new".to_owned(),
        desired,
        extra: 0,
        bounds: Bounds::new(desired, minimum, maximum),
        may_start: true,
        unplaced: 0,
        is_alone: false,
    }
}

/// Starts, stops among others, stops by scaling in.
fn moves(groups: &[(&str, Phase, usize)], wanted: &Wanted) -> (usize, usize, usize) {
    let step = plan_replica(&roster(groups), wanted, NOW);
    (step.start, step.stop.len(), step.scale_in)
}

const UNKNOWN: Phase = Phase::Settling(None);

#[test]
fn a_rolling_update_goes_as_far_as_the_bounds_let_it() {
    use Phase::{Healthy, Pending};
    for (groups, wanted, expected) in [
        (&[][..], wanted(3, 100, 200), (3, 0, 0)),
        (&[("old", Healthy, 4)][..], wanted(4, 100, 200), (4, 0, 0)),
        (&[("old", Healthy, 4)], wanted(4, 100, 150), (2, 0, 0)),
        (&[("old", Healthy, 4)], wanted(4, 50, 100), (2, 2, 0)),
        (&[("old", Healthy, 4)], wanted(4, 0, 100), (4, 4, 0)),
        (&[("old", Healthy, 4), ("new", Pending, 4)], wanted(4, 100, 200), (0, 0, 0)),
        (&[("old", Healthy, 4), ("new", Healthy, 1), ("new", Pending, 3)], wanted(4, 100, 200), (0, 1, 0)),
        (&[("old", Healthy, 4), ("new", Healthy, 4)], wanted(4, 100, 200), (0, 4, 0)),
        (&[("new", Healthy, 5)], wanted(2, 100, 200), (0, 0, 3)),
        (&[("new", Healthy, 2), ("new", Pending, 3)], wanted(2, 100, 200), (0, 3, 0)),
        (&[("old", Healthy, 4)], wanted(0, 100, 200), (0, 4, 0)),
    ] {
        assert_eq!(moves(groups, &wanted), expected, "{groups:?} {wanted:?}");
    }
}

#[test]
fn unhealthy_tasks_stay_until_they_are_replaced() {
    use Phase::{Healthy, Pending, Unhealthy};
    let wanted = wanted(4, 100, 200);
    assert_eq!(moves(&[("new", Healthy, 3), ("new", Unhealthy, 1)], &wanted), (1, 0, 0));
    assert_eq!(moves(&[("new", Healthy, 3), ("new", Unhealthy, 1), ("new", Pending, 1)], &wanted), (0, 0, 0));
    assert_eq!(moves(&[("new", Healthy, 4), ("new", Unhealthy, 1)], &wanted), (0, 1, 0));
}

#[test]
fn without_room_for_a_replacement_unhealthy_tasks_go_one_by_one() {
    let wanted = wanted(4, 50, 100);
    assert_eq!(moves(&[("new", Phase::Unhealthy, 4)], &wanted), (1, 1, 0));
    assert_eq!(moves(&[("new", Phase::Unhealthy, 3), ("new", UNKNOWN, 1)], &wanted), (0, 0, 0));
}

#[test]
fn bounds_without_room_get_a_service_stuck_and_it_says_so() {
    let step = plan_replica(&roster(&[("old", Phase::Healthy, 2)]), &wanted(2, 100, 100), NOW);
    assert!(step.is_stuck && !step.is_steady);
}

#[test]
fn when_no_instance_has_room_old_tasks_make_it() {
    let full = Wanted { unplaced: 4, ..wanted(4, 50, 200) };
    assert_eq!(moves(&[("old", Phase::Healthy, 4)], &full), (4, 2, 0));
    let mut roster = roster(&[("old", Phase::Healthy, 4)]);
    roster.put("going", Member { is_stopping: true, ..member("old", Phase::Healthy) });
    assert_eq!(plan_replica(&roster, &full, NOW).stop.len(), 0, "what is on its way out makes room first");
}

#[test]
fn tasks_on_instances_that_take_leave_are_replaced_within_the_bounds() {
    let mut roster = roster(&[("new", Phase::Healthy, 3)]);
    roster.put("leaving", Member { is_leaving: true, ..member("new", Phase::Healthy) });
    roster.put("late", Member { is_leaving: true, ..member("new", Phase::Pending) });
    let step = plan_replica(&roster, &wanted(4, 100, 200), NOW);
    assert_eq!((step.start, step.stop), (1, BTreeSet::from(["late".to_owned()])));
}

#[test]
fn protected_tasks_are_passed_over() {
    let mut roster = roster(&[("new", Phase::Healthy, 1)]);
    let until = Some(NOW.plus(Duration::from_secs(1)));
    roster.put("kept", Member { protected_until: until, ..member("old", Phase::Healthy) });
    assert_eq!(plan_replica(&roster, &wanted(1, 100, 200), NOW).stop.len(), 0);
    assert_eq!(plan_replica(&roster, &wanted(1, 100, 200), NOW.plus(Duration::from_secs(2))).stop.len(), 1);
}

#[test]
fn a_deployment_has_recovered_if_a_task_became_healthy_after_the_last_failure() {
    let later = |seconds| NOW.plus(Duration::from_secs(seconds));
    let mut roster = Roster::default();
    assert!(!roster.has_recovered("new"));
    roster.note("new", Turn::Failed, later(2));
    roster.note("new", Turn::BecameHealthy, later(1));
    assert!(!roster.has_recovered("new"), "that was before");
    let settling = Phase::Settling(Some(later(5)));
    roster.put("1", member("new", settling));
    roster.settle(later(4));
    assert!(!roster.has_recovered("new"));
    roster.settle(later(6));
    assert!(roster.has_recovered("new") && !roster.has_recovered("old"));
    roster.note("new", Turn::Failed, later(5));
    assert!(!roster.has_recovered("new"), "of what happened at one time the last counts");
    roster.note("new", Turn::BecameHealthy, later(6));
    roster.forget_turns(|deployment| deployment != "new");
    assert!(!roster.has_recovered("new"));
}

fn daemon(eligible: &BTreeSet<String>, minimum_healthy_percent: usize) -> DaemonWanted<'_> {
    DaemonWanted {
        deployment: "new",
        is_given_up: false,
        eligible,
        minimum_healthy_percent,
        may_start: true,
        has_company: &|_: &str| false,
    }
}

#[test]
fn a_daemon_whose_deployment_failed_keeps_what_runs_and_fills_the_gaps() {
    let instances: BTreeSet<String> = ["a", "b", "c"].map(str::to_owned).into();
    let on = |instance: &str, member: Member| Member { instance: instance.to_owned(), ..member };
    let mut roster = Roster::default();
    roster.put("1", on("a", member("old", Phase::Healthy)));
    roster.put("2", on("b", member("old", Phase::Pending)));
    roster.put("3", on("b", member("new", Phase::Pending)));
    let step = plan_daemon(&roster, &DaemonWanted { is_given_up: true, ..daemon(&instances, 0) }, NOW);
    assert_eq!((step.start_on, step.stop), (["c".to_owned()].into(), ["3".to_owned()].into()));
    assert!(!step.is_steady);
}

#[test]
fn a_protected_task_that_is_not_healthy_yet_costs_none_that_is() {
    let mut roster = roster(&[("new", Phase::Healthy, 2)]);
    let until = Some(NOW.plus(Duration::from_secs(1)));
    roster.put("kept", Member { protected_until: until, ..member("new", Phase::Pending) });
    assert_eq!(plan_replica(&roster, &wanted(2, 100, 200), NOW).scale_in, 0);
    assert_eq!(plan_replica(&roster, &wanted(2, 50, 200), NOW).scale_in, 1);
    roster.put("kept", Member { protected_until: until, ..member("new", Phase::Healthy) });
    assert_eq!(plan_replica(&roster, &wanted(2, 100, 200), NOW).scale_in, 1);
}

#[test]
fn a_daemon_runs_once_on_each_instance() {
    let instances: BTreeSet<String> = ["a", "b", "c"].map(str::to_owned).into();
    let on = |instance: &str, member: Member| Member { instance: instance.to_owned(), ..member };
    let plan = |roster: &Roster, minimum| plan_daemon(roster, &daemon(&instances, minimum), NOW);
    let mut roster = Roster::default();
    assert_eq!(plan(&roster, 0).start_on, instances);
    roster.put("1", on("a", member("new", Phase::Healthy)));
    roster.put("2", on("b", member("old", Phase::Healthy)));
    roster.put("3", on("c", member("old", Phase::Healthy)));
    roster.put("4", on("gone", member("new", Phase::Healthy)));
    let step = plan(&roster, 0);
    assert_eq!(step.stop, ["2", "3", "4"].map(str::to_owned).into());
    assert!(step.start_on.is_empty() && !step.is_steady, "the old task goes first");
    assert_eq!(plan(&roster, 50).stop, ["2", "3", "4"].map(str::to_owned).into());
    assert_eq!(plan(&roster, 75).stop, ["2", "4"].map(str::to_owned).into());
    roster.put("2", on("b", Member { is_stopping: true, ..member("old", Phase::Healthy) }));
    assert!(plan(&roster, 0).start_on.is_empty());
    roster.remove("2");
    assert_eq!(plan(&roster, 0).start_on, ["b".to_owned()].into());
}

#[test]
fn a_daemon_is_the_last_to_leave_an_instance() {
    let mut roster = Roster::default();
    roster.put("1", Member { is_leaving: true, ..member("new", Phase::Healthy) });
    let nowhere = BTreeSet::new();
    let plan = |company: bool| {
        let wanted = DaemonWanted { has_company: &|_: &str| company, ..daemon(&nowhere, 0) };
        plan_daemon(&roster, &wanted, NOW).stop.len()
    };
    assert_eq!((plan(true), plan(false)), (0, 1));
}

fn signals() -> Signals {
    Signals {
        gate: Gate::Open,
        is_scaled_up: false,
        is_cleaned_up: false,
        breaker: Some((0, 3)),
        alarms: Vec::new(),
        bake: Duration::from_secs(60),
        bake_until: None,
    }
}

#[test]
fn a_deployment_passes_through_its_stages() {
    assert_eq!(advance(Stage::ReconcileService, &signals(), NOW), Advance::Enter(Stage::PreScaleUp));
    assert_eq!(advance(Stage::PreScaleUp, &Signals { gate: Gate::Waiting, ..signals() }, NOW), Advance::Stay);
    assert_eq!(advance(Stage::ScaleUp, &signals(), NOW), Advance::Stay);
    let scaled = Signals { is_scaled_up: true, ..signals() };
    assert_eq!(advance(Stage::ScaleUp, &scaled, NOW), Advance::Enter(Stage::PostScaleUp));
    let until = NOW.plus(Duration::from_secs(60));
    assert_eq!(advance(Stage::BakeTime, &scaled, NOW), Advance::BakeUntil(until));
    let baking = Signals { bake_until: Some(until), ..scaled };
    assert_eq!(advance(Stage::BakeTime, &baking, NOW), Advance::Stay);
    assert_eq!(advance(Stage::BakeTime, &baking, until), Advance::Enter(Stage::CleanUp));
    assert_eq!(advance(Stage::CleanUp, &baking, until), Advance::Stay);
    let clean = Signals { is_cleaned_up: true, ..baking };
    assert_eq!(advance(Stage::CleanUp, &clean, until), Advance::End(Outcome::Successful));
}

#[test]
fn failures_end_a_deployment_at_any_stage() {
    for stage in STAGES {
        let tripped = Signals { breaker: Some((3, 3)), ..signals() };
        assert_eq!(advance(stage, &tripped, NOW), Advance::End(Outcome::BreakerTripped));
        let failed = Signals { gate: Gate::Failed("exit 1".to_owned()), ..signals() };
        assert_eq!(advance(stage, &failed, NOW), Advance::End(Outcome::HookFailed("exit 1".to_owned())));
    }
    let alarmed = Signals { alarms: vec!["errors".to_owned()], ..signals() };
    assert_eq!(advance(Stage::BakeTime, &alarmed, NOW), Advance::End(Outcome::Alarmed(vec!["errors".to_owned()])));
    assert_eq!(advance(Stage::PreScaleUp, &alarmed, NOW), Advance::Enter(Stage::ScaleUp), "it has done nothing yet");
}

#[derive(Debug, Clone)]
enum Happening {
    Runs(usize),
    BecomesHealthy(usize),
    BecomesUnhealthy(usize),
    Ends(usize),
    InstanceLeaves(usize),
    Scaled(usize),
}

fn happenings() -> impl Strategy<Value = Vec<Happening>> {
    let happening = prop_oneof![
        4 => (0..64_usize).prop_map(Happening::Runs),
        8 => (0..64_usize).prop_map(Happening::BecomesHealthy),
        1 => (0..64_usize).prop_map(Happening::BecomesUnhealthy),
        2 => (0..64_usize).prop_map(Happening::Ends),
        1 => (0..64_usize).prop_map(Happening::InstanceLeaves),
        1 => (0..12_usize).prop_map(Happening::Scaled),
    ];
    proptest::collection::vec(happening, 0..80)
}

/// A service in a world where tasks do as they are told or worse.
struct World {
    roster: Roster,
    wanted: Wanted,
    percents: (usize, usize),
    next: usize,
}

impl World {
    fn change(&mut self, place: usize, change: impl Fn(&mut Member)) {
        let Some((key, member)) = self.roster.members().nth(place) else { return };
        let (key, mut member) = (key.clone(), member.clone());
        change(&mut member);
        self.roster.put(&key, member);
    }

    fn happen(&mut self, happening: &Happening) {
        match happening {
            Happening::Runs(place) => self.change(*place, |member| {
                if member.phase == Phase::Pending {
                    member.phase = UNKNOWN;
                }
            }),
            Happening::BecomesHealthy(place) => self.change(*place, |member| {
                if member.phase != Phase::Pending {
                    member.phase = Phase::Healthy;
                }
            }),
            Happening::BecomesUnhealthy(place) => self.change(*place, |member| {
                if member.phase != Phase::Pending {
                    member.phase = Phase::Unhealthy;
                }
            }),
            Happening::Ends(place) => {
                let key = self.roster.members().nth(*place).map(|(key, _)| key.clone());
                key.inspect(|key| self.roster.remove(key));
            }
            Happening::InstanceLeaves(place) => self.change(*place, |member| member.is_leaving = true),
            Happening::Scaled(desired) => {
                self.wanted.desired = *desired;
                self.wanted.bounds = Bounds::new(*desired, self.percents.0, self.percents.1);
            }
        }
    }

    fn act(&mut self) -> ReplicaStep {
        let before = self.roster.totals();
        let step = plan_replica(&self.roster, &self.wanted, NOW);
        let Bounds { lower, upper } = self.wanted.bounds;
        let mut stops: Vec<String> = step.stop.iter().cloned().collect();
        stops.extend(self.roster.in_phase("new", Phase::Healthy).take(step.scale_in).cloned());
        assert_eq!(stops.len(), step.stop.len() + step.scale_in, "there are as many as are to be stopped");
        for key in stops {
            let member = self.roster.get(&key).unwrap().clone();
            assert!(!member.is_stopping);
            self.roster.put(&key, Member { is_stopping: true, ..member });
        }
        let stopped = before.healthy - self.roster.totals().healthy;
        assert!(stopped == 0 || self.roster.totals().healthy >= lower, "{step:?}: below the minimum");
        for _ in 0..step.start {
            self.roster.put(&format!("task-{:04}", self.next), member("new", Phase::Pending));
            self.next += 1;
        }
        assert!(step.start == 0 || self.roster.totals().total() <= upper, "{step:?}: above the maximum");
        step
    }
}

proptest! {
    #[test]
    fn the_bounds_hold_and_the_service_comes_to_rest(
        desired in 0..12_usize,
        old in 0..12_usize,
        percents in prop_oneof![Just((100, 200)), Just((50, 150)), Just((0, 100)), Just((50, 100)), Just((100, 125)), (0..100_usize, 101..300_usize)],
        happenings in happenings(),
    ) {
        let wanted = wanted(desired, percents.0, percents.1);
        let mut world = World { roster: roster(&[("old", Phase::Healthy, old)]), wanted, percents, next: 0 };
        world.act();
        for happening in &happenings {
            world.happen(happening);
            world.act();
        }
        let mut is_steady = false;
        for _ in 0..100 {
            let step = world.act();
            is_steady = step.is_steady;
            if step.is_steady || step.is_stuck {
                break;
            }
            // Left alone, tasks begin, are healthy, and end when they are told to.
            let members: Vec<(String, Member)> = world.roster.members().map(|(key, it)| (key.clone(), it.clone())).collect();
            for (key, member) in members {
                match (member.is_stopping, member.phase) {
                    (true, _) => world.roster.remove(&key),
                    (false, Phase::Pending | Phase::Settling(_)) => world.roster.put(&key, Member { phase: Phase::Healthy, ..member }),
                    _ => {}
                }
            }
        }
        let has_room = world.wanted.bounds.upper > world.wanted.desired || world.wanted.bounds.lower < world.wanted.desired;
        prop_assert!(is_steady || !has_room, "{:?} {:?}", world.roster, world.wanted);
    }

    #[test]
    fn a_deployment_alone_is_decided_on_as_if_there_were_no_others(
        desired in 0..6_usize,
        tasks in proptest::collection::vec((0..3_usize, 0..5_usize, any::<bool>(), any::<bool>(), any::<bool>()), 0..24),
    ) {
        let (mut all, mut own) = (Roster::default(), Roster::default());
        for (number, (deployment, phase, is_leaving, is_stopping, is_protected)) in tasks.into_iter().enumerate() {
            let deployment = ["new", "next", "old"][deployment];
            let phases = [Phase::Pending, UNKNOWN, Phase::Settling(Some(NOW)), Phase::Healthy, Phase::Unhealthy];
            let protected_until = is_protected.then(|| NOW.plus(Duration::from_secs(1)));
            let member = Member { is_leaving, is_stopping, protected_until, ..member(deployment, phases[phase]) };
            if deployment == "new" {
                own.put(&number.to_string(), member.clone());
            }
            all.put(&number.to_string(), member);
        }
        let bounds = Bounds { lower: 0, upper: usize::MAX };
        let wanted = Wanted { bounds, is_alone: true, ..wanted(desired, 0, 100) };
        prop_assert_eq!(plan_replica(&all, &wanted, NOW), plan_replica(&own, &wanted, NOW));
    }

    #[test]
    fn a_roster_counts_as_if_it_had_been_made_anew(
        changes in proptest::collection::vec((0..12_usize, 0..6_usize, any::<bool>(), any::<bool>()), 0..60),
        until in 0..40_i64,
    ) {
        let mut kept = Roster::default();
        let mut last = std::collections::BTreeMap::new();
        for (key, phase, is_leaving, is_stopping) in changes {
            let key = key.to_string();
            let phase = [Phase::Pending, Phase::Settling(None), Phase::Settling(Some(Timestamp(20))), Phase::Healthy, Phase::Unhealthy].get(phase);
            if let Some(phase) = phase {
                let member = Member { is_leaving, is_stopping, ..member("new", *phase) };
                kept.put(&key, member.clone());
                last.insert(key, member);
            } else {
                kept.remove(&key);
                last.remove(&key);
            }
        }
        let mut anew = Roster::default();
        for (key, member) in &last {
            anew.put(key, member.clone());
        }
        prop_assert_eq!(&kept, &anew);
        kept.settle(Timestamp(until));
        let settling = |member: &&Member| !member.is_stopping && matches!(member.phase, Phase::Settling(Some(_)));
        let waiting = last.values().filter(settling).count();
        prop_assert_eq!(kept.next_due().is_some(), until < 20 && waiting > 0);
        prop_assert_eq!(kept.totals().total() + kept.stopping(), last.len());
    }
}
