//! Why a call failed, sorted by what the caller can do about it.

use http::StatusCode;

/// A failed call.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The service was reached and said no.
    #[error("{operation}: {} ({}): {}", error.code, error.status, error.message)]
    Service {
        /// The operation's name.
        operation: &'static str,
        /// What the service said.
        error: ServiceError,
    },
    /// The service was not reached, or the answer did not arrive whole: the call may or may not have been carried out.
    #[error("{operation}: no answer from {endpoint}")]
    Transport {
        /// The operation's name.
        operation: &'static str,
        /// The endpoint's URL.
        endpoint: String,
        /// What broke.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No whole answer in time: the call may or may not have been carried out.
    #[error("{operation}: no answer from {endpoint} in {timeout:?}")]
    TimedOut {
        /// The operation's name.
        operation: &'static str,
        /// The endpoint's URL.
        endpoint: String,
        /// How long was waited.
        timeout: std::time::Duration,
    },
    /// The request could not be made: nothing was sent.
    #[error("{operation}: the request cannot be made")]
    Request {
        /// The operation's name.
        operation: &'static str,
        /// What is wrong with it.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The service answered something that is not this operation's output.
    #[error("{operation}: the answer cannot be read: {message}")]
    Answer {
        /// The operation's name.
        operation: &'static str,
        /// What is wrong with it.
        message: String,
    },
}

/// An error as the service told it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceError {
    /// The error's code without its namespace, such as `ClusterNotFoundException`.
    pub code: String,
    /// The service's explanation.
    pub message: String,
    /// The HTTP status.
    pub status: StatusCode,
    /// The call's id in the service's log.
    pub request_id: Option<String>,
}

/// Codes for a caller who is not known to be who it says that it is.
const UNAUTHENTICATED: [&str; 8] = [
    "ExpiredToken",
    "ExpiredTokenException",
    "IncompleteSignature",
    "IncompleteSignatureException",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
];

impl ClientError {
    /// Whether the service did not believe the signature: it said nothing of the call itself.
    pub fn is_unauthenticated(&self) -> bool {
        self.code().is_some_and(|code| UNAUTHENTICATED.contains(&code))
    }

    /// The error's code when the service told one.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Service { error, .. } => Some(&error.code),
            _ => None,
        }
    }

    /// Whether the same call may succeed later: the service was not reached, is overloaded, or failed inside.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Transport { .. } | Self::TimedOut { .. } => true,
            Self::Request { .. } | Self::Answer { .. } => false,
            Self::Service { error, .. } => {
                let throttled =
                    matches!(error.code.as_str(), "Throttling" | "ThrottlingException" | "RequestLimitExceeded");
                let failed = error.status.is_server_error() && error.status != StatusCode::NOT_IMPLEMENTED;
                throttled || failed || error.status == StatusCode::TOO_MANY_REQUESTS
            }
        }
    }
}
