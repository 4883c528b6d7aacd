//! The types: a struct for each structure, an enum for each enum.

use std::collections::BTreeSet;
use std::fmt::Write;

use anyhow::{Result, bail};

use super::model::{Api, Shape};
use super::names;

/// `types.rs`
pub fn generate(api: &Api) -> Result<String> {
    let mut text = String::new();
    for (name, shape) in api.shapes.iter().filter(|(_, shape)| shape.has_type()) {
        if shape.values.is_empty() {
            structure(&mut text, api, name, shape)?;
        } else {
            enumeration(&mut text, name, shape)?;
        }
    }
    Ok(format!(
        "//! The types of `{}`. A member that the model requires is there as it is, any other is an `Option`.\n\
         #![allow(missing_docs, reason = \"the model is distilled to facts, without prose\")]\n\n\
         {}{text}",
        api.service,
        imports(&text)
    ))
}

/// The imports that the text needs.
fn imports(text: &str) -> String {
    let uses = |name: &str| text.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| word == name);
    let map = if uses("BTreeMap") { "use std::collections::BTreeMap;\n\n" } else { "" };
    let wanted = [
        ("Document", "Document"),
        ("Timestamp", "generated::Timestamp"),
        ("enumeration", "enumeration"),
        ("structures", "structures"),
    ];
    let found: Vec<&str> = wanted.iter().filter(|(name, _)| uses(name)).map(|(_, import)| *import).collect();
    format!("{map}use estiva_schema::{{{}}};\n\n", found.join(", "))
}

fn structure(text: &mut String, api: &Api, name: &str, shape: &Shape) -> Result<()> {
    let type_name = names::type_name(name);
    let members = shape.members()?;
    let fields: Vec<String> = members.iter().map(|member| names::field(&member.name)).collect();
    if fields.iter().collect::<BTreeSet<_>>().len() != fields.len() {
        bail!("two fields of '{name}' would have the same name");
    }
    writeln!(text, "#[derive(Clone, PartialEq, Default)]\npub struct {type_name} {{")?;
    for (member, field) in members.iter().zip(&fields) {
        let mut rust = rust_type(api, &member.shape)?;
        if contains(api, &member.shape, name, &mut BTreeSet::new())? {
            rust = format!("Box<{rust}>");
        }
        if !member.required {
            rust = format!("Option<{rust}>");
        }
        writeln!(text, "pub {field}: {rust},")?;
    }
    writeln!(text, "}}\n\nstructures! {{ {type_name} = {} [{}]; }}\n", api.constant(name)?, fields.join(", "))?;
    Ok(())
}

fn enumeration(text: &mut String, name: &str, shape: &Shape) -> Result<()> {
    let variants: BTreeSet<String> = shape.values.iter().map(|value| names::variant(value)).collect();
    if variants.len() != shape.values.len() {
        bail!("two values of '{name}' would have the same name");
    }
    writeln!(text, "enumeration! {{\n    {} {{", names::type_name(name))?;
    for value in &shape.values {
        writeln!(text, "        {} = {value:?},", names::variant(value))?;
    }
    writeln!(text, "    }}\n}}\n")?;
    Ok(())
}

fn rust_type(api: &Api, name: &str) -> Result<String> {
    let shape = api.shape(name)?;
    if shape.has_type() {
        return Ok(names::type_name(name));
    }
    let inner = |reference: &Option<super::model::Reference>| match reference {
        Some(reference) => rust_type(api, &reference.shape),
        None => bail!("'{name}' does not say of what it is"),
    };
    Ok(match shape.kind.as_str() {
        "structure" => "Document".to_owned(),
        "list" => format!("Vec<{}>", inner(&shape.member)?),
        "map" => format!("BTreeMap<String, {}>", inner(&shape.value)?),
        "string" | "character" => "String".to_owned(),
        "boolean" => "bool".to_owned(),
        "integer" => "i32".to_owned(),
        "long" => "i64".to_owned(),
        "float" | "double" => "f64".to_owned(),
        "timestamp" => "Timestamp".to_owned(),
        "blob" => "Vec<u8>".to_owned(),
        other => bail!("'{name}' is of the unknown type '{other}'"),
    })
}

/// Whether a value of `shape` holds one of `target` without a list or map between, so that the type would be infinite.
fn contains(api: &Api, shape: &str, target: &str, seen: &mut BTreeSet<String>) -> Result<bool> {
    if shape == target {
        return Ok(true);
    }
    if !seen.insert(shape.to_owned()) {
        return Ok(false);
    }
    for member in api.shape(shape)?.members()? {
        if contains(api, &member.shape, target, seen)? {
            return Ok(true);
        }
    }
    Ok(false)
}
