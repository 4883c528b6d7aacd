//! A service's tasks, counted by deployment and by how far they are; kept up to date task by task.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Add, Sub};

use estiva_model::Timestamp;

/// How far a task is, as a deployment sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Before RUNNING.
    Pending,
    /// RUNNING, and not known to be healthy yet; it will be taken for what [`Member::settles_as`] says at the given time.
    Settling(Option<Timestamp>),
    /// RUNNING and healthy.
    Healthy,
    /// RUNNING, and its health checks fail.
    Unhealthy,
}

/// What time makes of a task that is settling.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the phases' names")]
pub enum Settled {
    #[default]
    Healthy,
    Unhealthy,
}

/// A task that has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The id of its deployment.
    pub deployment: String,
    /// The key of its container instance.
    pub instance: String,
    /// How far it is.
    pub phase: Phase,
    /// Its container instance takes leave: it has to be replaced as if it were of an old deployment.
    pub is_leaving: bool,
    /// It was told to end, and has not ended yet.
    pub is_stopping: bool,
    /// What it is taken for once it has settled: healthy after a while without a health check, unhealthy after a grace period.
    pub settles_as: Settled,
    /// Not to be stopped by deployments and by scaling in before.
    pub protected_until: Option<Timestamp>,
    /// It counts among the failed tasks of its deployment, though it has not ended.
    pub has_failed: bool,
}

/// What happened last to a deployment's tasks: whether those that failed are made up for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Turn {
    BecameHealthy,
    Failed,
}

impl Member {
    /// Whether scaling in and deployments may stop it.
    pub fn is_protected(&self, now: Timestamp) -> bool {
        self.protected_until.is_some_and(|until| until > now)
    }
}

/// How many tasks there are in each phase.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the phases' names")]
pub struct Counts {
    pub pending: usize,
    pub settling: usize,
    pub healthy: usize,
    pub unhealthy: usize,
}

impl Counts {
    /// All of them.
    pub fn total(self) -> usize {
        self.pending + self.settling + self.healthy + self.unhealthy
    }
}

impl Add for Counts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            pending: self.pending + other.pending,
            settling: self.settling + other.settling,
            healthy: self.healthy + other.healthy,
            unhealthy: self.unhealthy + other.unhealthy,
        }
    }
}

impl Sub for Counts {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self {
            pending: self.pending - other.pending,
            settling: self.settling - other.settling,
            healthy: self.healthy - other.healthy,
            unhealthy: self.unhealthy - other.unhealthy,
        }
    }
}

/// Keys of tasks, by phase.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Phases {
    pending: BTreeSet<String>,
    settling: BTreeSet<String>,
    healthy: BTreeSet<String>,
    unhealthy: BTreeSet<String>,
}

impl Phases {
    fn of(&mut self, phase: Phase) -> &mut BTreeSet<String> {
        match phase {
            Phase::Pending => &mut self.pending,
            Phase::Settling(_) => &mut self.settling,
            Phase::Healthy => &mut self.healthy,
            Phase::Unhealthy => &mut self.unhealthy,
        }
    }

    fn counts(&self) -> Counts {
        Counts {
            pending: self.pending.len(),
            settling: self.settling.len(),
            healthy: self.healthy.len(),
            unhealthy: self.unhealthy.len(),
        }
    }
}

/// A service's tasks. Every operation costs O(log n), but those that list tasks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Roster {
    members: BTreeMap<String, Member>,
    /// By deployment, and by whether the container instance takes leave; without those that are stopping.
    groups: BTreeMap<(String, bool), Phases>,
    /// When tasks have settled.
    due: BTreeSet<(Timestamp, String)>,
    /// Until when tasks are protected.
    protections: BTreeSet<(Timestamp, String)>,
    stopping: usize,
    totals: Counts,
    /// By deployment, what happened last and when.
    turns: BTreeMap<String, (Timestamp, Turn)>,
}

impl Roster {
    /// Takes in a task, or what has become of it.
    pub fn put(&mut self, key: &str, member: Member) {
        self.remove(key);
        self.protections.extend(member.protected_until.map(|until| (until, key.to_owned())));
        if member.is_stopping {
            self.stopping += 1;
        } else {
            self.groups.entry(group(&member)).or_default().of(member.phase).insert(key.to_owned());
            self.totals = self.totals + one(member.phase);
            if let Phase::Settling(Some(at)) = member.phase {
                self.due.insert((at, key.to_owned()));
            }
        }
        self.members.insert(key.to_owned(), member);
    }

    /// Forgets a task that has ended.
    pub fn remove(&mut self, key: &str) {
        let Some(member) = self.members.remove(key) else { return };
        if let Some(until) = member.protected_until {
            self.protections.remove(&(until, key.to_owned()));
        }
        if member.is_stopping {
            self.stopping -= 1;
            return;
        }
        self.totals = self.totals - one(member.phase);
        if let Phase::Settling(Some(at)) = member.phase {
            self.due.remove(&(at, key.to_owned()));
        }
        let group = group(&member);
        if let Some(phases) = self.groups.get_mut(&group) {
            phases.of(member.phase).remove(key);
            if phases.counts().total() == 0 {
                self.groups.remove(&group);
            }
        }
    }

