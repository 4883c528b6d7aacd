//! An error as a client is told of it.

use std::borrow::Cow;

use serde_json::{Map, Value};

use crate::OperationSchema;

/// An error of an API, of any of its operations. A codec brings it into the words of its protocol.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct ApiError {
    /// The code that clients tell errors apart by, such as `ClusterNotFoundException`.
    pub code: Cow<'static, str>,
    /// For people.
    pub message: String,
    /// The HTTP status.
    pub status: u16,
    /// What else the model has for this error, by wire name.
    pub members: Map<String, Value>,
}

impl ApiError {
    /// An error with nothing but a message.
    pub fn new(code: impl Into<Cow<'static, str>>, message: impl Into<String>, status: u16) -> Self {
        Self { code: code.into(), message: message.into(), status, members: Map::new() }
    }

    /// An operation that is in the model and has no handler.
    pub fn not_implemented(operation: &OperationSchema) -> Self {
        Self::new("NotImplemented", format!("Estiva does not implement {} yet.", operation.name), 501)
    }

    /// Whose fault it is: the service's rather than the sender's.
    pub fn is_fault(&self) -> bool {
        self.status >= 500
    }
}
