//! Whether an expression is true of an instance.

use std::borrow::Cow;
use std::cmp::Ordering;

use super::parse::{milliseconds, version};
use super::{Comparison, Expression, Order, Ordered, OrderedValue, Subject, Test};

/// A container instance as expressions see it.
pub trait Instance {
    /// Whether its agent has a session.
    fn is_agent_connected(&self) -> bool;
    /// Its agent's version, if it told one.
    fn agent_version(&self) -> Option<Cow<'_, str>>;
    /// Of an attribute without a value: the empty text.
    fn attribute(&self, name: &str) -> Option<Cow<'_, str>>;
    /// Its EC2 instance's id.
    fn ec2_instance_id(&self) -> Cow<'_, str>;
    /// Milliseconds since 1970.
    fn registered_at_ms(&self) -> i64;
    /// Tasks that run on it.
    fn running_tasks_count(&self) -> i64;
    /// Whether a task of a group for which `test` holds is on it.
    fn has_task_group(&self, test: &dyn Fn(&str) -> bool) -> bool;
}

impl Expression {
    /// Whether the expression is true of the instance.
    pub fn holds(&self, instance: &impl Instance) -> bool {
        match self {
            Self::Comparison(comparison) => comparison.holds(instance),
            Self::Not(inside) => !inside.holds(instance),
            Self::And(parts) => parts.iter().all(|part| part.holds(instance)),
            Self::Or(parts) => parts.iter().any(|part| part.holds(instance)),
        }
    }
}

impl Comparison {
    fn holds(&self, instance: &impl Instance) -> bool {
        let test = |value: &str| self.test.holds(value);
        let found = match &self.subject {
            Subject::AgentConnected => test(if instance.is_agent_connected() { "true" } else { "false" }),
            Subject::AgentVersion => instance.agent_version().is_some_and(|value| self.test.holds_of_version(&value)),
            Subject::Attribute(name) => instance.attribute(name).is_some_and(|value| test(&value)),
            Subject::Ec2InstanceId => test(&instance.ec2_instance_id()),
            Subject::RegisteredAt => self.test.holds_of_time(instance.registered_at_ms()),
            Subject::RunningTasksCount => test(&instance.running_tasks_count().to_string()),
            Subject::TaskGroup => instance.has_task_group(&test),
        };
        found != self.negated
    }
}

impl Test {
    fn holds(&self, value: &str) -> bool {
        match self {
            Self::Exists => true,
            Self::Equals(wanted) => value == wanted,
            Self::In(values) => values.iter().any(|wanted| value == wanted),
            Self::Matches(pattern) => pattern.whole.is_match(value),
            Self::Ordered(order, argument) => order.holds(argument.compare(value)),
        }
    }

    fn holds_of_version(&self, value: &str) -> bool {
        match self {
            Self::Equals(wanted) => match (version(value), version(wanted)) {
                (Some(value), Some(wanted)) => value == wanted,
                _ => value == wanted,
            },
            other => other.holds(value),
        }
    }

    fn holds_of_time(&self, at_ms: i64) -> bool {
        match self {
            Self::Equals(wanted) => milliseconds(wanted) == Some(at_ms),
            Self::Ordered(order, Ordered { value: OrderedValue::Time(wanted), .. }) => {
                order.holds(Some(at_ms.cmp(wanted)))
            }
            _ => false,
        }
    }
}

impl Order {
    /// `None`, where value and argument cannot be compared, is never true.
    fn holds(self, ordering: Option<Ordering>) -> bool {
        ordering.is_some_and(|ordering| match self {
            Self::Above => ordering.is_gt(),
            Self::AtLeast => ordering.is_ge(),
            Self::Below => ordering.is_lt(),
            Self::AtMost => ordering.is_le(),
        })
    }
}

impl Ordered {
    /// How `value` stands to the argument.
    fn compare(&self, value: &str) -> Option<Ordering> {
        match &self.value {
            OrderedValue::Number(wanted) => value.parse::<i64>().ok().map(|value| value.cmp(wanted)),
            OrderedValue::Version(wanted) => version(value).map(|value| value.cmp(wanted)),
            OrderedValue::Time(wanted) => milliseconds(value).map(|value| value.cmp(wanted)),
            OrderedValue::Attribute => Some(match (value.parse::<f64>(), self.text.parse::<f64>()) {
                (Ok(value), Ok(wanted)) if !value.is_nan() && !wanted.is_nan() => value.total_cmp(&wanted),
                _ => value.cmp(&self.text),
            }),
        }
    }
}
