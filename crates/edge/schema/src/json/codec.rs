//! awsJson as a codec.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::check::Checks;
use crate::codec::Codec;
use crate::{ApiError, Decode, DecodeError, Encode, OperationSchema, ServiceSchema};

/// awsJson; the versions differ in the content type alone.
#[derive(Debug)]
pub(crate) struct AwsJson {
    content_type: &'static str,
}

pub(crate) static AWS_JSON_10: AwsJson = AwsJson { content_type: "application/x-amz-json-1.0" };
pub(crate) static AWS_JSON_11: AwsJson = AwsJson { content_type: "application/x-amz-json-1.1" };

#[derive(Serialize)]
struct ErrorBody<'a> {
    #[serde(rename = "__type")]
    code: &'a str,
    message: &'a str,
    #[serde(flatten)]
    members: &'a Map<String, Value>,
}

impl Codec for AwsJson {
    fn content_type(&self) -> &'static str {
        self.content_type
    }

    fn request_content_type(&self) -> &'static str {
        self.content_type
    }

    fn malformed_code(&self) -> &'static str {
        "SerializationException"
    }

    fn decode_input(
        &self,
        operation: &'static OperationSchema,
        body: &[u8],
        input: &mut dyn Decode,
        checks: &mut Checks,
    ) -> Result<(), DecodeError> {
        // Clients send nothing at all for an input without members.
        let body = if body.is_empty() { b"{}" } else { body };
        super::read(body, operation.input, input, checks)
    }

    fn encode_output(
        &self,
        _service: &ServiceSchema,
        operation: &OperationSchema,
        output: &dyn Encode,
        _request_id: &str,
    ) -> Vec<u8> {
        operation.output.map_or_else(Vec::new, |shape| super::to_vec_of(output, shape))
    }

    fn encode_error(&self, error: &ApiError, _request_id: &str) -> Vec<u8> {
        let body = ErrorBody { code: &error.code, message: &error.message, members: &error.members };
        serde_json::to_vec(&body).unwrap_or_default()
    }

    fn encode_input(&self, _service: &ServiceSchema, operation: &OperationSchema, input: &dyn Encode) -> Vec<u8> {
        super::to_vec_of(input, operation.input)
    }

    fn decode_output(
        &self,
        operation: &'static OperationSchema,
        body: &[u8],
        output: &mut dyn Decode,
    ) -> Result<(), DecodeError> {
        let body = if body.is_empty() { b"{}" } else { body };
        super::read(body, operation.output_shape(), output, &mut Checks::lenient())
    }

    fn decode_error(&self, body: &[u8], status: u16) -> ApiError {
        let mut members: Map<String, Value> = serde_json::from_slice(body).unwrap_or_default();
        let mut take = |names: &[&str]| {
            let value = names.iter().find_map(|name| members.remove(*name));
            value.and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
        };
        let code = short_code(&take(&["__type", "code"])).to_owned();
        let message = take(&["message", "Message", "errorMessage"]);
        ApiError { code: code.into(), message, status, members }
    }
}

/// The code may have a namespace in front (`com.amazon.coral.service#X`) and a URL behind (`X:http://…`).
fn short_code(code: &str) -> &str {
    let code = code.rsplit('#').next().unwrap_or_default();
    code.split(':').next().unwrap_or_default()
}
