//! The next starts and stops of a service that runs one task on each container instance.

use std::collections::{BTreeMap, BTreeSet};

use estiva_model::Timestamp;

use super::{Bounds, Member, Phase, Roster};

/// What to do next.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DaemonStep {
    /// The keys of the container instances on which to start a task.
    pub start_on: BTreeSet<String>,
    /// The keys of the tasks to stop.
    pub stop: BTreeSet<String>,
    /// A healthy task on each container instance, and no other task.
    pub is_steady: bool,
}

/// What a service wants.
pub struct DaemonWanted<'a> {
    /// The id of the deployment whose tasks are to run.
    pub deployment: &'a str,
    /// It has failed: tasks of others stay in their places.
    pub is_given_up: bool,
    /// The keys of the container instances that are to have a task.
    pub eligible: &'a BTreeSet<String>,
    /// In percent of these.
    pub minimum_healthy_percent: usize,
    /// Whether tasks may be started now.
    pub may_start: bool,
    /// Whether others than daemons are on a container instance: on one that takes leave the task stays for as long.
    pub has_company: &'a dyn Fn(&str) -> bool,
}

/// Decides on starts and stops. A task makes room for the next one of its container instance before that is started: there are
/// never two.
pub fn plan_daemon(roster: &Roster, wanted: &DaemonWanted<'_>, now: Timestamp) -> DaemonStep {
    let DaemonWanted { eligible, may_start, .. } = *wanted;
    let mut by_instance: BTreeMap<&str, Vec<(&String, &Member)>> = BTreeMap::new();
    for (key, member) in roster.members() {
        by_instance.entry(&member.instance).or_default().push((key, member));
    }
    let lower = Bounds::new(eligible.len(), wanted.minimum_healthy_percent, 100).lower;
    let mut healthy_left = roster.totals().healthy.saturating_sub(lower);
    let mut step = DaemonStep { is_steady: !wanted.is_given_up, ..DaemonStep::default() };
    for (instance, members) in &by_instance {
        let is_eligible = eligible.contains(*instance);
        let mut own = 0;
        for (key, member) in members {
            let is_of_it = wanted.is_given_up || member.deployment == wanted.deployment;
            let is_own = is_of_it && member.phase != Phase::Unhealthy;
            own += usize::from(is_own && !member.is_stopping);
            // What ends elsewhere, on a node that is lost perhaps, is no part of what is to be.
            if member.is_stopping && !is_eligible {
                continue;
            }
            let stays =
                if is_eligible { is_own && own == 1 } else { member.is_leaving && (wanted.has_company)(instance) };
            step.is_steady &= stays && !member.is_stopping && member.phase == Phase::Healthy;
            if stays || member.is_stopping || member.is_protected(now) {
                continue;
            }
            let replaces = is_eligible && member.phase == Phase::Healthy;
            if replaces && (healthy_left == 0 || !may_start) {
                continue;
            }
            healthy_left -= usize::from(replaces);
            step.stop.insert((*key).clone());
        }
    }
    for instance in eligible {
        if !by_instance.contains_key(instance.as_str()) {
            step.is_steady = false;
            if may_start {
                step.start_on.insert(instance.clone());
            }
        }
    }
    step
}
