//! Rankings that outlive a call: what changed since is looked at, and nothing else.
//!
//! What has changed is what two snapshots differ in: the one of the last call and that of the transaction under way. That is
//! right also when transactions in between were given up, or their commit failed. What a call has chosen is looked at again by
//! the next one in any case, for the ranking has taken its room, and nobody says whether the transaction came about.

use std::collections::{BTreeSet, VecDeque};

use estiva_api_ecs::types as api;
use estiva_planning::placement::{Demand, Strategies};
use estiva_store::{Row, Snapshot};
use rand::Rng;

use super::ranked::Ranked;
use super::{Placeable, site};
use crate::container_instance::table::{ConnectionRow, ContainerInstanceRow, ReservationRow};
use crate::scope::Scope;
use crate::task::constraint::Constraints;
use crate::task::table::TaskRow;

/// Candidates of all rankings, each some hundred bytes: 20 services on 10,000 instances, or 200 on 1,000.
const CANDIDATES_MAX: usize = 1 << 18;
/// To look at an instance again costs as much as to rank so many afresh.
const CHANGE_COST: usize = 3;
/// Of so few instances it does not matter.
const FEW: usize = 32;
/// Changed instances. A ranking that has missed more is made anew.
const NEWS_MAX: usize = 1 << 14;
/// Transactions that the snapshot may be behind: so long what they replaced stays in memory.
const BEHIND_MAX: u64 = 1 << 10;

#[derive(Default)]
pub(super) struct KeptRankings {
    /// What the news are told up to.
    seen: Option<Snapshot>,
    /// The keys of instances on which something changed, oldest first.
    news: VecDeque<String>,
    /// How many of the news are no longer there.
    forgotten: usize,
    /// The one that was used last is the last.
    rankings: Vec<Kept>,
}

struct Kept {
    kind: Kind,
    /// How many of all news it has taken in.
    read: usize,
    ranked: Ranked,
}

/// All that makes a ranking what it is, besides the instances.
#[derive(PartialEq, Eq)]
struct Kind {
    scope: Scope,
    cluster: String,
    capacity: api::LaunchType,
    /// Which attributes an instance has to have, with the next.
    definition: (String, u32),
    execute_command: bool,
    group: String,
    demand: Demand,
    constraints: Constraints,
    strategies: Strategies,
}

impl Kind {
    fn of(what: &Placeable<'_>) -> Self {
        let launch = what.launch;
        Self {
            scope: launch.scope.clone(),
            cluster: launch.cluster.clone(),
            capacity: launch.capacity(),
            definition: launch.revision(),
            execute_command: launch.enables_execute_command(),
            group: launch.group.clone(),
            demand: what.demand(),
            constraints: what.constraints.clone(),
            strategies: what.strategies.clone(),
        }
    }
}

impl KeptRankings {
    /// The instances for such tasks as the view has them.
    pub fn ranked(&mut self, view: &Snapshot, what: &Placeable<'_>, rng: &mut impl Rng) -> &mut Ranked {
        self.follow(view);
        let (kind, known) = (Kind::of(what), self.forgotten + self.news.len());
        let place = self.rankings.iter().position(|kept| kept.kind == kind);
        let kept = place.map(|place| self.rankings.remove(place)).filter(|kept| kept.read >= self.forgotten);
        let news = kept.as_ref().map(|kept| self.news.range(kept.read - self.forgotten..).collect::<BTreeSet<_>>());
        let news = news.unwrap_or_default();
        let sites = site::count(view, what.launch);
        let is_worth_it = |kept: &Kept| {
            let gone = kept.ranked.len().saturating_sub(sites);
            gone <= sites && news.len() * CHANGE_COST <= sites.max(FEW)
        };
        let kept = match kept.filter(is_worth_it) {
            Some(mut kept) => {
                for key in news {
                    kept.ranked.look_again(view, what, key, rng);
                }
                Kept { read: known, ..kept }
            }
            None => Kept { kind, read: known, ranked: Ranked::new(view, what, rng) },
        };
        let mut candidates = kept.ranked.len() + self.rankings.iter().map(|kept| kept.ranked.len()).sum::<usize>();
        while candidates > CANDIDATES_MAX && !self.rankings.is_empty() {
            candidates -= self.rankings.remove(0).ranked.len();
        }
        let last = self.rankings.len();
        self.rankings.push(kept);
        &mut self.rankings[last].ranked
    }

    /// On these instances something changed.
    pub fn note(&mut self, instances: impl IntoIterator<Item = String>) {
        self.news.extend(instances);
        let most = if self.rankings.is_empty() { 0 } else { NEWS_MAX };
        while self.news.len() > most {
            self.news.pop_front();
            self.forgotten += 1;
        }
    }

    /// Takes in what has changed, if it is much.
    pub fn keep_up(&mut self, view: &Snapshot) {
        if self.seen.as_ref().is_some_and(|seen| view.revision().abs_diff(seen.revision()) >= BEHIND_MAX) {
            self.follow(view);
        }
    }

    fn follow(&mut self, view: &Snapshot) {
        let seen = self.seen.replace(view.clone()).filter(|_| !self.rankings.is_empty());
        let Some(seen) = seen else { return };
        let mut news: Vec<String> = Vec::new();
        news.extend(changed(&seen, view, |row: &ContainerInstanceRow| row.key(), |_, _| true));
        news.extend(changed(
            &seen,
            view,
            |row: &ConnectionRow| row.instance.clone(),
            |one, other| one.connected != other.connected,
        ));
        // How many of its tasks run is nothing to placement.
        news.extend(changed(
            &seen,
            view,
            |row: &ReservationRow| row.instance.clone(),
            |one, other| one.remaining != other.remaining,
        ));
        // A task that is to end does not count any more among those of its group.
        news.extend(changed(&seen, view, TaskRow::container_instance_key, |one, other| {
            one.desired_status != other.desired_status
        }));
        self.note(news);
    }
}

/// The container instances of the rows that came, went, or are others in what matters.
fn changed<'a, R: Row>(
    before: &'a Snapshot,
    after: &'a Snapshot,
    instance: impl Fn(&R) -> String + 'a,
    matters: impl Fn(&R, &R) -> bool + 'a,
) -> impl Iterator<Item = String> + 'a {
    before.differences::<R>(after).filter_map(move |it| match (it.here, it.there) {
        (Some(one), Some(other)) => matters(&one, &other).then(|| instance(&other)),
        (one, other) => one.or(other).map(|row| instance(&row)),
    })
}
