//! The error type: a row for each error of the model.

use std::fmt::Write;

use super::model::Api;
use super::names;

/// `errors.rs`
pub fn generate(api: &Api) -> String {
    let mut table = String::new();
    for (name, shape) in api.shapes.iter().filter(|(_, shape)| shape.exception) {
        let told = shape.error.as_ref().and_then(|error| error.http_status_code);
        let status = told.unwrap_or(if shape.fault { 500 } else { 400 });
        // Writing to a String cannot fail.
        let _ =
            writeln!(table, "    {}, {}, {:?}, {status};", names::type_name(name), names::field(name), code(api, name));
    }
    format!("//! The errors of `{}`.\n\nestiva_schema::errors! {{\n{table}}}\n", api.service)
}

/// The code of an error on the wire.
pub fn code(api: &Api, name: &str) -> String {
    let shape = api.shapes.get(name).and_then(|shape| shape.error.as_ref());
    shape.and_then(|error| error.code.clone()).unwrap_or_else(|| name.to_owned())
}
