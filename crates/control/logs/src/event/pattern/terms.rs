//! Patterns for any text: terms that must be in it (`ERROR "not found"`), of which one must be in it (`?ERROR ?WARN`), that
//! must not be in it (`-DEBUG`), and regular expressions (`%4[0-9]{2}%`).
//!
//! A term is found anywhere in a text, also within a word, and upper and lower case differ. As in CloudWatch Logs, a `?` says
//! nothing beside a term that must be there.

use regex::Regex;

use super::PatternError;
use super::cursor::Cursor;

/// What must be in a text, and what not.
#[derive(Debug, Default)]
pub(super) struct Terms {
    required: Vec<Term>,
    optional: Vec<Term>,
    excluded: Vec<Term>,
}

#[derive(Debug)]
enum Term {
    Text(String),
    Regex(Regex),
}

/// Reads a list of terms up to the end of the pattern.
pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<Terms, PatternError> {
    let mut terms = Terms::default();
    loop {
        cursor.skip_space();
        if cursor.peek().is_none() {
            return Ok(terms);
        }
        let kind = if cursor.eat("-") {
            &mut terms.excluded
        } else if cursor.eat("?") {
            &mut terms.optional
        } else {
            &mut terms.required
        };
        kind.push(term(cursor)?);
    }
}

fn term(cursor: &mut Cursor<'_>) -> Result<Term, PatternError> {
    if cursor.eat("\"") {
        return cursor.quoted('"').map(Term::Text);
    }
    if cursor.eat("%") {
        return cursor.regex().map(Term::Regex);
    }
    let word = cursor.take_while(|c| !c.is_whitespace() && c != '"');
    if word.is_empty() { Err(cursor.error("expected a term")) } else { Ok(Term::Text(word.to_owned())) }
}

impl Terms {
    pub(super) fn matches(&self, message: &str) -> bool {
        let within = |term: &Term| term.is_in(message);
        let wanted = if self.required.is_empty() && !self.optional.is_empty() {
            self.optional.iter().any(within)
        } else {
            self.required.iter().all(within)
        };
        wanted && !self.excluded.iter().any(within)
    }
}

impl Term {
    fn is_in(&self, message: &str) -> bool {
        match self {
            Self::Text(text) => message.contains(text),
            Self::Regex(regex) => regex.is_match(message),
        }
    }
}
