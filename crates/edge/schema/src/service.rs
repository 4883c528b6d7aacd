//! The seam between the HTTP edge and a service: the edge hands over a decoded operation, the service answers.

use async_trait::async_trait;
use estiva_model::Caller;

use crate::{ApiError, OperationSchema, ServiceSchema, codec::Codec};

/// One request as a handler sees it: what was asked, and who asks.
#[derive(Debug, Clone)]
pub struct Request<Input> {
    /// The operation's decoded and checked input.
    pub input: Input,
    /// Who signed the request.
    pub caller: Caller,
    /// The id that the answer carries in `x-amzn-RequestId`.
    pub request_id: String,
}

/// A request before its input is decoded.
#[derive(Debug)]
pub struct RawRequest<'a> {
    /// The request's body, or its query string for a GET of the query protocol.
    pub body: &'a [u8],
    /// Who signed the request.
    pub caller: Caller,
    /// The id that the answer carries in `x-amzn-RequestId`.
    pub request_id: String,
}

/// Asked by every operation before its handler runs: may this caller do this?
pub trait Authorizer: Send + Sync {
    /// `action` is IAM's name for the operation, such as `ecs:RunTask`; the error is the service's AccessDenied.
    fn authorize(&self, caller: &Caller, action: &str) -> Result<(), ApiError>;
}

/// A kind of bucket: every account has one of it in every region.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bucket {
    /// Operations with the same name share it.
    pub name: &'static str,
    /// Tokens in a full one.
    pub burst: u32,
    /// Tokens that come back.
    pub per_second: u32,
}

/// Which bucket an action, such as `ecs:RunTask`, takes from; `None` for one that is never throttled.
pub type BucketOf = fn(action: &str) -> Option<Bucket>;

/// A service behind the edge. The generated `Endpoint` of each API crate implements it over the API's trait.
#[async_trait]
pub trait Service: Send + Sync {
    /// The API's names, protocol and operations.
    fn schema(&self) -> &'static ServiceSchema;

    /// Decodes, checks the model's constraints, calls the handler, encodes: the answer's body.
    async fn call(
        &self,
        operation: &'static OperationSchema,
        codec: &dyn Codec,
        request: RawRequest<'_>,
    ) -> Result<Vec<u8>, ApiError>;
}
