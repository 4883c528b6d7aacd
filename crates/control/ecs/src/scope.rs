//! The account and region that a request is about: the first part of every key, and the middle of every ARN.

use estiva_model::{AccountId, Arn, Caller, Region};
use serde::{Deserialize, Serialize};

use crate::name;

/// An account in a region. Nothing of one scope is visible in another.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Scope {
    /// Whose.
    pub account: AccountId,
    /// Where.
    pub region: Region,
}

impl Scope {
    /// The scope that the caller's credentials and request name.
    pub fn of(caller: &Caller) -> Self {
        Self { account: caller.account.clone(), region: caller.region.clone() }
    }

    /// A row's key: the scope and `parts`, separated by slashes. No name of ECS holds a slash.
    pub fn key(&self, parts: &[&str]) -> String {
        let mut key = format!("{}/{}", self.account, self.region);
        for part in parts {
            key.push('/');
            key.push_str(part);
        }
        key
    }

    /// The ARN of an ECS resource of this scope.
    pub fn arn(&self, resource: impl Into<String>) -> String {
        Arn::new("ecs", &self.region, &self.account, resource).to_string()
    }

    /// The parts behind `kind/` of an ECS ARN of this scope. `None` for an ARN of another kind, account, region or partition,
    /// and for one with a part that is no name: an ARN means what it is written for, and nothing else.
    pub fn parts_of<'a>(&self, kind: &str, text: &'a str) -> Option<Vec<&'a str>> {
        let parts = text.strip_prefix(&self.arn(kind))?.strip_prefix('/')?;
        let parts: Vec<&str> = parts.split('/').collect();
        let is_part = |part: &&str| match part.split_once(':').filter(|_| kind == "task-definition") {
            Some((family, revision)) => name::is_legal(family) && revision.bytes().all(|byte| byte.is_ascii_digit()),
            None => name::is_legal(part),
        };
        parts.iter().all(is_part).then_some(parts)
    }

    /// The last part of an ECS ARN of this scope whose resource is `kind/name` or, where a cluster has such resources,
    /// `kind/cluster/name`; or `text` itself when it is no ARN. `None` for any other ARN.
    pub fn name_in<'a>(&self, kind: &str, text: &'a str) -> Option<&'a str> {
        if !text.starts_with("arn:") {
            return Some(text);
        }
        let is_of_cluster = !matches!(kind, "cluster" | "task-definition" | "capacity-provider");
        match self.parts_of(kind, text)?.as_slice() {
            [name] => Some(name),
            [_, name] if is_of_cluster => Some(name),
            _ => None,
        }
    }

    /// Whether the text is the ARN of an ECS resource of another region.
    pub fn is_of_other_region(&self, text: &str) -> bool {
        text.parse::<Arn>().is_ok_and(|arn| arn.service == "ecs" && arn.region != self.region.as_str())
    }

    /// The cluster that an ECS ARN `kind/cluster/name` names. Short ARNs, `kind/name`, name none.
    pub fn cluster_in(text: &str) -> Option<String> {
        let arn: Arn = text.parse().ok()?;
        match arn.resource.split('/').collect::<Vec<_>>().as_slice() {
            [_, cluster, _] => Some((*cluster).to_owned()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
