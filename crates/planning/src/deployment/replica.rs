//! The next starts and stops of a service that runs a number of equal tasks.

use std::collections::BTreeSet;

use estiva_model::Timestamp;

use super::{Bounds, Phase, Roster};

/// What a service wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The id of the deployment whose tasks are to run.
    pub deployment: String,
    /// How many.
    pub desired: usize,
    /// Tasks beyond the desired count that are started before others are stopped, to move them elsewhere.
    pub extra: usize,
    /// Between how many, while the service changes.
    pub bounds: Bounds,
    /// Whether tasks may be started now: not while a hook or a wait after failures holds them back.
    pub may_start: bool,
    /// How many tasks found no room when they were to be started last.
    pub unplaced: usize,
    /// Tasks of other deployments are not this one's to replace.
    pub is_alone: bool,
}

/// What to do next.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReplicaStep {
    /// How many tasks are missing, whether or not they may be started now.
    pub missing: usize,
    /// How many tasks to start.
    pub start: usize,
    /// The keys of the tasks to stop.
    pub stop: BTreeSet<String>,
    /// How many more to stop of the wanted deployment's healthy tasks; which of them is a question of placement.
    pub scale_in: usize,
    /// The bounds leave no room to start a task, and none to stop one.
    pub is_stuck: bool,
    /// As many healthy tasks as are wanted, and no others.
    pub is_steady: bool,
}

/// Decides on starts and stops.
///
/// Unhealthy tasks and outgoing ones (of other deployments, or on container instances that take leave) stay until healthy
/// tasks have taken their place, unless the maximum leaves no room for these, or no container instance has.
pub fn plan_replica(roster: &Roster, wanted: &Wanted, now: Timestamp) -> ReplicaStep {
    let target = wanted.desired + wanted.extra;
    let own = roster.staying(&wanted.deployment);
    let all = if wanted.is_alone { own + roster.leaving(&wanted.deployment) } else { roster.totals() };
    let outgoing = all.total() - own.total();
    let good = own.pending + own.settling + own.healthy;
    let lacking = target.saturating_sub(good);
    let missing = if wanted.may_start { lacking } else { 0 };
    let upper = wanted.bounds.upper;
    let room = upper.saturating_sub(all.total());
    let blocked = missing.saturating_sub(room);

    let healthy_left = all.healthy.saturating_sub(wanted.bounds.lower);
    let mut stops = Stops { roster, wanted, now, keys: BTreeSet::new(), healthy_left };
    stops.take_leaving_pending();

    let replaced = (own.healthy + own.unhealthy).saturating_sub(target).min(own.unhealthy);
    stops.take_own(Phase::Unhealthy, replaced);
    let mut surplus = good.saturating_sub(target);
    surplus -= stops.take_own(Phase::Pending, surplus);
    surplus -= stops.take_own(Phase::Settling(None), surplus);

    let superseded = outgoing.saturating_sub(target.saturating_sub(own.healthy));
    let unplaced = if roster.stopping() == 0 { wanted.unplaced.min(missing) } else { 0 };
    stops.take_outgoing(superseded.max(blocked).max(unplaced));
    let is_waiting = own.pending + own.settling + roster.stopping() > 0;
    if blocked > 0 && stops.keys.is_empty() && !is_waiting {
        stops.take_own(Phase::Unhealthy, 1);
    }

    let room = upper.saturating_sub(all.total() - stops.keys.len());
    let start = missing.min(room);
    let is_idle = start == 0 && stops.keys.is_empty() && surplus == 0;
    ReplicaStep {
        missing: lacking,
        start,
        // A protected task that has not come to be healthy must not cost one that is.
        scale_in: surplus.min(stops.healthy_left),
        is_stuck: is_idle && blocked > 0 && !is_waiting && all.pending == 0,
        is_steady: is_idle && outgoing == 0 && own.healthy == target && own.total() == target,
        stop: stops.keys,
    }
}

/// Tasks chosen to be stopped.
struct Stops<'a> {
    roster: &'a Roster,
    wanted: &'a Wanted,
    now: Timestamp,
    keys: BTreeSet<String>,
    /// How many healthy ones may still be chosen.
    healthy_left: usize,
}

impl Stops<'_> {
    /// On a container instance that takes leave they would only begin to run to be stopped.
    fn take_leaving_pending(&mut self) {
        let keys: Vec<String> = self.roster.leaving_pending().filter(|key| self.concerns(key)).cloned().collect();
        self.keys.extend(keys);
    }

    fn take_own(&mut self, phase: Phase, count: usize) -> usize {
        self.take(self.roster.in_phase(&self.wanted.deployment, phase), count)
    }

    /// First those that are no loss.
    fn take_outgoing(&mut self, count: usize) {
        let deployment = &self.wanted.deployment;
        let mut left = count;
        for phase in [Phase::Pending, Phase::Unhealthy, Phase::Settling(None)] {
            left -= self.take(self.roster.outgoing(deployment, phase), left);
        }
        self.healthy_left -= self.take(self.roster.outgoing(deployment, Phase::Healthy), left.min(self.healthy_left));
    }

    fn concerns(&self, key: &str) -> bool {
        let deployment = &self.wanted.deployment;
        !self.wanted.is_alone || self.roster.get(key).is_some_and(|member| member.deployment == *deployment)
    }

    /// Adds the first `count` that may be stopped; how many there were.
    fn take<'k>(&mut self, keys: impl Iterator<Item = &'k String>, count: usize) -> usize {
        let is_free = |key: &&String| {
            self.concerns(key) && self.roster.get(key).is_some_and(|member| !member.is_protected(self.now))
        };
        let chosen: Vec<String> =
            keys.filter(|key| !self.keys.contains(*key)).filter(is_free).take(count).cloned().collect();
        let taken = chosen.len();
        self.keys.extend(chosen);
        taken
    }
}
