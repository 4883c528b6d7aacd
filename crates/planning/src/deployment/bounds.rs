//! How many tasks a service may have while it changes.

/// The fewest healthy tasks and the most tasks (Amazon ECS API Reference, DeploymentConfiguration).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Healthy tasks that no scheduler's stop goes below.
    pub lower: usize,
    /// Tasks, PENDING and RUNNING, that no scheduler's start goes beyond.
    pub upper: usize,
}

impl Bounds {
    /// minimumHealthyPercent is rounded up, maximumPercent down. There need never be more healthy tasks than are desired.
    pub fn new(desired: usize, minimum_healthy_percent: usize, maximum_percent: usize) -> Self {
        let share = |percent: usize| desired.saturating_mul(percent);
        Self { lower: share(minimum_healthy_percent).div_ceil(100).min(desired), upper: share(maximum_percent) / 100 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_minimum_is_rounded_up_and_the_maximum_down() {
        assert_eq!(Bounds::new(4, 100, 200), Bounds { lower: 4, upper: 8 });
        assert_eq!(Bounds::new(3, 50, 150), Bounds { lower: 2, upper: 4 });
        assert_eq!(Bounds::new(1, 50, 150), Bounds { lower: 1, upper: 1 });
        assert_eq!(Bounds::new(0, 100, 200), Bounds { lower: 0, upper: 0 });
        assert_eq!(Bounds::new(4, 150, 200), Bounds { lower: 4, upper: 8 }, "or it could never come to rest");
    }
}
