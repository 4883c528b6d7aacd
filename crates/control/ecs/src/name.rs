//! Names that callers give: what is legal, and how resources are referred to.

use estiva_api_ecs::Error;

/// Characters of a cluster's name or a family.
const NAME_CHARS_MAX: usize = 255;

/// Letters, digits, hyphens and underscores, 1 to 255 of them: clusters, families, containers.
pub fn is_legal(name: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=NAME_CHARS_MAX).contains(&name.len()) && name.bytes().all(legal)
}

/// What is said of a name that is not legal.
pub fn mismatch(what: &str, name: &str) -> String {
    format!("{what} must match ^[a-zA-Z0-9\\-_]{{1,255}}$, but was {name}")
}

/// A task definition as callers refer to it: `family`, `family:revision`, or the part of an ARN behind
/// `task-definition/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision {
    /// The family.
    pub family: String,
    /// Absent: the newest that is ACTIVE.
    pub revision: Option<u32>,
}

impl Revision {
    /// Reads the form without ARN.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let (family, revision) = match text.split_once(':') {
            None => (text, None),
            Some((family, number)) => {
                // Neither a sign nor leading zeros: a revision has one name.
                let is_plain = number.bytes().all(|byte| byte.is_ascii_digit()) && !number.starts_with('0');
                let number = number.parse::<u32>().ok().filter(|number| is_plain && *number > 0);
                let invalid = || {
                    Error::client_exception(format!("Invalid revision number. Number: {}", &text[family.len() + 1..]))
                };
                (family, Some(number.ok_or_else(invalid)?))
            }
        };
        if !is_legal(family) {
            return Err(Error::client_exception(format!("Invalid task definition family name. Name: {family}")));
        }
        Ok(Self { family: family.to_owned(), revision })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn revisions_are_read_with_and_without_a_number() {
        let revision = |family: &str, revision| Revision { family: family.to_owned(), revision };
        assert_eq!(Revision::parse("web").unwrap(), revision("web", None));
        assert_eq!(Revision::parse("web:12").unwrap(), revision("web", Some(12)));
        for text in
            ["", "web:", "web:0", "web:-1", "web:4294967296", "web:+1", "web:01", "web:1 ", "web:1\n", "w b", "web:1:2"]
        {
            assert!(Revision::parse(text).is_err(), "{text}");
        }
    }
}
