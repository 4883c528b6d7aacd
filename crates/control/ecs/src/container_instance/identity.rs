//! EC2's instance identity document: what AWS's agent says of its instance there and nowhere else.

use serde_json::Value;

use super::register::ATTRIBUTE_CHARS_MAX;
use super::table::{InstanceAttribute, ZONE_ATTRIBUTE};

/// Characters of an instance's id.
const ID_CHARS_MAX: usize = 64;
/// The document's members that ECS makes attributes of.
const ATTRIBUTES: [(&str, &str); 4] = [
    ("availabilityZone", ZONE_ATTRIBUTE),
    ("instanceType", "ecs.instance-type"),
    ("architecture", "ecs.cpu-architecture"),
    ("imageId", "ecs.ami-id"),
];

/// What is read of a document.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Identity {
    /// The instance's id.
    pub instance_id: Option<String>,
    /// What else the document says.
    pub attributes: Vec<InstanceAttribute>,
}

impl Identity {
    /// A document that is none says nothing: its signature is not checked either.
    pub fn of(document: &str) -> Self {
        let Ok(document) = serde_json::from_str::<Value>(document) else { return Self::default() };
        let member = |name: &str| document.get(name).and_then(Value::as_str);
        let attribute = |(member_name, name): (&str, &str)| {
            let value = member(member_name).filter(|value| is_name(value))?;
            Some(InstanceAttribute { name: name.to_owned(), value: Some(value.to_owned()) })
        };
        Self {
            instance_id: member("instanceId").filter(|id| is_id(id)).map(str::to_owned),
            attributes: ATTRIBUTES.into_iter().filter_map(attribute).collect(),
        }
    }
}

fn is_id(text: &str) -> bool {
    (1..=ID_CHARS_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// Zones, types and architectures as EC2 names them.
fn is_name(text: &str) -> bool {
    (1..=ATTRIBUTE_CHARS_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
}
