//! The order in which a task's containers start and stop: `dependsOn`, and at the end its reverse.

use crate::lifecycle::{ContainerStatus, HealthStatus};

/// What a container waits for: `ContainerDependency` of the ECS API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// It was started.
    Start,
    /// It has ended.
    Complete,
    /// It has ended with exit code 0.
    Success,
    /// It passes its health check.
    Healthy,
}

impl Condition {
    /// `None` for a text that names no condition.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "START" => Self::Start,
            "COMPLETE" => Self::Complete,
            "SUCCESS" => Self::Success,
            "HEALTHY" => Self::Healthy,
            _ => return None,
        })
    }

    /// As ECS writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Start => "START",
            Self::Complete => "COMPLETE",
            Self::Success => "SUCCESS",
            Self::Healthy => "HEALTHY",
        }
    }
}

/// How far a container is, as others may wait for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// PENDING, RUNNING or STOPPED.
    pub status: ContainerStatus,
    /// Whether it ever ran.
    pub started: bool,
    /// Of one that ended.
    pub exit_code: Option<i32>,
    /// By its health check.
    pub health: HealthStatus,
    /// It has had its `startTimeout`, and was to be further by now.
    pub timed_out: bool,
}

/// Whether what is waited for has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// It has.
    Over,
    /// It may come yet.
    Goes,
    /// It never will.
    Vain,
}

/// Whether `condition` holds for a container that is so far.
///
/// SUCCESS is in vain once the container has ended in another way, HEALTHY once it has ended at all; START once it has
/// ended without having run. A condition that does not hold when the container's start time-out is over is in vain too.
pub fn wait(condition: Condition, on: Progress) -> Wait {
    let stopped = on.status == ContainerStatus::Stopped;
    let holds = match condition {
        Condition::Start => on.started,
        Condition::Complete => stopped && on.started,
        Condition::Success => stopped && on.exit_code == Some(0),
        Condition::Healthy => on.status == ContainerStatus::Running && on.health == HealthStatus::Healthy,
    };
    if holds {
        Wait::Over
    } else if stopped || on.timed_out {
        Wait::Vain
    } else {
        Wait::Goes
    }
}

/// Of containers that are told to end, which may be told now: those that no container that still runs depends on.
/// `depends(a, b)` says whether `a` waited for `b` at the start. Returns indices into `running`.
pub fn next_to_stop(running: &[bool], depends: impl Fn(usize, usize) -> bool) -> Vec<usize> {
    let runs = |index: &usize| running.get(*index).copied().unwrap_or(false);
    let indices = || (0..running.len()).filter(runs);
    indices().filter(|index| !indices().any(|other| other != *index && depends(other, *index))).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn progress(status: ContainerStatus, exit_code: Option<i32>, health: HealthStatus) -> Progress {
        Progress { status, started: status != ContainerStatus::Pending, exit_code, health, timed_out: false }
    }

    #[test]
    fn each_condition_has_its_moment() {
        use ContainerStatus::{Pending, Running, Stopped};
        use HealthStatus::{Healthy, Unhealthy, Unknown};
        let table = [
            (progress(Pending, None, Unknown), [Wait::Goes, Wait::Goes, Wait::Goes, Wait::Goes]),
            (progress(Running, None, Unknown), [Wait::Over, Wait::Goes, Wait::Goes, Wait::Goes]),
            (progress(Running, None, Unhealthy), [Wait::Over, Wait::Goes, Wait::Goes, Wait::Goes]),
            (progress(Running, None, Healthy), [Wait::Over, Wait::Goes, Wait::Goes, Wait::Over]),
            (progress(Stopped, Some(0), Healthy), [Wait::Over, Wait::Over, Wait::Over, Wait::Vain]),
            (progress(Stopped, Some(3), Unknown), [Wait::Over, Wait::Over, Wait::Vain, Wait::Vain]),
        ];
        for (on, expected) in table {
            let found =
                [Condition::Start, Condition::Complete, Condition::Success, Condition::Healthy].map(|it| wait(it, on));
            assert_eq!(found, expected, "{on:?}");
        }
        let never_ran = Progress { started: false, ..progress(Stopped, None, Unknown) };
        assert_eq!(wait(Condition::Start, never_ran), Wait::Vain);
        let late = Progress { timed_out: true, ..progress(Running, None, Unknown) };
        assert_eq!((wait(Condition::Start, late), wait(Condition::Healthy, late)), (Wait::Over, Wait::Vain));
    }

    proptest! {
        /// Containers are told to end in rounds; nothing ends before what depends on it, and all end.
        #[test]
        fn what_started_first_stops_last(edges in proptest::collection::vec((0_usize..8, 0_usize..8), 0..20)) {
            // Towards smaller numbers only: a task definition has no cycles.
            let depends = |a: usize, b: usize| a > b && edges.contains(&(a, b));
            let mut running = [true; 8];
            for _ in 0..8 {
                let next = next_to_stop(&running, depends);
                for index in &next {
                    prop_assert!((0..8).all(|other| !running[other] || !depends(other, *index)));
                }
                prop_assert!(running.iter().all(|runs| !runs) || !next.is_empty());
                for index in next {
                    running[index] = false;
                }
            }
            prop_assert_eq!(running, [false; 8]);
        }
    }
}
