//! What a field of an event must be: equal, like, or less than something.

use std::cmp::Ordering;

use regex::Regex;

use super::PatternError;
use super::cursor::Cursor;

/// A comparison with a constant.
#[derive(Debug)]
pub(super) enum Condition {
    /// `=` and `!=` with a text in which `*` stands for any text, or with a number.
    Text { equal: bool, pattern: String, number: Option<f64> },
    /// `=` and `!=` with a regular expression, which may match anywhere.
    Regex { equal: bool, regex: Regex },
    /// `<`, `<=`, `>` and `>=` with a number.
    Number { operator: Operator, number: f64 },
}

/// A comparison of numbers.
#[derive(Debug, Clone, Copy)]
pub(super) enum Operator {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Condition {
    /// Reads an operator and what it compares with. An unquoted text ends before space and before a character of `ends`.
    pub(super) fn parse(cursor: &mut Cursor<'_>, ends: &[char]) -> Result<Self, PatternError> {
        cursor.skip_space();
        let ordered = [
            ("<=", Operator::LessOrEqual),
            (">=", Operator::GreaterOrEqual),
            ("<", Operator::Less),
            (">", Operator::Greater),
        ];
        for (text, operator) in ordered {
            if cursor.eat(text) {
                cursor.skip_space();
                let number = cursor.take_while(|c| is_bare(c, ends)).parse::<f64>().ok().filter(|n| n.is_finite());
                let number = number.ok_or_else(|| cursor.error("expected a number before this"))?;
                return Ok(Self::Number { operator, number });
            }
        }
        let equal = cursor.eat("=");
        if !equal && !cursor.eat("!=") {
            return Err(cursor.error("expected one of = != < <= > >="));
        }
        cursor.skip_space();
        if cursor.eat("%") {
            return Ok(Self::Regex { equal, regex: cursor.regex()? });
        }
        if cursor.eat("\"") {
            return Ok(Self::Text { equal, pattern: cursor.quoted('"')?, number: None });
        }
        let pattern = cursor.take_while(|c| is_bare(c, ends)).to_owned();
        if pattern.is_empty() {
            return Err(cursor.error("expected a value"));
        }
        let number = pattern.parse::<f64>().ok().filter(|number| number.is_finite());
        Ok(Self::Text { equal, pattern, number })
    }

    /// Whether a text is so; `number` is its value, if it is to be taken for a number.
    pub(super) fn holds(&self, text: &str, number: Option<f64>) -> bool {
        match self {
            Self::Text { equal, pattern, number: wanted } => {
                let same = wanted.zip(number).is_some_and(|(a, b)| a.partial_cmp(&b) == Some(Ordering::Equal));
                *equal == (same || is_like(text, pattern))
            }
            Self::Regex { equal, regex } => *equal == regex.is_match(text),
            Self::Number { operator, number: limit } => {
                let order = number.and_then(|number| number.partial_cmp(limit));
                order.is_some_and(|order| match operator {
                    Operator::Less => order.is_lt(),
                    Operator::LessOrEqual => order.is_le(),
                    Operator::Greater => order.is_gt(),
                    Operator::GreaterOrEqual => order.is_ge(),
                })
            }
        }
    }
}

fn is_bare(c: char, ends: &[char]) -> bool {
    !c.is_whitespace() && !ends.contains(&c)
}

/// Whether the whole of `text` is like `pattern`, in which `*` stands for any text, also none.
fn is_like(text: &str, pattern: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return text == pattern };
    let (middle, last) = rest.rsplit_once('*').unwrap_or(("", rest));
    let Some(inner) = text.strip_prefix(first).and_then(|text| text.strip_suffix(last)) else { return false };
    // The earliest place for each part leaves the most to the others.
    let found = middle.split('*').try_fold(inner, |text, part| text.find(part).map(|at| &text[at + part.len()..]));
    found.is_some()
}
