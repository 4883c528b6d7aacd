//! Protocols: what a request's and an answer's bytes are.

use crate::check::Checks;
use crate::{ApiError, Decode, DecodeError, Encode, OperationSchema, Protocol, ServiceSchema};

/// One protocol, both ends of it.
pub trait Codec: std::fmt::Debug + Send + Sync {
    /// Of answers.
    fn content_type(&self) -> &'static str;

    /// Of requests.
    fn request_content_type(&self) -> &'static str;

    /// The error code of a request that is not in this protocol.
    fn malformed_code(&self) -> &'static str;

    /// Server: reads a request's body, noting in `checks` what breaks the model's constraints.
    fn decode_input(
        &self,
        operation: &'static OperationSchema,
        body: &[u8],
        input: &mut dyn Decode,
        checks: &mut Checks,
    ) -> Result<(), DecodeError>;

    /// Server: writes an answer's body.
    fn encode_output(
        &self,
        service: &ServiceSchema,
        operation: &OperationSchema,
        output: &dyn Encode,
        request_id: &str,
    ) -> Vec<u8>;

    /// Server: writes an error's body.
    fn encode_error(&self, error: &ApiError, request_id: &str) -> Vec<u8>;

    /// Client: writes a request's body.
    fn encode_input(&self, service: &ServiceSchema, operation: &OperationSchema, input: &dyn Encode) -> Vec<u8>;

    /// Client: reads an answer's body.
    fn decode_output(
        &self,
        operation: &'static OperationSchema,
        body: &[u8],
        output: &mut dyn Decode,
    ) -> Result<(), DecodeError>;

    /// Client: reads the body of an answer that is an error; its code is empty when the body does not tell.
    fn decode_error(&self, body: &[u8], status: u16) -> ApiError;
}

/// The codec of a protocol.
pub fn of(protocol: Protocol) -> &'static dyn Codec {
    match protocol {
        Protocol::AwsJson10 => &crate::json::AWS_JSON_10,
        Protocol::AwsJson11 => &crate::json::AWS_JSON_11,
        Protocol::Query => &crate::query::QUERY,
    }
}
