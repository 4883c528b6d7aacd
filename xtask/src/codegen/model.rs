//! The distilled models, as far as the generator reads them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::names;

/// One API.
pub struct Api {
    /// The model's file name: `ecs`.
    pub service: String,
    /// The API's version.
    pub version: String,
    /// The model's metadata.
    pub metadata: Metadata,
    /// By name.
    pub operations: BTreeMap<String, Operation>,
    /// By name.
    pub shapes: BTreeMap<String, Shape>,
    /// Where the real service differs from its model.
    pub deviations: Deviations,
    constants: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Model {
    metadata: Metadata,
    operations: BTreeMap<String, Operation>,
    shapes: BTreeMap<String, Shape>,
}

/// Names and protocol of an API.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    api_version: String,
    endpoint_prefix: String,
    /// `json`, `query`, …
    pub protocol: String,
    /// `1.0` or `1.1`.
    pub json_version: Option<String>,
    signing_name: Option<String>,
    /// What stands before the operation in `X-Amz-Target`.
    pub target_prefix: Option<String>,
    /// Of XML answers.
    pub xml_namespace: Option<String>,
}

/// One operation.
#[derive(Deserialize)]
pub struct Operation {
    /// Absent when there is nothing to say.
    pub input: Option<Reference>,
    /// Absent when there is nothing to tell.
    pub output: Option<Reference>,
    /// The shapes of its errors.
    #[serde(default)]
    pub errors: Vec<String>,
    /// Carrying it out twice leaves what carrying it out once leaves.
    #[serde(default)]
    pub idempotent: bool,
    /// It changes nothing.
    #[serde(default)]
    pub readonly: bool,
    authtype: Option<String>,
}

/// A shape as it is used at one place.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reference {
    /// The shape's name.
    pub shape: String,
    /// The name on the wire, where it is another than the member's.
    pub location_name: Option<String>,
    /// Whether clients fill it in.
    #[serde(default)]
    pub idempotency_token: bool,
}

/// One shape.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(clippy::struct_excessive_bools, reason = "each is a trait of the model")]
pub struct Shape {
    /// `structure`, `list`, `map`, `string`, …
    #[serde(rename = "type")]
    pub kind: String,
    /// A structure's, in the model's order.
    #[serde(default)]
    members: Map<String, Value>,
    /// The names of the members that must be there.
    #[serde(default)]
    required: BTreeSet<String>,
    /// A list's items.
    pub member: Option<Reference>,
    /// A map's keys.
    pub key: Option<Reference>,
    /// A map's values.
    pub value: Option<Reference>,
    /// An enum's values.
    #[serde(rename = "enum", default)]
    pub values: Vec<String>,
    /// The least length or number.
    pub min: Option<f64>,
    /// The greatest length or number.
    pub max: Option<f64>,
    /// What texts must match.
    pub pattern: Option<String>,
    /// Items stand beside each other in the query protocols.
    #[serde(default)]
    pub flattened: bool,
    /// Exactly one member is set.
    #[serde(default)]
    pub union: bool,
    /// A structure of events, one after the other.
    #[serde(default)]
    eventstream: bool,
    /// Any JSON.
    #[serde(default)]
    pub document: bool,
    /// An error.
    #[serde(default)]
    pub exception: bool,
    /// An error that is not the sender's.
    #[serde(default)]
    pub fault: bool,
    /// Secret.
    #[serde(default)]
    pub sensitive: bool,
    /// An error's code and status.
    pub error: Option<ErrorTrait>,
    /// `iso8601`, `rfc822` or `unixTimestamp`.
    pub timestamp_format: Option<String>,
}

/// An error's code and status where the model tells them.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ErrorTrait {
    /// The code on the wire.
    pub code: Option<String>,
    /// The HTTP status.
    pub http_status_code: Option<u16>,
}

/// What a service says of a value that is none of an enumeration.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EnumerationWords {
    /// The error's code.
    pub code: String,
    /// Operations whose code is that of any violation.
    pub violations: Vec<String>,
    /// Names of what is refused, by the enumeration's.
    pub names: BTreeMap<String, String>,
}

/// What `deviations.json` says of one service.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Deviations {
    /// The code of the error for an input that breaks the model's constraints.
    pub violation_code: String,
    /// What it says of a value that is none of an enumeration, where that is not the error for any violation.
    pub enumeration: Option<EnumerationWords>,
    /// Shapes whose pattern is not checked.
    pub unchecked_patterns: BTreeSet<String>,
    /// Members that a structure has beside those of the model, by the structure.
    #[serde(default)]
    further_members: BTreeMap<String, Map<String, Value>>,
}

