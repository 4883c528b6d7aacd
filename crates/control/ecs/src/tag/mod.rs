//! Labels that owners put on resources.

pub mod handlers;

use estiva_api_ecs::Error;
use estiva_api_ecs::types as api;
use serde::{Deserialize, Serialize};

/// The most labels that one resource takes.
const TAGS_MAX: usize = 50;
/// Characters of a key.
const KEY_CHARS_MAX: usize = 128;
/// Characters of a value.
const VALUE_CHARS_MAX: usize = 256;

/// A resource's labels, in the order in which they were first put on it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tags(Vec<(String, String)>);

impl Tags {
    /// Checks the labels of a request: their number, keys and values.
    pub fn from_request(tags: Option<Vec<api::Tag>>) -> Result<Self, Error> {
        let mut checked = Self::default();
        checked.merge(tags.unwrap_or_default())?;
        Ok(checked)
    }

    /// Puts labels on; one with the same key is replaced.
    pub fn merge(&mut self, tags: Vec<api::Tag>) -> Result<(), Error> {
        for tag in tags {
            let (key, value) = (tag.key.unwrap_or_default(), tag.value.unwrap_or_default());
            check(&key, &value)?;
            match self.0.iter_mut().find(|(known, _)| *known == key) {
                Some((_, known)) => *known = value,
                None => self.0.push((key, value)),
            }
        }
        if self.0.len() > TAGS_MAX {
            let message = format!("Number of tags exceeds the maximum of {TAGS_MAX}.");
            return Err(Error::invalid_parameter_exception(message));
        }
        Ok(())
    }

    /// Puts on a label of ECS's own, whose name no caller may give.
    pub fn put_managed(&mut self, key: &str, value: &str) {
        self.0.retain(|(known, _)| known != key);
        self.0.push((key.to_owned(), value.to_owned()));
    }

    /// Takes labels off.
    pub fn remove(&mut self, keys: &[String]) {
        self.0.retain(|(key, _)| !keys.contains(key));
    }

    /// The label's value.
    pub fn value(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str())
    }

    /// As the API gives them.
    pub fn to_api(&self) -> Vec<api::Tag> {
        let tag = |(key, value): &(String, String)| api::Tag { key: Some(key.clone()), value: Some(value.clone()) };
        self.0.iter().map(tag).collect()
    }
}

fn check(key: &str, value: &str) -> Result<(), Error> {
    let refuse = |message: String| Err(Error::invalid_parameter_exception(message));
    if key.is_empty() || key.chars().count() > KEY_CHARS_MAX {
        return refuse(format!("Tag key '{key}' must have 1 to {KEY_CHARS_MAX} characters."));
    }
    if value.chars().count() > VALUE_CHARS_MAX {
        return refuse(format!("The value of tag '{key}' must have at most {VALUE_CHARS_MAX} characters."));
    }
    if key.to_ascii_lowercase().starts_with("aws:") {
        return refuse("Tag key must not start with aws:".to_owned());
    }
    let legal =
        |character: char| character.is_alphanumeric() || character.is_whitespace() || "_.:/=+-@".contains(character);
    if !key.chars().all(legal) || !value.chars().all(legal) {
        return refuse(format!("Tag '{key}' has a character other than letters, digits, spaces and _.:/=+-@."));
    }
    Ok(())
}
