//! When so many tasks of a deployment have failed that it is given up.

/// Failed tasks that the circuit breaker takes, as its threshold says it (Amazon ECS API Reference, ThresholdConfiguration).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Threshold {
    /// So many tasks.
    Count(usize),
    /// Percent of the desired count, but never fewer than 3 nor more than 200.
    BoundedPercent(usize),
    /// Percent of the desired count, one at least.
    UnboundedPercent(usize),
}

const BOUNDED_MIN: usize = 3;
const BOUNDED_MAX: usize = 200;

impl Default for Threshold {
    /// Half of the desired count, bounded: what ECS has without a threshold.
    fn default() -> Self {
        Self::BoundedPercent(50)
    }
}

impl Threshold {
    /// Failed tasks at which the deployment fails. A part of a task counts as a whole one.
    pub fn tasks(self, desired: usize) -> usize {
        let share = |percent: usize| desired.saturating_mul(percent).div_ceil(100);
        match self {
            Self::Count(count) => count.max(1),
            Self::BoundedPercent(percent) => share(percent).clamp(BOUNDED_MIN, BOUNDED_MAX),
            Self::UnboundedPercent(percent) => share(percent).max(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_follow_the_desired_count() {
        let default = |desired| Threshold::default().tasks(desired);
        assert_eq!([0, 1, 7, 25, 400, 1000].map(default), [3, 3, 4, 13, 200, 200]);
        assert_eq!(Threshold::Count(7).tasks(1), 7);
        assert_eq!([0, 1, 10, 1000].map(|desired| Threshold::UnboundedPercent(25).tasks(desired)), [1, 1, 3, 250]);
    }
}
