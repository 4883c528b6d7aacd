//! The parser, by recursive descent.

use regex::RegexBuilder;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Date, OffsetDateTime};

use super::scanner::{Scanner, Token};
use super::{Comparison, Expression, Order, Ordered, OrderedValue, ParseError, Pattern, Subject, Test};

/// How deep parentheses and negations may stand inside each other.
const DEPTH_MAX: usize = 64;
/// What a regular expression may be compiled to.
const PATTERN_BYTES_MAX: usize = 256 << 10;
const SUBJECTS: &str =
    "agentConnected, agentVersion, attribute:NAME, ec2InstanceId, registeredAt, runningTasksCount or task:group";
const OPERATORS: &str = "==, !=, >, >=, <, <=, =~, !~, in, !in, exists or !exists";

impl Expression {
    /// Parses an expression.
    ///
    /// # Errors
    /// What was expected, and at which character.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let mut parser = Parser { scanner: Scanner::new(text)?, depth: 0 };
        let expression = parser.or()?;
        match parser.scanner.peek()? {
            Token::End => Ok(expression),
            _ => Err(parser.expected("'and', 'or' or the end")),
        }
    }
}

struct Parser {
    scanner: Scanner,
    depth: usize,
}

impl Parser {
    fn or(&mut self) -> Result<Expression, ParseError> {
        self.joined(Self::and, &["or", "||"], Expression::Or)
    }

    fn and(&mut self) -> Result<Expression, ParseError> {
        self.joined(Self::term, &["and", "&&"], Expression::And)
    }

    fn joined(
        &mut self,
        part: fn(&mut Self) -> Result<Expression, ParseError>,
        joints: &[&str],
        join: fn(Vec<Expression>) -> Expression,
    ) -> Result<Expression, ParseError> {
        let first = part(self)?;
        let mut parts = vec![first];
        while self.take_any(joints)? {
            parts.push(part(self)?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { join(parts) })
    }

    fn term(&mut self) -> Result<Expression, ParseError> {
        if self.depth >= DEPTH_MAX {
            return Err(self.error(format!("more than {DEPTH_MAX} parentheses and negations inside each other")));
        }
        self.depth += 1;
        let term = if self.take_any(&["not", "!"])? {
            Expression::Not(Box::new(self.term()?))
        } else if self.take_any(&["("])? {
            let inside = self.or()?;
            if !self.take_any(&[")"])? {
                return Err(self.expected("')'"));
            }
            inside
        } else {
            Expression::Comparison(self.comparison()?)
        };
        self.depth -= 1;
        Ok(term)
    }

    fn comparison(&mut self) -> Result<Comparison, ParseError> {
        let place = self.scanner.position();
        let subject = match self.scanner.next()? {
            Token::Word(word) => subject(&word),
            _ => None,
        };
        let subject = subject.ok_or_else(|| error_at(place, format!("expected {SUBJECTS}")))?;
        let place = self.scanner.position();
        let operator = self.operator()?;
        let unfit = || error_at(place, format!("{operator} is not for {subject}"));
        let is_attribute = matches!(subject, Subject::Attribute(_));
        let is_text = is_attribute || matches!(subject, Subject::Ec2InstanceId | Subject::TaskGroup);
        let negated = operator.starts_with('!');
        let test = match operator {
            "exists" | "!exists" if is_attribute => Test::Exists,
            "==" | "!=" => Test::Equals(self.equal(&subject)?),
            "in" | "!in" if is_text => Test::In(self.list()?),
            "=~" | "!~" if is_text => Test::Matches(self.pattern()?),
            ">" => Test::Ordered(Order::Above, self.ordered(&subject).ok_or_else(unfit)??),
            ">=" => Test::Ordered(Order::AtLeast, self.ordered(&subject).ok_or_else(unfit)??),
            "<" => Test::Ordered(Order::Below, self.ordered(&subject).ok_or_else(unfit)??),
            "<=" => Test::Ordered(Order::AtMost, self.ordered(&subject).ok_or_else(unfit)??),
            _ => return Err(unfit()),
        };
        Ok(Comparison { subject, negated, test })
    }

    fn operator(&mut self) -> Result<&'static str, ParseError> {
        let place = self.scanner.position();
        let sign = match self.scanner.next()? {
            Token::Sign("!") => match self.scanner.next()? {
                Token::Word(word) if word == "in" => Some("!in"),
                Token::Word(word) if word == "exists" => Some("!exists"),
                _ => None,
            },
            Token::Sign(sign) => {
                ["==", "!=", ">", ">=", "<", "<=", "=~", "!~"].into_iter().find(|known| *known == sign)
            }
            Token::Word(word) => match word.as_str() {
                "equals" => Some("=="),
                "not_equals" => Some("!="),
                "greater_than" => Some(">"),
                "greater_than_equal" => Some(">="),
                "less_than" => Some("<"),
                "less_than_equal" => Some("<="),
                "matches" => Some("=~"),
                "not_matches" => Some("!~"),
                "in" => Some("in"),
                "not_in" => Some("!in"),
                "exists" => Some("exists"),
                "not_exists" => Some("!exists"),
                _ => None,
            },
            _ => None,
        };
        sign.ok_or_else(|| error_at(place, format!("expected an operator ({OPERATORS})")))
    }

