//! The cluster query language: which container instances an expression is true of (Amazon ECS Developer Guide, "Cluster query
//! language"). Placement constraints of type memberOf and the filter of ListContainerInstances are written in it.
//!
//! ```text
//! expression  = and-group { ("or" | "||") and-group }
//! and-group   = term { ("and" | "&&") term }
//! term        = ("not" | "!") term | "(" expression ")" | comparison
//! comparison  = subject operator [ argument ]
//! ```
//! What the guide leaves open is settled here: `not` binds closer than `and`, `and` closer than `or`; a regular expression has
//! to match the whole value; an attribute that an instance lacks equals nothing; of the groups of an instance's tasks one is
//! enough for `==`, and none may be equal for `!=`. Arguments with spaces or signs are quoted, by `'` or `"`, which stand
//! for themselves when doubled. Regular expressions are the `regex` crate's: Java's without look-around and
//! back-references, so that none can take exponential time.

mod display;
mod evaluate;
mod parse;
mod scanner;
#[cfg(test)]
mod tests;

use std::fmt;

use regex::Regex;

pub use evaluate::Instance;

/// Characters of an expression.
const EXPRESSION_CHARS_MAX: usize = 2000;

/// A parsed expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expression {
    /// One comparison.
    Comparison(Comparison),
    /// True where the other is not.
    Not(Box<Expression>),
    /// True where all are.
    And(Vec<Expression>),
    /// True where one is.
    Or(Vec<Expression>),
}

/// `subject operator argument`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    /// What is looked at.
    pub subject: Subject,
    /// True where the test is not.
    pub negated: bool,
    /// What it is held against.
    pub test: Test,
}

/// What an expression can look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// `true` or `false`.
    AgentConnected,
    /// Numbers with dots between them.
    AgentVersion,
    /// A value, or none.
    Attribute(String),
    /// A value.
    Ec2InstanceId,
    /// RFC 3339, whole or a day alone.
    RegisteredAt,
    /// A whole number.
    RunningTasksCount,
    /// The groups of all tasks that the instance runs.
    TaskGroup,
}

impl Expression {
    /// Whether it may be true at one time and not at another because of the tasks on an instance.
    pub fn looks_at_tasks(&self) -> bool {
        match self {
            Self::Comparison(comparison) => {
                matches!(comparison.subject, Subject::RunningTasksCount | Subject::TaskGroup)
            }
            Self::Not(inner) => inner.looks_at_tasks(),
            Self::And(parts) | Self::Or(parts) => parts.iter().any(Self::looks_at_tasks),
        }
    }
}

/// How a value is tested.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Test {
    /// `exists`
    Exists,
    /// `==`
    Equals(String),
    /// `in [a, b]`
    In(Vec<String>),
    /// `=~`
    Matches(Pattern),
    /// `>`, `>=`, `<`, `<=`
    Ordered(Order, Ordered),
}

/// Which side of the argument a value has to be on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// `>`
    Above,
    /// `>=`
    AtLeast,
    /// `<`
    Below,
    /// `<=`
    AtMost,
}

/// The argument of an ordered comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ordered {
    text: String,
    value: OrderedValue,
}

/// Numbers compare as numbers, and so do the parts of versions and of times.
#[derive(Debug, Clone, PartialEq, Eq)]
enum OrderedValue {
    Number(i64),
    Version(Vec<u64>),
    /// Milliseconds since 1970.
    Time(i64),
    /// Of an attribute: as numbers if both are, else letter by letter.
    Attribute,
}

/// A regular expression that has to match the whole value.
#[derive(Debug, Clone)]
pub struct Pattern {
    text: String,
    whole: Regex,
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

/// Why a text is no expression, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError {
    /// Characters before the place, from 0.
    pub position: usize,
    /// What is wrong there.
    pub message: String,
}

impl fmt::Display for ParseError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} at position {}", self.message, self.position + 1)
    }
}

impl std::error::Error for ParseError {}
