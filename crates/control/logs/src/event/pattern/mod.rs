//! Filter patterns: the language in which a search says which events it wants.
//!
//! Three forms, told apart by their first character: `{ $.field = value }` looks into JSON ([`json`]), `[a, b = value]` into
//! fields between spaces ([`fields`]), and anything else is a list of terms ([`terms`]). Rules of the language are those of
//! CloudWatch Logs' "Filter pattern syntax" page; where that page leaves a choice, the choice is told beside the code.

mod condition;
mod cursor;
mod fields;
mod json;
mod terms;
#[cfg(test)]
mod tests;

/// The longest pattern, in characters.
const CHARS_MAX: usize = 1024;

/// Which events a search wants.
#[derive(Debug)]
pub(crate) struct Pattern(Form);

#[derive(Debug)]
enum Form {
    /// Every one.
    All,
    /// By the words in the text.
    Terms(terms::Terms),
    /// By the members of a JSON object.
    Json(json::Expression),
    /// By the fields of a line.
    Fields(fields::Fields),
}

/// Why a text is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason} at character {at}")]
pub(crate) struct PatternError {
    reason: String,
    /// Counted from 1.
    at: usize,
}

impl Pattern {
    pub(crate) fn parse(text: &str) -> Result<Self, PatternError> {
        if text.chars().count() > CHARS_MAX {
            let reason = format!("longer than {CHARS_MAX} characters");
            return Err(PatternError { reason, at: CHARS_MAX + 1 });
        }
        let mut cursor = cursor::Cursor::new(text);
        cursor.skip_space();
        let form = match cursor.peek() {
            None => Form::All,
            Some('{') => Form::Json(json::parse(&mut cursor)?),
            Some('[') => Form::Fields(fields::parse(&mut cursor)?),
            Some(_) => Form::Terms(terms::parse(&mut cursor)?),
        };
        Ok(Self(form))
    }

    pub(crate) fn matches(&self, message: &str) -> bool {
        match &self.0 {
            Form::All => true,
            Form::Terms(terms) => terms.matches(message),
            Form::Json(expression) => expression.matches(message),
            Form::Fields(fields) => fields.matches(message),
        }
    }
}
