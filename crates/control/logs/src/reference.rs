//! How requests refer to groups: by name, or by ARN where the API takes an identifier.

use estiva_api_logs::Error;
use estiva_model::{AccountId, Arn, Caller, Region};

use crate::error::{group_not_found, invalid};

/// The longest name of a group, and of a stream, in characters.
pub(crate) const NAME_CHARS_MAX: usize = 512;

/// The longest name of a stream in bytes: it is part of a key of the store.
const STREAM_NAME_BYTES_MAX: usize = 900;

/// An account in a region: nothing of one is visible in another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scope {
    pub(crate) account: AccountId,
    pub(crate) region: Region,
}

impl Scope {
    pub(crate) fn of(caller: &Caller) -> Self {
        Self { account: caller.account.clone(), region: caller.region.clone() }
    }

    /// What the keys of all its groups start with.
    pub(crate) fn prefix(&self) -> String {
        format!("{}/{}/", self.account, self.region)
    }

    /// The ARN of a group, without the `:*` that stands for its streams.
    pub(crate) fn group_arn(&self, name: &str) -> String {
        Arn::new("logs", &self.region, &self.account, format!("log-group:{name}")).to_string()
    }

    /// The ARN of a stream.
    pub(crate) fn stream_arn(&self, group: &str, stream: &str) -> String {
        format!("{}:log-stream:{stream}", self.group_arn(group))
    }

    /// The group's name out of an identifier: a name, or an ARN of this scope with or without `:*` at its end.
    pub(crate) fn group_name(&self, identifier: &str) -> Result<String, Error> {
        if !identifier.starts_with("arn:") {
            return Ok(identifier.to_owned());
        }
        let malformed = || invalid(format!("The ARN '{identifier}' is not the ARN of a log group."));
        let arn: Arn = identifier.parse().map_err(|_| malformed())?;
        let name = arn
            .resource
            .strip_prefix("log-group:")
            .filter(|_| arn.partition == "aws" && arn.service == "logs")
            .ok_or_else(malformed)?;
        let name = name.strip_suffix(":*").unwrap_or(name);
        if !is_group_name(name) {
            return Err(malformed());
        }
        let here = arn.account == self.account.as_str() && arn.region == self.region.as_str();
        here.then(|| name.to_owned()).ok_or_else(group_not_found)
    }

    /// The group's name out of the two members of which a request has one.
    pub(crate) fn one_group(&self, name: Option<&str>, identifier: Option<&str>) -> Result<String, Error> {
        match (name, identifier) {
            (Some(name), None) => Ok(name.to_owned()),
            (None, Some(identifier)) => self.group_name(identifier),
            (Some(_), Some(_)) => {
                Err(invalid("LogGroup name and LogGroup identifier are mutually exclusive parameters."))
            }
            (None, None) => Err(invalid("Either a LogGroup name or a LogGroup identifier is required.")),
        }
    }
}

/// 1 to 512 letters, digits and `_`, `-`, `/`, `.`, `#`.
pub(crate) fn is_group_name(name: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"_-/.#".contains(&byte);
    (1..=NAME_CHARS_MAX).contains(&name.len()) && name.bytes().all(legal)
}

/// 1 to 512 characters without `:` and `*`.
pub(crate) fn is_stream_name(name: &str) -> bool {
    let chars = name.chars().count();
    (1..=NAME_CHARS_MAX).contains(&chars) && name.len() <= STREAM_NAME_BYTES_MAX && !name.contains([':', '*'])
}

/// The model's constraint that a name breaks, as the service words it.
pub(crate) fn illegal(value: &str, member: &str, pattern: &str) -> Error {
    invalid(format!(
        "1 validation error detected: Value '{value}' at '{member}' failed to satisfy constraint: Member must have length \
         between 1 and 512 and satisfy regular expression pattern: {pattern}"
    ))
}
