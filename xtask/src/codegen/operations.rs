//! The operations: their schema, the API's trait, and what connects the two.

use std::fmt::Write;

use anyhow::{Context, Result, bail};

use super::errors::code;
use super::model::{Api, Operation, Reference};
use super::names;

/// `operation_schema.rs`
pub fn schema(api: &Api) -> Result<String> {
    let mut text = format!(
        "//! The schema of the operations of `{}`.\n\
         #![allow(missing_docs, reason = \"the model is distilled to facts, without prose\")]\n\n\
         use estiva_schema::{{{}OperationSchema, Protocol, ServiceSchema}};\n\nuse super::schema;\n\n",
        api.service,
        if api.deviations.enumeration.is_some() { "EnumerationWords, " } else { "" },
    );
    let constants: Vec<String> = api.operations.keys().map(|name| format!("&{}", names::constant(name))).collect();
    writeln!(
        text,
        "/// The API.\npub static SERVICE: ServiceSchema = ServiceSchema {{ name: {:?}, signing_name: {:?}, \
         target_prefix: {:?}, api_version: {:?}, protocol: Protocol::{}, xml_namespace: {:?}, violation_code: {:?}, \
         enumeration: {}, operations: &[{}] }};\n",
        api.service,
        api.signing_name(),
        api.metadata.target_prefix.as_deref().unwrap_or_default(),
        api.version,
        protocol(api)?,
        api.metadata.xml_namespace.as_deref().unwrap_or_default(),
        api.deviations.violation_code,
        enumeration(api),
        constants.join(", ")
    )?;
    for (name, operation) in &api.operations {
        let output = match &operation.output {
            Some(output) => format!("Some(&schema::{})", api.constant(&output.shape)?),
            None => "None".to_owned(),
        };
        let codes: Vec<String> = operation.errors.iter().map(|error| code(api, error)).collect();
        writeln!(
            text,
            "pub static {}: OperationSchema = OperationSchema {{ name: {name:?}, input: &schema::{}, output: {output}, \
             errors: &{codes:?}, idempotent: {}, readonly: {}, unsigned: {} }};\n",
            names::constant(name),
            api.constant(&input(name, operation)?.shape)?,
            operation.idempotent,
            operation.readonly,
            operation.is_unsigned(),
        )?;
    }
    Ok(text)
}

fn enumeration(api: &Api) -> String {
    let Some(words) = &api.deviations.enumeration else { return "None".to_owned() };
    let names: Vec<_> = words.names.iter().collect();
    format!(
        "Some(EnumerationWords {{ code: {:?}, violations: &{:?}, names: &{names:?} }})",
        words.code, words.violations
    )
}

/// `operations.rs`
pub fn generate(api: &Api) -> Result<String> {
    let trait_name = api.trait_name();
    let mut methods = String::new();
    let mut table = String::new();
    let mut list = String::new();
    for (name, operation) in &api.operations {
        let method = names::field(name);
        let input = format!("types::{}", names::type_name(&input(name, operation)?.shape));
        let output = match &operation.output {
            Some(output) => format!("types::{}", names::type_name(&output.shape)),
            None => "()".to_owned(),
        };
        writeln!(
            methods,
            "/// `{name}`\nasync fn {method}(&self, _: Request<{input}>) -> Result<{output}, Error> {{\n\
             Err(Error::not_implemented({name}::SCHEMA))\n}}\n"
        )?;
        writeln!(table, "    {name}, {method}, {}, {input}, {output};", names::constant(name))?;
        writeln!(list, "            $callback!($crate::{name});")?;
    }
    Ok(format!(
        "//! The operations of `{service}`.\n\n\
         use async_trait::async_trait;\nuse estiva_schema::{{Operation, Request, endpoint}};\n\n\
         use super::errors::Error;\nuse super::types;\n\n\
         /// The operations. Each answers `NotImplemented` until a service fills it in.\n\
         #[async_trait]\npub trait {trait_name}: Send + Sync + 'static {{\n{methods}}}\n\n\
         endpoint! {{\n    {trait_name};\n{table}}}\n\n\
         /// Calls a macro with each operation's type.\n#[macro_export]\nmacro_rules! for_each_operation {{\n\
         \u{20}   ($callback:ident) => {{\n{list}    }};\n}}\n",
        service = api.service
    ))
}

fn input<'a>(name: &str, operation: &'a Operation) -> Result<&'a Reference> {
    operation.input.as_ref().with_context(|| format!("the operation '{name}' has no input: give it an empty structure"))
}

fn protocol(api: &Api) -> Result<&'static str> {
    Ok(match (api.metadata.protocol.as_str(), api.metadata.json_version.as_deref()) {
        ("json", Some("1.0")) => "AwsJson10",
        ("json", Some("1.1")) => "AwsJson11",
        ("query", _) => "Query",
        (other, _) => bail!("no codec for the protocol '{other}'"),
    })
}
