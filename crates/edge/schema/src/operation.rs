//! The schema of an API: its names and its operations.

use crate::{Decode, Encode, ModelledError, Shape, UNIT};

/// How an API is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// JSON both ways, the operation in `X-Amz-Target`.
    AwsJson10,
    /// JSON both ways, the operation in `X-Amz-Target`.
    AwsJson11,
    /// A form in, XML out.
    Query,
}

/// One API.
#[derive(Debug)]
pub struct ServiceSchema {
    /// Estiva's name of it, that of botocore: `ecs`.
    pub name: &'static str,
    /// The service in a signature's scope and before the colon of IAM's actions.
    pub signing_name: &'static str,
    /// What stands before the operation in `X-Amz-Target`; empty for protocols without it.
    pub target_prefix: &'static str,
    /// The API's version, a date.
    pub api_version: &'static str,
    /// How it is spoken.
    pub protocol: Protocol,
    /// The namespace of XML answers; empty for protocols without it.
    pub xml_namespace: &'static str,
    /// The error code of an input that breaks the model's constraints: services differ.
    pub violation_code: &'static str,
    /// What the service says of a value that is none of an enumeration, if it has words of its own for that.
    pub enumeration: Option<EnumerationWords>,
    /// In alphabetical order.
    pub operations: &'static [&'static OperationSchema],
}

/// How a service refuses a value that is none of an enumeration: `NAME should be one of [A,B]`.
#[derive(Debug)]
pub struct EnumerationWords {
    /// The error's code.
    pub code: &'static str,
    /// The operations whose code is the service's `violation_code` all the same.
    pub violations: &'static [&'static str],
    /// What stands for NAME instead of the member's name, by the enumeration's name; `{}` is the value.
    pub names: &'static [(&'static str, &'static str)],
}

/// One operation of an API.
#[derive(Debug)]
pub struct OperationSchema {
    /// Its name, such as `RunTask`.
    pub name: &'static str,
    /// A structure.
    pub input: &'static Shape,
    /// A structure; `None` when a success has nothing to tell.
    pub output: Option<&'static Shape>,
    /// The codes of the errors that the model names for it.
    pub errors: &'static [&'static str],
    /// Carrying it out twice leaves what carrying it out once leaves.
    pub idempotent: bool,
    /// It changes nothing.
    pub readonly: bool,
    /// It needs no signature.
    pub unsigned: bool,
}

/// An operation as a type, so that a generic client knows what goes in and what comes out.
pub trait Operation: Send + Sync + 'static {
    /// What a caller says.
    type Input: Encode + Decode + Default + Send + Sync + 'static;
    /// What the service answers; `()` when it has nothing to tell.
    type Output: Encode + Decode + Default + Send + Sync + 'static;
    /// What the service answers when it refuses or fails.
    type Error: ModelledError;
    /// The operation's schema.
    const SCHEMA: &'static OperationSchema;
    /// The API that it belongs to.
    const SERVICE: &'static ServiceSchema;
}

impl ServiceSchema {
    /// The operation of that name.
    pub fn operation(&self, name: &str) -> Option<&'static OperationSchema> {
        let place = self.operations.binary_search_by(|operation| operation.name.cmp(name)).ok()?;
        Some(self.operations[place])
    }
}

impl OperationSchema {
    /// An operation about which nothing else is known.
    pub const fn new(name: &'static str, input: &'static Shape, output: Option<&'static Shape>) -> Self {
        Self { name, input, output, errors: &[], idempotent: false, readonly: false, unsigned: false }
    }

    /// The output's shape, also where there is nothing to tell.
    pub fn output_shape(&self) -> &'static Shape {
        self.output.unwrap_or(&UNIT)
    }
}