    fn value(&mut self) -> Result<String, ParseError> {
        let place = self.scanner.position();
        match self.scanner.next()? {
            Token::Word(value) | Token::Quoted(value) => Ok(value),
            _ => Err(error_at(place, "expected a value".to_owned())),
        }
    }

    /// An argument of `==` and `!=`; numbers and times have one spelling each, so that equality is theirs.
    fn equal(&mut self, subject: &Subject) -> Result<String, ParseError> {
        let place = self.scanner.position();
        let text = self.value()?;
        let canonical = match subject {
            Subject::AgentConnected => ["true", "false"].contains(&text.as_str()).then(|| text.clone()),
            Subject::RunningTasksCount => text.parse::<i64>().ok().map(|number| number.to_string()),
            Subject::RegisteredAt => milliseconds(&text).map(|_| text.clone()),
            _ => Some(text.clone()),
        };
        canonical.ok_or_else(|| error_at(place, format!("{text:?} is no value of {subject}")))
    }

    /// `None` if the subject has no order.
    fn ordered(&mut self, subject: &Subject) -> Option<Result<Ordered, ParseError>> {
        let value: fn(&str) -> Option<OrderedValue> = match subject {
            Subject::RunningTasksCount => |text| text.parse().ok().map(OrderedValue::Number),
            Subject::AgentVersion => |text| version(text).map(OrderedValue::Version),
            Subject::RegisteredAt => |text| milliseconds(text).map(OrderedValue::Time),
            Subject::Attribute(_) => |_| Some(OrderedValue::Attribute),
            Subject::AgentConnected | Subject::Ec2InstanceId | Subject::TaskGroup => return None,
        };
        let place = self.scanner.position();
        Some(self.value().and_then(|text| {
            let unfit = || error_at(place, format!("{text:?} is no value of {subject}"));
            Ok(Ordered { value: value(&text).ok_or_else(unfit)?, text })
        }))
    }

    fn list(&mut self) -> Result<Vec<String>, ParseError> {
        if !self.take_any(&["["])? {
            return Err(self.expected("'['"));
        }
        let mut values = vec![self.value()?];
        while self.take_any(&[","])? {
            values.push(self.value()?);
        }
        if self.take_any(&["]"])? { Ok(values) } else { Err(self.expected("',' or ']'")) }
    }

    fn pattern(&mut self) -> Result<Pattern, ParseError> {
        let place = self.scanner.position();
        let (Token::Word(text) | Token::Quoted(text)) = self.scanner.pattern()? else {
            return Err(error_at(place, "expected a regular expression".to_owned()));
        };
        let whole = RegexBuilder::new(&format!("^(?:{text})$")).size_limit(PATTERN_BYTES_MAX).build();
        // By itself it has to be one too: `a)|(b` is none.
        let alone = RegexBuilder::new(&text).size_limit(PATTERN_BYTES_MAX).build();
        match (whole, alone) {
            (Ok(whole), Ok(_)) => Ok(Pattern { text, whole }),
            _ => Err(error_at(place, format!("{text:?} is no regular expression that is taken"))),
        }
    }

    fn take_any(&mut self, tokens: &[&str]) -> Result<bool, ParseError> {
        let found = match self.scanner.peek()? {
            Token::Word(word) => tokens.contains(&word.as_str()),
            Token::Sign(sign) => tokens.contains(&sign),
            Token::Quoted(_) | Token::End => false,
        };
        if found {
            self.scanner.next()?;
        }
        Ok(found)
    }

    fn expected(&mut self, what: &str) -> ParseError {
        self.error(format!("expected {what}"))
    }

    fn error(&mut self, message: String) -> ParseError {
        error_at(self.scanner.position(), message)
    }
}

fn error_at(position: usize, message: String) -> ParseError {
    ParseError { position, message }
}

fn subject(word: &str) -> Option<Subject> {
    Some(match word {
        "agentConnected" => Subject::AgentConnected,
        "agentVersion" => Subject::AgentVersion,
        "ec2InstanceId" => Subject::Ec2InstanceId,
        "registeredAt" => Subject::RegisteredAt,
        "runningTasksCount" => Subject::RunningTasksCount,
        "task:group" => Subject::TaskGroup,
        other => Subject::Attribute(other.strip_prefix("attribute:").filter(|name| !name.is_empty())?.to_owned()),
    })
}

/// `1.82.0`, with or without a `v`.
pub(super) fn version(text: &str) -> Option<Vec<u64>> {
    let mut parts = text
        .strip_prefix('v')
        .unwrap_or(text)
        .split('.')
        .map(|part| part.parse().ok())
        .collect::<Option<Vec<u64>>>()?;
    // 1.2 and 1.2.0 are the same.
    while parts.last() == Some(&0) {
        parts.pop();
    }
    Some(parts)
}

/// Milliseconds since 1970 of a time in RFC 3339, or of the beginning of a day in UTC.
pub(super) fn milliseconds(text: &str) -> Option<i64> {
    let nanoseconds = if let Ok(time) = OffsetDateTime::parse(text, &Rfc3339) {
        time.unix_timestamp_nanos()
    } else {
        let day = Date::parse(text, format_description!("[year]-[month]-[day]")).ok()?;
        day.midnight().assume_utc().unix_timestamp_nanos()
    };
    i64::try_from(nanoseconds / 1_000_000).ok()
}
