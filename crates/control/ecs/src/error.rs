//! A transaction's error, as a caller is told of it.

use estiva_api_ecs::Error;
use estiva_store::UpdateError;

/// The store's reasons are for the log; the caller learns that the fault is the server's.
pub fn update(error: UpdateError<Error>) -> Error {
    error.unify(|error| {
        tracing::error!(error = &error as &dyn std::error::Error, "a change of ECS state was not stored");
        Error::server_exception("The change could not be stored. Try again.")
    })
}

/// The same error, with the field of the request that it is about.
pub fn within(field: &str, error: Error) -> Error {
    let message = format!("{field}: {}", error.message());
    match error {
        Error::ClientException(_) => Error::client_exception(message),
        Error::InvalidParameterException(_) => Error::invalid_parameter_exception(message),
        other => other,
    }
}

/// What is said of an ARN of another region than the request's.
pub const INVALID_REGION: &str = "Invalid Region in ARN";

/// An InvalidParameterException.
pub fn invalid(message: impl Into<String>) -> Error {
    Error::invalid_parameter_exception(message)
}
