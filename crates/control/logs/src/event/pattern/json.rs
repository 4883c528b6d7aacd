//! Patterns for JSON: `{ ($.status >= 500 || $.error IS TRUE) && $.user.name = "a*" }`.
//!
//! A selector with a wildcard (`$.items[*].id`, `$.*.id`) stands for many values; a condition holds when it holds for one of
//! them. No condition but `NOT EXISTS` holds for what is not there, also not `!=`. Texts are compared with the JSON of values
//! that are no texts, so `$.field = "*"` holds for whatever is there.

use serde_json::Value;

use super::PatternError;
use super::condition::Condition;
use super::cursor::{Cursor, Tree};

/// What must hold for an event's JSON.
#[derive(Debug)]
pub(super) struct Expression(Tree<Leaf>);

#[derive(Debug)]
struct Leaf {
    selector: Vec<Step>,
    test: Test,
}

#[derive(Debug)]
enum Test {
    Exists(bool),
    Is(Value),
    Compares(Condition),
}

/// One step from a value to those within it.
#[derive(Debug)]
enum Step {
    Member(String),
    Item(usize),
    Any,
}

/// What an unquoted value ends before.
const ENDS: [char; 5] = [')', '&', '|', '}', '"'];

/// Reads an expression between braces up to the end of the pattern.
pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<Expression, PatternError> {
    cursor.expect("{")?;
    let tree = cursor.tree(&mut leaf)?;
    cursor.expect("}")?;
    cursor.expect_end()?;
    Ok(Expression(tree))
}

fn leaf(cursor: &mut Cursor<'_>) -> Result<Leaf, PatternError> {
    let selector = selector(cursor)?;
    let test = if cursor.eat_word("IS") {
        let words = [("NULL", Value::Null), ("TRUE", Value::Bool(true)), ("FALSE", Value::Bool(false))];
        let found = words.into_iter().find(|(word, _)| cursor.eat_word(word));
        Test::Is(found.ok_or_else(|| cursor.error("expected NULL, TRUE or FALSE"))?.1)
    } else if cursor.eat_word("NOT") {
        if !cursor.eat_word("EXISTS") {
            return Err(cursor.error("expected EXISTS"));
        }
        Test::Exists(false)
    } else if cursor.eat_word("EXISTS") {
        Test::Exists(true)
    } else {
        Test::Compares(Condition::parse(cursor, &ENDS)?)
    };
    Ok(Leaf { selector, test })
}

fn selector(cursor: &mut Cursor<'_>) -> Result<Vec<Step>, PatternError> {
    cursor.expect("$")?;
    let mut steps = Vec::new();
    loop {
        let dot = cursor.eat(".");
        if cursor.eat("[") {
            steps.push(in_brackets(cursor)?);
        } else if !dot {
            break;
        } else if cursor.eat("*") {
            steps.push(Step::Any);
        } else {
            let name = cursor.take_while(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '@' | ':' | '/'));
            if name.is_empty() {
                return Err(cursor.error("expected the name of a member"));
            }
            steps.push(Step::Member(name.to_owned()));
        }
    }
    if steps.is_empty() { Err(cursor.error("expected a selector such as $.member")) } else { Ok(steps) }
}

fn in_brackets(cursor: &mut Cursor<'_>) -> Result<Step, PatternError> {
    let step = if cursor.eat("*") {
        Step::Any
    } else if cursor.eat("'") {
        Step::Member(cursor.quoted('\'')?)
    } else if cursor.eat("\"") {
        Step::Member(cursor.quoted('"')?)
    } else {
        let index = cursor.take_while(|c| c.is_ascii_digit()).parse().ok();
        Step::Item(index.ok_or_else(|| cursor.error("expected an index, a name in quotation marks or *"))?)
    };
    cursor.expect("]")?;
    Ok(step)
}

impl Expression {
    /// A text that is no JSON matches nothing.
    pub(super) fn matches(&self, message: &str) -> bool {
        // Most lines that are no JSON are told by their first character.
        message.trim_start().starts_with(['{', '['])
            && serde_json::from_str::<Value>(message).is_ok_and(|value| self.0.holds(&|leaf| leaf.holds(&value)))
    }
}

impl Leaf {
    fn holds(&self, value: &Value) -> bool {
        match &self.test {
            Test::Exists(wanted) => *wanted == any(value, &self.selector, &|_| true),
            Test::Is(wanted) => any(value, &self.selector, &|value| value == wanted),
            Test::Compares(condition) => any(value, &self.selector, &|value| match value {
                Value::String(text) => condition.holds(text, None),
                Value::Number(number) => condition.holds(&number.to_string(), number.as_f64()),
                other => condition.holds(&other.to_string(), None),
            }),
        }
    }
}

/// Whether a value that the steps lead to is so.
fn any(value: &Value, steps: &[Step], so: &dyn Fn(&Value) -> bool) -> bool {
    let Some((step, rest)) = steps.split_first() else { return so(value) };
    match (step, value) {
        (Step::Member(name), Value::Object(members)) => members.get(name).is_some_and(|value| any(value, rest, so)),
        (Step::Item(index), Value::Array(items)) => items.get(*index).is_some_and(|value| any(value, rest, so)),
        (Step::Any, Value::Object(members)) => members.values().any(|value| any(value, rest, so)),
        (Step::Any, Value::Array(items)) => items.iter().any(|value| any(value, rest, so)),
        _ => false,
    }
}