/// One member of a structure.
pub struct Member {
    /// The model's name.
    pub name: String,
    /// The name on the wire.
    pub wire_name: String,
    /// The shape's name.
    pub shape: String,
    /// Whether it must be there.
    pub required: bool,
    /// Whether clients fill it in.
    pub idempotency_token: bool,
}

impl Api {
    /// Reads the model of `service`.
    pub fn read(models: &Path, service: &str) -> Result<Self> {
        let Model { metadata, operations, mut shapes } = read_json(&models.join(format!("{service}.json")))?;
        let mut deviations: BTreeMap<String, Deviations> = read_json(&models.join("deviations.json"))?;
        let deviations = deviations.remove(service).with_context(|| format!("deviations.json lacks '{service}'"))?;
        for shape in shapes.values_mut().filter(|shape| shape.exception) {
            shape.complete_exception();
        }
        for (name, members) in &deviations.further_members {
            let shape = shapes.get_mut(name).with_context(|| format!("deviations.json: there is no shape '{name}'"))?;
            shape.members.extend(members.clone());
        }
        shapes.entry("String".to_owned()).or_insert_with(|| {
            let string = serde_json::json!({"type": "string"});
            serde_json::from_value(string).unwrap_or_else(|_| unreachable!("a shape needs nothing but its type"))
        });
        let constants = constants(&shapes);
        let api = Self {
            service: service.to_owned(),
            version: metadata.api_version.clone(),
            metadata,
            operations,
            shapes,
            deviations,
            constants,
        };
        api.check()?;
        Ok(api)
    }

    fn check(&self) -> Result<()> {
        let mut types = BTreeSet::new();
        for (name, shape) in self.shapes.iter().filter(|(_, shape)| shape.has_type()) {
            let type_name = names::type_name(name);
            if ["String", "Vec", "Option", "Box", "Self", "Default", "Clone"].contains(&type_name.as_str()) {
                bail!("the type '{name}' would hide one of Rust's");
            }
            if !types.insert(type_name) {
                bail!("two types would be called '{name}'");
            }
            if shape.member_count() > 256 {
                bail!("'{name}' has more than 256 members");
            }
        }
        Ok(())
    }

    /// The shape of that name.
    pub fn shape(&self, name: &str) -> Result<&Shape> {
        self.shapes.get(name).with_context(|| format!("the model has no shape '{name}'"))
    }

    /// The API's trait: `Ecs`.
    pub fn trait_name(&self) -> String {
        names::type_name(&self.service)
    }

    /// The name in signatures.
    pub fn signing_name(&self) -> &str {
        self.metadata.signing_name.as_deref().unwrap_or(&self.metadata.endpoint_prefix)
    }

    /// The constant of a shape: unique, although the models have names that differ in case alone.
    pub fn constant(&self, shape: &str) -> Result<&str> {
        self.constants.get(shape).map(String::as_str).with_context(|| format!("the model has no shape '{shape}'"))
    }
}

fn constants(shapes: &BTreeMap<String, Shape>) -> BTreeMap<String, String> {
    let mut taken = BTreeSet::new();
    let mut constants = BTreeMap::new();
    for name in shapes.keys() {
        let mut constant = names::constant(name);
        while !taken.insert(constant.clone()) {
            constant.push_str("_2");
        }
        constants.insert(name.clone(), constant);
    }
    constants
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is not as expected", path.display()))
}

impl Operation {
    /// Whether it needs no signature.
    pub fn is_unsigned(&self) -> bool {
        self.authtype.as_deref() == Some("none")
    }
}

impl Shape {
    /// Whether it has a Rust type of its own.
    pub fn has_type(&self) -> bool {
        !self.values.is_empty() || (self.kind == "structure" && !self.document)
    }

    /// Whether exactly one member is set; an event stream is such a union, event by event.
    pub fn is_union(&self) -> bool {
        self.union || self.eventstream
    }

    fn member_count(&self) -> usize {
        self.members.len()
    }

    /// A structure's members in the model's order.
    pub fn members(&self) -> Result<Vec<Member>> {
        let member = |(name, value): (&String, &Value)| {
            let Reference { shape, location_name, idempotency_token } =
                serde_json::from_value(value.clone()).with_context(|| format!("member '{name}'"))?;
            let wire_name = location_name.unwrap_or_else(|| name.clone());
            // An error may always come without its message.
            let required = self.required.contains(name) && !self.exception;
            Ok(Member { name: name.clone(), wire_name, shape, required, idempotency_token })
        };
        self.members.iter().map(member).collect()
    }

    /// Every error has a message, whether the model says so or not.
    fn complete_exception(&mut self) {
        if !self.members.keys().any(|name| name.eq_ignore_ascii_case("message")) {
            self.members.insert("message".to_owned(), serde_json::json!({"shape": "String"}));
        }
    }
}
