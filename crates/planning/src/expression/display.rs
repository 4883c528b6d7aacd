//! Expressions as text, which parses to the same again.

use std::fmt;

use super::{Comparison, Expression, Order, Subject, Test};

impl fmt::Display for Expression {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Comparison(comparison) => comparison.fmt(formatter),
            Self::Not(inside) => {
                formatter.write_str("not ")?;
                part(formatter, inside, matches!(**inside, Self::And(_) | Self::Or(_)))
            }
            Self::And(parts) => joined(formatter, parts, " and ", |part| matches!(part, Self::And(_) | Self::Or(_))),
            Self::Or(parts) => joined(formatter, parts, " or ", |part| matches!(part, Self::Or(_))),
        }
    }
}

fn joined(
    formatter: &mut fmt::Formatter<'_>,
    parts: &[Expression],
    joint: &str,
    in_parentheses: fn(&Expression) -> bool,
) -> fmt::Result {
    for (place, expression) in parts.iter().enumerate() {
        if place > 0 {
            formatter.write_str(joint)?;
        }
        part(formatter, expression, in_parentheses(expression))?;
    }
    Ok(())
}

fn part(formatter: &mut fmt::Formatter<'_>, expression: &Expression, in_parentheses: bool) -> fmt::Result {
    if in_parentheses { write!(formatter, "({expression})") } else { write!(formatter, "{expression}") }
}

impl fmt::Display for Comparison {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let not = if self.negated { "!" } else { "" };
        write!(formatter, "{} ", self.subject)?;
        match &self.test {
            Test::Exists => write!(formatter, "{not}exists"),
            Test::Equals(value) => write!(formatter, "{} {}", if self.negated { "!=" } else { "==" }, quoted(value)),
            Test::In(values) => {
                let values: Vec<String> = values.iter().map(|value| quoted(value)).collect();
                write!(formatter, "{not}in [{}]", values.join(", "))
            }
            Test::Matches(pattern) => {
                write!(formatter, "{} {}", if self.negated { "!~" } else { "=~" }, quoted(&pattern.text))
            }
            Test::Ordered(order, argument) => {
                let sign = match order {
                    Order::Above => ">",
                    Order::AtLeast => ">=",
                    Order::Below => "<",
                    Order::AtMost => "<=",
                };
                write!(formatter, "{sign} {}", quoted(&argument.text))
            }
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AgentConnected => formatter.write_str("agentConnected"),
            Self::AgentVersion => formatter.write_str("agentVersion"),
            Self::Attribute(name) => write!(formatter, "attribute:{name}"),
            Self::Ec2InstanceId => formatter.write_str("ec2InstanceId"),
            Self::RegisteredAt => formatter.write_str("registeredAt"),
            Self::RunningTasksCount => formatter.write_str("runningTasksCount"),
            Self::TaskGroup => formatter.write_str("task:group"),
        }
    }
}

fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}
