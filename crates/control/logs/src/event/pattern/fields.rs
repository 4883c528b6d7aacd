//! Patterns for lines of fields: `[ip, user, ..., status = 4*, bytes > 1000]`.
//!
//! Fields of a line stand between spaces; what is between quotation marks or brackets is one field. A line has exactly the
//! fields of the pattern, but for `...`, which stands for any number of them.

use super::PatternError;
use super::condition::Condition;
use super::cursor::{Cursor, Tree};

/// What the fields of a line must be.
#[derive(Debug)]
pub(super) struct Fields {
    /// The first fields; all of them, when there is no ellipsis.
    first: Vec<Field>,
    /// The last fields, behind an ellipsis.
    last: Option<Vec<Field>>,
}

/// `None`: whatever it is.
type Field = Option<Tree<Condition>>;

/// What an unquoted value ends before.
const ENDS: [char; 6] = [')', '&', '|', ']', ',', '"'];

/// Reads fields between brackets up to the end of the pattern.
pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<Fields, PatternError> {
    cursor.expect("[")?;
    let mut fields = Fields { first: Vec::new(), last: None };
    loop {
        cursor.skip_space();
        if !cursor.eat("...") {
            let field = field(cursor)?;
            fields.last.as_mut().unwrap_or(&mut fields.first).push(field);
        } else if fields.last.replace(Vec::new()).is_some() {
            return Err(cursor.error("more than one ellipsis"));
        }
        cursor.skip_space();
        if cursor.eat("]") {
            break;
        }
        cursor.expect(",")?;
    }
    cursor.expect_end()?;
    Ok(fields)
}

/// A name alone, or conditions on it. All conditions of one field are about its name.
fn field(cursor: &mut Cursor<'_>) -> Result<Field, PatternError> {
    if cursor.peek() != Some('(') {
        let name = name(cursor)?;
        cursor.skip_space();
        if matches!(cursor.peek(), Some(',' | ']')) {
            return Ok(None);
        }
        // The first condition's name has been read.
        return conditions(cursor, Some(name)).map(Some);
    }
    conditions(cursor, None).map(Some)
}

fn conditions(cursor: &mut Cursor<'_>, first: Option<&str>) -> Result<Tree<Condition>, PatternError> {
    let mut of = first.map(str::to_owned);
    let mut read = first.is_some();
    cursor.tree(&mut |cursor| {
        if !std::mem::take(&mut read) {
            cursor.skip_space();
            let name = name(cursor)?;
            if of.get_or_insert_with(|| name.to_owned()) != name {
                return Err(cursor.error("the conditions of one field are about two"));
            }
        }
        Condition::parse(cursor, &ENDS)
    })
}

fn name<'p>(cursor: &mut Cursor<'p>) -> Result<&'p str, PatternError> {
    let name = cursor.take_while(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '*'));
    if name.is_empty() { Err(cursor.error("expected the name of a field")) } else { Ok(name) }
}

impl Fields {
    pub(super) fn matches(&self, line: &str) -> bool {
        let found = split(line);
        let Some(last) = &self.last else {
            return found.len() == self.first.len() && hold(&self.first, &found);
        };
        found.len() >= self.first.len() + last.len()
            && hold(&self.first, &found)
            && hold(last, &found[found.len() - last.len()..])
    }
}

fn hold(fields: &[Field], found: &[&str]) -> bool {
    let holds = |field: &Field, text: &str| {
        let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
        field.as_ref().is_none_or(|tree| tree.holds(&|condition| condition.holds(text, number)))
    };
    fields.iter().zip(found).all(|(field, text)| holds(field, text))
}

/// The fields of a line, without the marks around them.
fn split(line: &str) -> Vec<&str> {
    let mut fields = Vec::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() {
        let closing = [('"', '"'), ('[', ']')].into_iter().find(|(opening, _)| rest.starts_with(*opening));
        let closed = closing.and_then(|(_, closing)| rest[1..].split_once(closing));
        let (field, behind) = closed.unwrap_or_else(|| rest.split_once(char::is_whitespace).unwrap_or((rest, "")));
        fields.push(field);
        rest = behind.trim_start();
    }
    fields
}
