//! The filter of ListContainerInstances, and the expression of a memberOf constraint: comparisons of the cluster query
//! language, joined by `and`.

use estiva_api_ecs::Error;
use estiva_store::{Row, Snapshot};

use super::table::{ContainerInstanceRow, ReservationRow};
use super::view::is_connected;
use crate::error::invalid;

/// What an instance must have, all of it.
pub(crate) struct Filter(Vec<Comparison>);

struct Comparison {
    subject: Subject,
    test: Test,
}

enum Subject {
    Attribute(String),
    AgentConnected,
    RunningTasksCount,
    Ec2InstanceId,
}

enum Test {
    Exists(bool),
    Equals(bool, String),
    Above(i64),
    Below(i64),
}

impl Filter {
    /// Reads `subject operator [argument]`, several of them joined by `and` or `&&`.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let parts = text.split("&&").flat_map(|part| part.split(" and "));
        parts.map(|part| Comparison::parse(part).ok_or_else(|| unknown(part))).collect::<Result<_, _>>().map(Self)
    }

    /// Whether the instance has it all.
    pub fn matches(&self, view: &Snapshot, row: &ContainerInstanceRow) -> bool {
        self.0.iter().all(|comparison| comparison.holds(view, row))
    }
}

fn unknown(part: &str) -> Error {
    let part = part.trim();
    invalid(format!(
        "Invalid expression: '{part}' is not understood: expected SUBJECT OPERATOR [ARGUMENT], where the subject is \
        attribute:NAME, agentConnected, runningTasksCount or ec2InstanceId, and the operator is ==, !=, >, <, exists or !exists"
    ))
}

impl Comparison {
    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split_whitespace();
        let subject = match words.next()? {
            "agentConnected" => Subject::AgentConnected,
            "runningTasksCount" => Subject::RunningTasksCount,
            "ec2InstanceId" => Subject::Ec2InstanceId,
            other => Subject::Attribute(other.strip_prefix("attribute:").filter(|name| !name.is_empty())?.to_owned()),
        };
        let operator = words.next()?;
        let argument = words.next();
        if words.next().is_some() {
            return None;
        }
        let wanted = match (operator, argument) {
            ("exists", None) => Test::Exists(true),
            ("!exists" | "not_exists", None) => Test::Exists(false),
            ("==" | "equals", Some(value)) => Test::Equals(true, value.to_owned()),
            ("!=" | "not_equals", Some(value)) => Test::Equals(false, value.to_owned()),
            (">" | "greater_than", Some(value)) => Test::Above(value.parse().ok()?),
            (">=" | "greater_than_equal", Some(value)) => Test::Above(value.parse::<i64>().ok()?.checked_sub(1)?),
            ("<" | "less_than", Some(value)) => Test::Below(value.parse().ok()?),
            ("<=" | "less_than_equal", Some(value)) => Test::Below(value.parse::<i64>().ok()?.checked_add(1)?),
            _ => return None,
        };
        Some(Self { subject, test: wanted })
    }

    fn holds(&self, view: &Snapshot, row: &ContainerInstanceRow) -> bool {
        let value = match &self.subject {
            Subject::Attribute(name) => row.attribute(name).map(str::to_owned),
            Subject::AgentConnected => Some(is_connected(view, &row.key()).to_string()),
            Subject::Ec2InstanceId => Some(row.ec2_instance_id.clone()),
            Subject::RunningTasksCount => {
                let count = view.get::<ReservationRow>(&row.key()).map_or(0, |row| row.running_tasks);
                Some(count.to_string())
            }
        };
        let number = || value.as_deref().and_then(|value| value.parse::<i64>().ok());
        match &self.test {
            Test::Exists(expected) => value.is_some() == *expected,
            Test::Equals(expected, wanted) => (value.as_ref() == Some(wanted)) == *expected,
            Test::Above(bound) => number().is_some_and(|value| value > *bound),
            Test::Below(bound) => number().is_some_and(|value| value < *bound),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comparisons_are_read_and_nonsense_is_refused() {
        for text in [
            "attribute:ecs.os-type == linux",
            "agentConnected==true and runningTasksCount > 3",
            "attribute:gpu exists && runningTasksCount <= 0",
        ] {
            assert_eq!(Filter::parse(text).is_ok(), !text.contains("d==t"), "{text}");
        }
        for text in
            ["", "attribute: == x", "memory > 3", "runningTasksCount > many", "agentConnected", "attribute:a == b c"]
        {
            assert!(Filter::parse(text).is_err(), "{text}");
        }
    }
}
