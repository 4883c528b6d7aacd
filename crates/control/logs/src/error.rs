//! What callers are told when something is wrong, in CloudWatch Logs' own words, and why the service does not open.

use estiva_api_logs::Error;
use estiva_store::{StoreError, UpdateError};

use crate::event::storage::EngineError;

/// The service cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory of the events cannot be used.
    #[error("cannot open the stored log events")]
    Events(#[from] EngineError),
}

pub(crate) fn group_not_found() -> Error {
    Error::resource_not_found_exception("The specified log group does not exist.")
}

pub(crate) fn stream_not_found() -> Error {
    Error::resource_not_found_exception("The specified log stream does not exist.")
}

pub(crate) fn invalid(message: impl Into<String>) -> Error {
    Error::invalid_parameter_exception(message)
}

pub(crate) fn invalid_token() -> Error {
    invalid("The specified nextToken is invalid.")
}

/// More than the caller's budget has.
pub(crate) fn throttled() -> Error {
    Error::throttling_exception("Rate exceeded")
}

/// A transaction's error, as a caller is told of it.
pub(crate) fn update(error: UpdateError<Error>) -> Error {
    error.unify(|error| store(&error))
}

/// The store's reasons are for the log.
fn store(error: &StoreError) -> Error {
    tracing::error!(error = error as &dyn std::error::Error, "a change of log groups or streams was not stored");
    Error::service_unavailable_exception("The service cannot complete the request.")
}

/// An error of the stored events, as a caller is told of it.
pub(crate) fn engine(error: &EngineError) -> Error {
    match error {
        EngineError::Deleted => stream_not_found(),
        EngineError::Batch(reason) => invalid(format!("The log events cannot be stored: {reason}.")),
        EngineError::NoRoom { .. } | EngineError::File { .. } => {
            tracing::error!(error = error as &dyn std::error::Error, "log events are not accessible");
            Error::service_unavailable_exception("The service cannot complete the request.")
        }
    }
}
