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

/// Decides on starts and stops. `eligible` are the container instances that are to have a task; on one that takes leave the
/// task stays for as long as `has_company` says that others are there. A task makes room for the next one of its container
/// instance before that is started: there are never two.
pub fn plan_daemon(
    roster: &Roster,
    deployment: &str,
    eligible: &BTreeSet<String>,
    minimum_healthy_percent: usize,
    may_start: bool,
    has_company: &dyn Fn(&str) -> bool,
    now: Timestamp,
) -> DaemonStep {
    let mut by_instance: BTreeMap<&str, Vec<(&String, &Member)>> = BTreeMap::new();
    for (key, member) in roster.members() {
        by_instance.entry(&member.instance).or_default().push((key, member));
    }
    let lower = Bounds::new(eligible.len(), minimum_healthy_percent, 100).lower;
    let mut healthy_left = roster.totals().healthy.saturating_sub(lower);
    let mut step = DaemonStep { is_steady: true, ..DaemonStep::default() };
    for (instance, members) in &by_instance {
        let is_eligible = eligible.contains(*instance);
        let mut own = 0;
        for (key, member) in members {
            let is_own = member.deployment == deployment && member.phase != Phase::Unhealthy;
            own += usize::from(is_own && !member.is_stopping);
            // What ends elsewhere, on a node that is lost perhaps, is no part of what is to be.
            if member.is_stopping && !is_eligible {
                continue;
            }
            let stays = if is_eligible { is_own && own == 1 } else { member.is_leaving && has_company(instance) };
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
