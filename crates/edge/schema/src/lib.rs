//! Shapes, constraints and codecs of the AWS protocols.
//!
//! An API is types plus a schema ([`Shape`], constant data). A type knows how to hand its members to an [`Encoder`] and
//! how to take them from a [`Decoder`], and nothing of any protocol; a codec is one encoder and one decoder, and knows
//! nothing of any type. So N types and M protocols cost N + M pieces of code. The types are generated, see `xtask`.
//!
//! What is not here: HTTP, signatures, routing (`estiva-wire`) and what an operation does (the service crates).

mod access;
pub mod check;
pub mod codec;
mod debug;
mod decode;
mod encode;
mod enumeration;
mod error;
mod error_enum;
pub mod json;
mod operation;
mod pattern;
mod query;
mod scalar_text;
mod serve;
mod service;
mod shape;
mod structure;
#[cfg(test)]
mod toy;

pub use access::{OwnerOnly, ResourceAuthorizer, SessionTask, SessionTasks, denied};
pub use debug::show;
pub use decode::{Decode, DecodeError, Decoder, EntrySink, ItemSink, Presence};
pub use encode::{Encode, Encoder};
pub use enumeration::Enumeration;
pub use error::ApiError;
pub use error_enum::ModelledError;
pub use operation::{EnumerationWords, Operation, OperationSchema, Protocol, ServiceSchema};
pub use pattern::Pattern;
pub use serve::{BoxFuture, Serve, decode_input, serve};
pub use service::{Authorizer, Bucket, BucketOf, RawRequest, Request, Service};
pub use shape::{Bounds, Constraints, Kind, Member, Shape, Shaped, TimestampFormat, UNIT};

/// What generated code names, so that an API crate needs no dependencies of its own.
#[doc(hidden)]
pub mod generated {
    pub use estiva_model::Timestamp;
    pub use serde_json;
}

/// What [`errors!`] names.
#[doc(hidden)]
pub mod error_parts {
    pub use crate::error_enum::{members_of, to_api_error};
}

/// A value of no modelled type: any JSON.
pub type Document = serde_json::Value;
