//! The way of one request through a service: decode, check, handle, encode.

use std::future::Future;
use std::pin::Pin;

use crate::check::Checks;
use crate::codec::Codec;
use crate::{ApiError, Decode, Operation, OperationSchema, RawRequest, Request, ServiceSchema};

/// A future of a type that need not be named.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// An operation that an API's trait has a method for.
pub trait Serve<Api: ?Sized>: Operation {
    /// Calls the method.
    fn handle(api: &Api, request: Request<Self::Input>) -> BoxFuture<'_, Result<Self::Output, Self::Error>>;
}

/// Decodes and checks, calls the handler, encodes.
pub async fn serve<Op: Serve<Api>, Api: ?Sized + Sync>(
    api: &Api,
    codec: &dyn Codec,
    request: RawRequest<'_>,
) -> Result<Vec<u8>, ApiError> {
    let RawRequest { body, caller, request_id } = request;
    let mut input = Op::Input::default();
    decode_input(Op::SERVICE, Op::SCHEMA, codec, body, &mut input)?;
    let id = request_id.clone();
    let output = Op::handle(api, Request { input, caller, request_id }).await.map_err(Into::into)?;
    Ok(codec.encode_output(Op::SERVICE, Op::SCHEMA, &output, &id))
}

/// Reads an operation's input and checks what the model demands of it. A value that came through this has every required
/// member.
pub fn decode_input(
    service: &ServiceSchema,
    operation: &'static OperationSchema,
    codec: &dyn Codec,
    body: &[u8],
    input: &mut dyn Decode,
) -> Result<(), ApiError> {
    let mut checks = Checks::strict();
    codec
        .decode_input(operation, body, input, &mut checks)
        .map_err(|error| ApiError::new(codec.malformed_code(), error.to_string(), 400))?;
    if let Some(words) = &service.enumeration
        && let Some(message) = checks.enumeration_message(words)
    {
        let is_violation = words.violations.contains(&operation.name);
        let code = if is_violation { service.violation_code } else { words.code };
        return Err(ApiError::new(code, message, 400));
    }
    match checks.violation_message() {
        Some(message) => Err(ApiError::new(service.violation_code, message, 400)),
        None => Ok(()),
    }
}

/// Defines an API from its table of operations: marker types, the `Endpoint`, and the service's list of operations.
#[macro_export]
macro_rules! endpoint {
    ($api:ident; $($operation:ident, $method:ident, $schema:ident, $input:ty, $output:ty;)*) => {
        $(
            #[doc = concat!("The operation `", stringify!($operation), "` as a type.")]
            #[derive(Debug, Clone, Copy)]
            pub struct $operation;

            impl $crate::Operation for $operation {
                type Input = $input;
                type Output = $output;
                type Error = super::errors::Error;
                const SCHEMA: &'static $crate::OperationSchema = &super::operation_schema::$schema;
                const SERVICE: &'static $crate::ServiceSchema = &super::operation_schema::SERVICE;
            }

            impl $crate::Serve<dyn $api> for $operation {
                fn handle<'a>(
                    api: &'a (dyn $api + 'static),
                    request: $crate::Request<$input>,
                ) -> $crate::BoxFuture<'a, Result<$output, super::errors::Error>> {
                    api.$method(request)
                }
            }
        )*

        #[doc = concat!("A [`", stringify!($api), "`] behind the edge.")]
        #[derive(Clone)]
        pub struct Endpoint(pub std::sync::Arc<dyn $api>);

        #[async_trait::async_trait]
        impl $crate::Service for Endpoint {
            fn schema(&self) -> &'static $crate::ServiceSchema {
                &super::operation_schema::SERVICE
            }

            async fn call(
                &self,
                operation: &'static $crate::OperationSchema,
                codec: &dyn $crate::codec::Codec,
                request: $crate::RawRequest<'_>,
            ) -> Result<Vec<u8>, $crate::ApiError> {
                let api = &*self.0;
                let answer: $crate::BoxFuture<'_, _> = match operation.name {
                    $(stringify!($operation) => Box::pin($crate::serve::<$operation, dyn $api>(api, codec, request)),)*
                    _ => return Err($crate::ApiError::not_implemented(operation)),
                };
                answer.await
            }
        }
    };
}
