//! The constraints of a model, checked while a value is read: a codec reports where it is and what it reads.

use std::fmt::Write;

use crate::{Bounds, Constraints, DecodeError, EnumerationWords, Kind, Member, Shape};

/// Structures, lists and maps inside each other; the deepest of any model that does not contain itself has 12.
const DEPTH_MAX: usize = 64;
/// An input is refused all the same; the rest would only make the message longer.
const VIOLATIONS_MAX: usize = 20;
/// Characters of an offending value that a message repeats.
const VALUE_CHARS_MAX: usize = 512;

/// One step of the way from a value to one inside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Into a structure's member.
    Member(&'static str),
    /// Into a list's item, counted from 0.
    Item(usize),
    /// Into a map's value.
    Key(String),
}

/// Where a codec is in a value, and what it has found wrong with it so far.
#[derive(Debug)]
pub struct Checks {
    strict: bool,
    path: Vec<Step>,
    violations: Vec<String>,
    /// The first violation, if it was a value that is none of an enumeration.
    enumeration: Option<NotInEnumeration>,
}

/// A value that is none of an enumeration.
#[derive(Debug)]
struct NotInEnumeration {
    shape: &'static str,
    member: &'static str,
    value: String,
    values: &'static [&'static str],
}

impl Checks {
    /// For a request: constraints are checked.
    pub fn strict() -> Self {
        Self { strict: true, path: Vec::new(), violations: Vec::new(), enumeration: None }
    }

    /// For an answer, or what was checked before: constraints are not checked, members that a newer version added and
    /// values that it does not know are passed over.
    pub fn lenient() -> Self {
        Self { strict: false, ..Self::strict() }
    }

    /// Whether constraints are checked.
    pub fn is_strict(&self) -> bool {
        self.strict
    }

    /// Whether one more violation would still be told.
    fn is_checking(&self) -> bool {
        self.strict && self.violations.len() < VIOLATIONS_MAX
    }

    /// Goes one step deeper.
    pub fn enter(&mut self, step: Step) -> Result<(), DecodeError> {
        if self.path.len() >= DEPTH_MAX {
            return Err(DecodeError::TooDeep { place: self.place() });
        }
        self.path.push(step);
        Ok(())
    }

    /// Goes one step back.
    pub fn leave(&mut self) {
        self.path.pop();
    }

    /// The path of the value that is being read, as AWS writes it: `tags.1.member.key`.
    pub fn place(&self) -> String {
        let mut place = String::new();
        for step in &self.path {
            let dot = if place.is_empty() { "" } else { "." };
            // Writing to a String cannot fail.
            let _ = match step {
                Step::Member(name) => write!(place, "{dot}{}", lower_first(name)),
                Step::Item(index) => write!(place, "{dot}{}.member", index + 1),
                Step::Key(key) => write!(place, "{dot}{key}.member"),
            };
        }
        place
    }

    /// A text was read.
    pub fn text(&mut self, shape: &Shape, value: &str) {
        if !self.is_checking() {
            return;
        }
        let shown = if shape.sensitive { None } else { Some(value) };
        if let Kind::Enum(values) = shape.kind
            && !values.contains(&value)
        {
            self.note_enumeration(shape.name, value, values);
            self.violation(shown, &format!("satisfy enum value set: [{}]", values.join(", ")));
        }
        let Constraints { length, pattern, .. } = &shape.constraints;
        if let Some(bounds) = length {
            self.length(shown, *bounds, value.chars().count());
        }
        if let Some(pattern) = pattern
            && !pattern.matches(value)
        {
            self.violation(shown, &format!("satisfy regular expression pattern: {}", pattern.as_str()));
        }
    }

    /// A number was read.
    #[allow(clippy::cast_precision_loss, reason = "bounds are small")]
    pub fn integer(&mut self, shape: &Shape, value: i64) {
        self.number(shape, value as f64, &value.to_string());
    }

    /// A number was read.
    pub fn double(&mut self, shape: &Shape, value: f64) {
        self.number(shape, value, &value.to_string());
    }