    /// Takes what has run for long enough by now for what it settles as.
    pub fn settle(&mut self, now: Timestamp) {
        while let Some((at, key)) = self.due.first().cloned().filter(|(at, _)| *at <= now) {
            let Some(member) = self.members.get(&key).cloned() else { return };
            let phase = match member.settles_as {
                Settled::Healthy => {
                    self.note(&member.deployment, Turn::BecameHealthy, at);
                    Phase::Healthy
                }
                Settled::Unhealthy => Phase::Unhealthy,
            };
            self.put(&key, Member { phase, ..member });
        }
    }

    /// Notes what happened to a task of a deployment. Of what happened at one time the last that is noted counts.
    pub fn note(&mut self, deployment: &str, turn: Turn, at: Timestamp) {
        if self.turns.get(deployment).is_none_or(|(known, _)| *known <= at) {
            self.turns.insert(deployment.to_owned(), (at, turn));
        }
    }

    /// Whether a task of the deployment has become healthy since one of its tasks failed last.
    pub fn has_recovered(&self, deployment: &str) -> bool {
        self.turns.get(deployment).is_some_and(|(_, turn)| *turn == Turn::BecameHealthy)
    }

    /// Forgets what happened to the tasks of deployments that are over.
    pub fn forget_turns(&mut self, is_kept: impl Fn(&str) -> bool) {
        self.turns.retain(|deployment, _| is_kept(deployment));
    }

    /// When the next task has settled.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.due.first().map(|(at, _)| *at)
    }

    /// When the next task is not protected any more.
    pub fn next_unprotected(&self, now: Timestamp) -> Option<Timestamp> {
        let later = (Timestamp(now.as_millis() + 1), String::new());
        self.protections.range(later..).next().map(|(until, _)| *until)
    }

    /// The task, if it has not ended.
    pub fn get(&self, key: &str) -> Option<&Member> {
        self.members.get(key)
    }

    /// Every task that has not ended, those that are stopping included.
    pub fn members(&self) -> impl Iterator<Item = (&String, &Member)> {
        self.members.iter()
    }

    /// Whether no task is left, not even one that is stopping.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Tasks that were told to end and have not yet.
    pub fn stopping(&self) -> usize {
        self.stopping
    }

    /// All tasks that are to run.
    pub fn totals(&self) -> Counts {
        self.totals
    }

    /// Those of a deployment on container instances that stay.
    pub fn staying(&self, deployment: &str) -> Counts {
        self.counts(deployment, false)
    }

    /// Those of a deployment on container instances that take leave.
    pub fn leaving(&self, deployment: &str) -> Counts {
        self.counts(deployment, true)
    }

    /// The ids of the deployments that have tasks that are to run.
    pub fn deployments(&self) -> BTreeSet<&str> {
        self.groups.keys().map(|(deployment, _)| deployment.as_str()).collect()
    }

    /// Those of a deployment that are in a phase, on container instances that stay; of [`Phase::Settling`] whatever the time.
    pub fn in_phase(&self, deployment: &str, phase: Phase) -> impl Iterator<Item = &String> {
        let phases = self.groups.get(&(deployment.to_owned(), false));
        phases.into_iter().flat_map(move |phases| keys(phases, phase))
    }

    /// Those in a phase that are of another deployment than the given one, or on a container instance that takes leave.
    pub fn outgoing(&self, primary: &str, phase: Phase) -> impl Iterator<Item = &String> {
        let groups = self.groups.iter().filter(move |((deployment, leaving), _)| *leaving || deployment != primary);
        groups.flat_map(move |(_, phases)| keys(phases, phase))
    }

    /// Those that have not begun to run on container instances that take leave.
    pub fn leaving_pending(&self) -> impl Iterator<Item = &String> {
        let leaving = self.groups.iter().filter(|((_, leaving), _)| *leaving);
        leaving.flat_map(|(_, phases)| phases.pending.iter())
    }

    fn counts(&self, deployment: &str, leaving: bool) -> Counts {
        self.groups.get(&(deployment.to_owned(), leaving)).map(Phases::counts).unwrap_or_default()
    }
}

fn keys(phases: &Phases, phase: Phase) -> impl Iterator<Item = &String> {
    match phase {
        Phase::Pending => phases.pending.iter(),
        Phase::Settling(_) => phases.settling.iter(),
        Phase::Healthy => phases.healthy.iter(),
        Phase::Unhealthy => phases.unhealthy.iter(),
    }
}

fn group(member: &Member) -> (String, bool) {
    (member.deployment.clone(), member.is_leaving)
}

fn one(phase: Phase) -> Counts {
    let mut counts = Counts::default();
    match phase {
        Phase::Pending => counts.pending = 1,
        Phase::Settling(_) => counts.settling = 1,
        Phase::Healthy => counts.healthy = 1,
        Phase::Unhealthy => counts.unhealthy = 1,
    }
    counts
}
