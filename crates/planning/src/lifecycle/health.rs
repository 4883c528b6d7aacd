//! Health of containers, and what it makes of their task.

use super::HealthStatus;

/// A task's health, from its essential containers that have a health check: UNHEALTHY if any is, else UNKNOWN if any is,
/// else HEALTHY; UNKNOWN if there is none. The rule is that of the ECS API reference, `HealthCheck`.
pub fn task_health(checked_essential: impl IntoIterator<Item = HealthStatus>) -> HealthStatus {
    checked_essential
        .into_iter()
        .max_by_key(|health| match health {
            HealthStatus::Healthy => 0,
            HealthStatus::Unknown => 1,
            HealthStatus::Unhealthy => 2,
        })
        .unwrap_or(HealthStatus::Unknown)
}

/// Consecutive results of a container's health checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HealthTally {
    retries: u32,
    failures: u32,
    status: HealthStatus,
}

impl HealthTally {
    /// A container that was just started, or, after its node's agent was, known to be of this health.
    pub fn new(retries: u32, status: HealthStatus) -> Self {
        Self { retries: retries.max(1), failures: 0, status }
    }

    /// The health after one more check. A failure within the start period does not count; a success ends a bad streak, and
    /// makes the container HEALTHY at once.
    pub fn count(&mut self, succeeded: bool, in_start_period: bool) -> HealthStatus {
        if succeeded {
            self.failures = 0;
            self.status = HealthStatus::Healthy;
        } else if !(in_start_period && self.status == HealthStatus::Unknown) {
            self.failures = self.failures.saturating_add(1);
            if self.failures >= self.retries {
                self.status = HealthStatus::Unhealthy;
            }
        }
        self.status
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use HealthStatus::{Healthy, Unhealthy, Unknown};

    #[test]
    fn the_worst_essential_container_decides() {
        assert_eq!(task_health([Healthy, Healthy]), Healthy);
        assert_eq!(task_health([Healthy, Unknown]), Unknown);
        assert_eq!(task_health([Unknown, Unhealthy, Healthy]), Unhealthy);
        assert_eq!(task_health([]), Unknown);
    }

    #[test]
    fn failures_of_the_start_period_do_not_count() {
        let mut tally = HealthTally::new(2, Unknown);
        assert_eq!([tally.count(false, true), tally.count(false, true), tally.count(false, true)], [Unknown; 3]);
        assert_eq!([tally.count(false, false), tally.count(false, false)], [Unknown, Unhealthy]);
        assert_eq!(tally.count(true, false), Healthy);
    }

    #[test]
    fn once_healthy_the_start_period_is_over() {
        let mut tally = HealthTally::new(1, Unknown);
        assert_eq!([tally.count(true, true), tally.count(false, true)], [Healthy, Unhealthy]);
    }

    proptest! {
        #[test]
        fn as_many_failures_in_a_row_as_retries_and_no_fewer(retries in 1_u32..6, results in proptest::collection::vec(any::<bool>(), 0..40)) {
            let mut tally = HealthTally::new(retries, Healthy);
            let mut streak = 0;
            let mut sick = false;
            for result in results {
                streak = if result { 0 } else { streak + 1 };
                sick = if result { false } else { sick || streak >= retries };
                prop_assert_eq!(tally.count(result, false) == Unhealthy, sick);
            }
        }
    }
}
