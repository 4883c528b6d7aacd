//! The schema: a `Shape` for each shape of the model.

use std::fmt::Write;

use anyhow::{Context, Result, bail};

use super::model::{Api, Shape};

/// `schema.rs`
pub fn generate(api: &Api) -> Result<String> {
    let mut text = String::new();
    for (name, shape) in &api.shapes {
        let mut value = format!("Shape::of({name:?}, {})", kind(api, name, shape)?);
        let constraints = constraints(api, name, shape);
        if !constraints.is_empty() {
            write!(value, ".with(Constraints::NONE{constraints})")?;
        }
        if shape.sensitive {
            value.push_str(".secret()");
        }
        writeln!(text, "pub static {}: Shape = {value};", api.constant(name)?)?;
    }
    let used: Vec<&str> = ["Constraints", "Kind", "Member", "Pattern", "Shape", "TimestampFormat"]
        .into_iter()
        .filter(|name| text.contains(&format!("{name}::")))
        .collect();
    Ok(format!(
        "//! The schema of `{}`: names, kinds and constraints.\n\
         #![allow(missing_docs, reason = \"the model is distilled to facts, without prose\")]\n\n\
         use estiva_schema::{{{}}};\n\n{text}",
        api.service,
        used.join(", ")
    ))
}

fn kind(api: &Api, name: &str, shape: &Shape) -> Result<String> {
    if !shape.values.is_empty() {
        return Ok(format!("Kind::Enum(&{:?})", shape.values));
    }
    Ok(match shape.kind.as_str() {
        "structure" if shape.document => "Kind::Document".to_owned(),
        "structure" => structure(api, shape)?,
        "list" => {
            let item = shape.member.as_ref().with_context(|| format!("the list '{name}' has no items"))?;
            let item_name = item.location_name.as_deref().unwrap_or("member");
            let constant = api.constant(&item.shape)?;
            let flattened = shape.flattened;
            format!("Kind::List {{ item: &{constant}, item_name: {item_name:?}, flattened: {flattened} }}")
        }
        "map" => map(api, name, shape)?,
        "string" | "character" => "Kind::String".to_owned(),
        "boolean" => "Kind::Boolean".to_owned(),
        "integer" => "Kind::Integer".to_owned(),
        "long" => "Kind::Long".to_owned(),
        "float" | "double" => "Kind::Double".to_owned(),
        "blob" => "Kind::Blob".to_owned(),
        "timestamp" => {
            let format = match shape.timestamp_format.as_deref() {
                None => "Default",
                Some("iso8601") => "Iso8601",
                Some("rfc822") => "Rfc822",
                Some("unixTimestamp") => "UnixTimestamp",
                Some(other) => bail!("'{name}' has the unknown format '{other}'"),
            };
            format!("Kind::Timestamp(TimestampFormat::{format})")
        }
        other => bail!("'{name}' is of the unknown type '{other}'"),
    })
}

fn structure(api: &Api, shape: &Shape) -> Result<String> {
    let mut text = "Kind::Structure { members: &[".to_owned();
    for member in shape.members()? {
        write!(text, "Member::of({:?}, &{})", member.wire_name, api.constant(&member.shape)?)?;
        if member.required {
            text.push_str(".required()");
        }
        if member.idempotency_token {
            text.push_str(".idempotency_token()");
        }
        text.push(',');
    }
    write!(text, "], union: {} }}", shape.is_union())?;
    Ok(text)
}

fn map(api: &Api, name: &str, shape: &Shape) -> Result<String> {
    let (Some(key), Some(value)) = (&shape.key, &shape.value) else {
        bail!("the map '{name}' lacks its key or value");
    };
    Ok(format!(
        "Kind::Map {{ key: &{}, value: &{}, key_name: {:?}, value_name: {:?}, flattened: {} }}",
        api.constant(&key.shape)?,
        api.constant(&value.shape)?,
        key.location_name.as_deref().unwrap_or("key"),
        value.location_name.as_deref().unwrap_or("value"),
        shape.flattened
    ))
}

fn constraints(api: &Api, name: &str, shape: &Shape) -> String {
    let bounds = match (shape.min, shape.max) {
        (None, None) => String::new(),
        _ if !shape.values.is_empty() => String::new(),
        (min, max) => match shape.kind.as_str() {
            "integer" | "long" | "float" | "double" => format!(".range({}, {})", bound(min, true), bound(max, true)),
            _ => format!(".length({}, {})", bound(min, false), bound(max, false)),
        },
    };
    let pattern = match shape.pattern.as_deref().filter(|_| !api.deviations.unchecked_patterns.contains(name)) {
        None => String::new(),
        Some(text) => format!(".pattern({{ static PATTERN: Pattern = Pattern::new({}); &PATTERN }})", raw(text)),
    };
    bounds + &pattern
}

/// `Some(100_000.0)`, `Some(100_000)` or `None`.
fn bound(value: Option<f64>, floating: bool) -> String {
    let Some(value) = value else {
        return "None".to_owned();
    };
    let text = format!("{value:?}");
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, "0"));
    let mut separated = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if whole.len() > 5 && at > 0 && (whole.len() - at).is_multiple_of(3) {
            separated.push('_');
        }
        separated.push(digit);
    }
    if floating { format!("Some({separated}.{fraction})") } else { format!("Some({separated})") }
}

/// A raw string literal, with hashes where the text demands them.
fn raw(text: &str) -> String {
    let hashes = "#".repeat(if text.contains("\"#") { 2 } else { usize::from(text.contains('"')) });
    format!("r{hashes}\"{text}\"{hashes}")
}
