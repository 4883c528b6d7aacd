//! The query protocol as a codec.

use serde_json::{Map, Value};

use super::read::{Layout, read};
use super::tree::Tree;
use super::{element, form, write, xml};
use crate::check::Checks;
use crate::codec::Codec;
use crate::{ApiError, Decode, DecodeError, Encode, OperationSchema, ServiceSchema};

/// The query protocol.
#[derive(Debug)]
pub(crate) struct Query;

pub(crate) static QUERY: Query = Query;

impl Codec for Query {
    fn content_type(&self) -> &'static str {
        "text/xml"
    }

    fn request_content_type(&self) -> &'static str {
        "application/x-www-form-urlencoded; charset=utf-8"
    }

    fn malformed_code(&self) -> &'static str {
        "MalformedInput"
    }

    fn decode_input(
        &self,
        operation: &'static OperationSchema,
        body: &[u8],
        input: &mut dyn Decode,
        checks: &mut Checks,
    ) -> Result<(), DecodeError> {
        let tree = form::parse(body).map_err(malformed)?;
        read(&tree, Layout::Form, operation.input, input, checks)
    }

    fn encode_output(
        &self,
        service: &ServiceSchema,
        operation: &OperationSchema,
        output: &dyn Encode,
        request_id: &str,
    ) -> Vec<u8> {
        let response = format!("{}Response", operation.name);
        let mut body = format!("<{response} xmlns=\"{}\">", service.xml_namespace);
        if let Some(shape) = operation.output {
            xml::element(&mut body, &format!("{}Result", operation.name), shape, output);
        }
        xml::open(&mut body, "ResponseMetadata");
        xml::text_element(&mut body, "RequestId", request_id);
        xml::close(&mut body, "ResponseMetadata");
        xml::close(&mut body, &response);
        body.into_bytes()
    }

    fn encode_error(&self, error: &ApiError, request_id: &str) -> Vec<u8> {
        let mut body = "<ErrorResponse><Error>".to_owned();
        xml::text_element(&mut body, "Type", if error.is_fault() { "Receiver" } else { "Sender" });
        xml::text_element(&mut body, "Code", &error.code);
        xml::text_element(&mut body, "Message", &error.message);
        for (name, value) in &error.members {
            if let Some(text) = plain(value) {
                xml::text_element(&mut body, name, &text);
            }
        }
        xml::close(&mut body, "Error");
        xml::text_element(&mut body, "RequestId", request_id);
        xml::close(&mut body, "ErrorResponse");
        body.into_bytes()
    }

    fn encode_input(&self, service: &ServiceSchema, operation: &OperationSchema, input: &dyn Encode) -> Vec<u8> {
        let mut body = String::new();
        form::push(&mut body, "Action", operation.name);
        form::push(&mut body, "Version", service.api_version);
        write::write(&mut body, operation.input, input);
        body.into_bytes()
    }

    fn decode_output(
        &self,
        operation: &'static OperationSchema,
        body: &[u8],
        output: &mut dyn Decode,
    ) -> Result<(), DecodeError> {
        let Some(shape) = operation.output else {
            return Ok(());
        };
        let (_, response) = parse(body)?;
        let result = response.child(&format!("{}Result", operation.name)).ok_or_else(|| malformed("no result"))?;
        read(result, Layout::Xml, shape, output, &mut Checks::lenient())
    }

    fn decode_error(&self, body: &[u8], status: u16) -> ApiError {
        let tree = parse(body).map(|(_, tree)| tree).unwrap_or_default();
        let Some(error) = tree.child("Error") else {
            return ApiError::new("", "", status);
        };
        let text = |name: &str| error.child(name).and_then(|child| child.text.clone()).unwrap_or_default();
        let mut members = Map::new();
        for name in error.children.keys().filter(|name| !["Type", "Code", "Message"].contains(&name.as_str())) {
            members.insert(name.clone(), Value::String(text(name)));
        }
        ApiError { code: text("Code").into(), message: text("Message"), status, members }
    }
}

fn parse(body: &[u8]) -> Result<(String, Tree), DecodeError> {
    element::parse(std::str::from_utf8(body).map_err(|_| malformed("not UTF-8"))?).map_err(malformed)
}

fn malformed(reason: &str) -> DecodeError {
    DecodeError::Malformed { place: String::new(), reason: reason.to_owned() }
}

/// The text of a value that is no list and no structure.
fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}
