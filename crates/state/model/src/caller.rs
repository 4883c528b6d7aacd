//! Who makes a request: an account, a region and a principal.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A twelve-digit AWS account number.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AccountId(String);

impl AccountId {
    /// The account of an installation that was told no other.
    pub const DEFAULT: &str = "000000000000";

    /// `None` unless `text` is twelve decimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        (text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| Self(text.to_owned()))
    }

    /// The twelve digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for AccountId {
    fn default() -> Self {
        Self(Self::DEFAULT.to_owned())
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// An AWS region's name, such as `us-east-1`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Region(String);

impl Region {
    /// The region of an installation that was told no other.
    pub const DEFAULT: &str = "us-east-1";

    /// `None` unless `text` is 1 to 32 lower-case letters, digits and hyphens, as in an ARN.
    pub fn parse(text: &str) -> Option<Self> {
        let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        ((1..=32).contains(&text.len()) && text.bytes().all(legal)).then(|| Self(text.to_owned()))
    }

    /// The region's name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Region {
    fn default() -> Self {
        Self(Self::DEFAULT.to_owned())
    }
}

impl fmt::Display for Region {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Who signed a request.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Principal {
    /// The account's owner: may do everything.
    Root,
    /// A session of a role, as STS would give it: a node's, or a task's.
    AssumedRole {
        /// The role's name, without a path.
        role: String,
        /// The session's name: the node's or the task's id.
        session: String,
    },
}

impl Principal {
    /// The role of nodes' keys.
    pub const NODE_ROLE: &str = "ecsInstanceRole";

    /// A session of a task's role: what runs in a container signed with it.
    pub fn is_task(&self) -> bool {
        matches!(self, Self::AssumedRole { role, .. } if role != Self::NODE_ROLE)
    }
}

/// Everything that a handler may know of the one who calls it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The account that the credentials belong to.
    pub account: AccountId,
    /// The region of the request's credential scope.
    pub region: Region,
    /// Who signed.
    pub principal: Principal,
    /// The public half of the credentials that signed.
    pub access_key_id: String,
}

impl Caller {
    /// The principal as an ARN of IAM (root) or STS (a role's session).
    pub fn arn(&self) -> String {
        match &self.principal {
            Principal::Root => format!("arn:aws:iam::{}:root", self.account),
            Principal::AssumedRole { role, session } => {
                format!("arn:aws:sts::{}:assumed-role/{role}/{session}", self.account)
            }
        }
    }
}