    fn number(&mut self, shape: &Shape, value: f64, shown: &str) {
        let Some(Bounds { min, max }) = shape.constraints.range.filter(|_| self.is_checking()) else {
            return;
        };
        if let Some(min) = min.filter(|min| value < *min) {
            self.violation(Some(shown), &format!("have value greater than or equal to {min}"));
        }
        if let Some(max) = max.filter(|max| value > *max) {
            self.violation(Some(shown), &format!("have value less than or equal to {max}"));
        }
    }

    /// A blob, a list or a map of so many bytes, items or entries was read.
    pub fn count(&mut self, shape: &Shape, count: usize) {
        if let Some(bounds) = shape.constraints.length.filter(|_| self.is_checking()) {
            self.length(None, bounds, count);
        }
    }

    /// A structure was read; `is_set` tells by their places which members were there.
    pub fn structure(&mut self, shape: &Shape, is_set: impl Fn(usize) -> bool) {
        let Kind::Structure { members, union } = shape.kind else {
            return;
        };
        if !self.is_checking() {
            return;
        }
        for (_, member) in members.iter().enumerate().filter(|(place, member)| member.required && !is_set(*place)) {
            self.missing(member);
        }
        if union && (0..members.len()).filter(|place| is_set(*place)).count() != 1 {
            let names: Vec<&str> = members.iter().map(|member| member.name).collect();
            self.violation(None, &format!("have exactly one of its members set: [{}]", names.join(", ")));
        }
    }

    fn missing(&mut self, member: &Member) {
        self.path.push(Step::Member(member.name));
        let place = self.place();
        self.record(format!("Value null at '{place}' failed to satisfy constraint: Member must not be null"));
        self.path.pop();
    }

    fn length(&mut self, shown: Option<&str>, bounds: Bounds<u64>, length: usize) {
        let length = length as u64;
        if let Some(min) = bounds.min.filter(|min| length < *min) {
            self.violation(shown, &format!("have length greater than or equal to {min}"));
        }
        if let Some(max) = bounds.max.filter(|max| length > *max) {
            self.violation(shown, &format!("have length less than or equal to {max}"));
        }
    }

    fn violation(&mut self, value: Option<&str>, constraint: &str) {
        let place = self.place();
        let shown = value.map_or(String::new(), |value| format!(" '{}'", shortened(value)));
        self.record(format!("Value{shown} at '{place}' failed to satisfy constraint: Member must {constraint}"));
    }

    fn note_enumeration(&mut self, shape: &'static str, value: &str, values: &'static [&'static str]) {
        if !self.violations.is_empty() {
            return;
        }
        let member = self.path.iter().rev().find_map(|step| match step {
            Step::Member(name) => Some(*name),
            Step::Item(_) | Step::Key(_) => None,
        });
        let value = shortened(value).to_owned();
        self.enumeration = Some(NotInEnumeration { shape, member: member.unwrap_or_default(), value, values });
    }

    /// The message for the sender when the first violation is a value that is none of an enumeration.
    pub fn enumeration_message(&self, words: &EnumerationWords) -> Option<String> {
        let found = self.enumeration.as_ref()?;
        let name = words.names.iter().find(|(shape, _)| *shape == found.shape).map(|(_, name)| *name);
        let name = name.unwrap_or(found.member).replace("{}", &found.value);
        Some(format!("{name} should be one of [{}]", found.values.join(",")))
    }

    fn record(&mut self, violation: String) {
        if self.violations.len() < VIOLATIONS_MAX {
            self.violations.push(violation);
        }
    }

    /// The message for the sender when constraints are violated.
    pub fn violation_message(&self) -> Option<String> {
        let count = self.violations.len();
        let errors = if count == 1 { "error" } else { "errors" };
        (count > 0).then(|| format!("{count} validation {errors} detected: {}", self.violations.join("; ")))
    }
}

/// Member names begin with a capital in some models, never in these messages.
fn lower_first(name: &str) -> String {
    let mut characters = name.chars();
    characters.next().map_or(String::new(), |first| first.to_ascii_lowercase().to_string() + characters.as_str())
}

fn shortened(value: &str) -> &str {
    value.char_indices().nth(VALUE_CHARS_MAX).map_or(value, |(end, _)| &value[..end])
}
