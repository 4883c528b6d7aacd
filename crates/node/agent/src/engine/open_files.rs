//! Fargate's limit of open files.

use std::fs;

use estiva_shim::spec::Ulimit;

/// The limit where a task definition gives none (Amazon ECS API Reference, ContainerDefinition, `ulimits`).
const OPEN_FILES: u64 = 65_535;
/// Who has it may raise limits.
const CAP_SYS_RESOURCE: u32 = 24;

/// Adds the limit to limits that have none.
pub(super) fn limit(ulimits: &mut Vec<Ulimit>) {
    if !ulimits.iter().any(|limit| limit.name == "nofile") {
        let most = most();
        ulimits.push(Ulimit { name: "nofile".to_owned(), soft: most, hard: most });
    }
}

/// An agent that may not raise limits can give no more than it has: with more the container would not start.
fn most() -> u64 {
    let read = |name: &str| fs::read_to_string(format!("/proc/self/{name}")).unwrap_or_default();
    if may_raise_limits(&read("status")) {
        return OPEN_FILES;
    }
    hard_limit(&read("limits")).map_or(OPEN_FILES, |hard| hard.min(OPEN_FILES))
}

fn may_raise_limits(status: &str) -> bool {
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok());
    effective.is_some_and(|effective| effective & (1 << CAP_SYS_RESOURCE) != 0)
}

/// `None` if there is no limit.
fn hard_limit(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_of_the_task_definition_stays() {
        let own = Ulimit { name: "nofile".to_owned(), soft: 1, hard: 2 };
        let mut ulimits = vec![own];
        limit(&mut ulimits);
        assert_eq!((ulimits.len(), ulimits[0].soft), (1, 1));
        let mut ulimits = Vec::new();
        limit(&mut ulimits);
        assert!(ulimits[0].soft <= OPEN_FILES && ulimits[0].soft == ulimits[0].hard);
    }

    #[test]
    fn what_the_kernel_says_is_read() {
        assert!(may_raise_limits("Name:\tx\nCapEff:\t000001ffffffffff\n"));
        assert!(!may_raise_limits("CapEff:\t000001fffeffffff\n"));
        let limits = "Limit  Soft Limit  Hard Limit  Units\nMax open files            1024                 4096                 files\n";
        assert_eq!(hard_limit(limits), Some(4096));
        assert_eq!(hard_limit(&limits.replace("4096", "unlimited")), None);
    }
}
