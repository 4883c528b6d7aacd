//! Why a request was not believed, in the words that AWS uses.
//!
//! Codes and statuses differ between the two families of protocols: JSON services answer 400 with codes that end in
//! `Exception`, query services answer 403 with IAM's older names. Seen in the wild in the SDKs' issue trackers; listed in
//! part on each service's "Common Errors" page.

use http::StatusCode;

/// The family of protocols that an error is told in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// awsJson, rest-json, CBOR.
    Json,
    /// The query protocol, ec2 and rest-xml.
    Query,
}

/// What is wrong with a request's signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthErrorKind {
    /// Nothing signs the request.
    Missing,
    /// Something is there, but not a whole signature.
    Incomplete,
    /// No such access key, or a session token that is not this key's.
    Unrecognized,
    /// The temporary credentials are too old.
    Expired,
    /// The signature is not that of this request: other secret, other bytes, other time, other scope.
    Mismatch,
    /// A form of signing that Estiva does not do.
    Unsupported,
}

/// A refused signature. The message may quote the request: answer it to the sender, never log it.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct AuthError {
    /// What went wrong.
    pub kind: AuthErrorKind,
    /// What the sender is told.
    pub message: String,
}

impl std::fmt::Debug for AuthError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("AuthError").field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl AuthError {
    pub(super) fn new(kind: AuthErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    pub(super) fn incomplete(message: impl Into<String>) -> Self {
        Self::new(AuthErrorKind::Incomplete, message)
    }

    /// A signature that is well formed but not good for this request.
    pub fn mismatch(message: impl Into<String>) -> Self {
        Self::new(AuthErrorKind::Mismatch, message)
    }

    pub(super) fn missing() -> Self {
        Self::new(AuthErrorKind::Missing, "Request is missing Authentication Token")
    }

    pub(super) fn unrecognized() -> Self {
        Self::new(AuthErrorKind::Unrecognized, "The security token included in the request is invalid.")
    }

    pub(super) fn expired() -> Self {
        Self::new(AuthErrorKind::Expired, "The security token included in the request is expired")
    }

    /// The error code that a client of this family knows.
    pub const fn code(&self, dialect: Dialect) -> &'static str {
        match (dialect, self.kind) {
            (Dialect::Json, AuthErrorKind::Missing) => "MissingAuthenticationTokenException",
            (Dialect::Json, AuthErrorKind::Incomplete) => "IncompleteSignatureException",
            (Dialect::Json, AuthErrorKind::Unrecognized) => "UnrecognizedClientException",
            (Dialect::Json, AuthErrorKind::Expired) => "ExpiredTokenException",
            (Dialect::Json, AuthErrorKind::Mismatch) => "InvalidSignatureException",
            (Dialect::Query, AuthErrorKind::Missing) => "MissingAuthenticationToken",
            (Dialect::Query, AuthErrorKind::Incomplete) => "IncompleteSignature",
            (Dialect::Query, AuthErrorKind::Unrecognized) => "InvalidClientTokenId",
            (Dialect::Query, AuthErrorKind::Expired) => "ExpiredToken",
            (Dialect::Query, AuthErrorKind::Mismatch) => "SignatureDoesNotMatch",
            (_, AuthErrorKind::Unsupported) => "NotImplemented",
        }
    }

    /// The HTTP status that goes with [`Self::code`].
    pub const fn status(&self, dialect: Dialect) -> StatusCode {
        match (dialect, self.kind) {
            (_, AuthErrorKind::Unsupported) => StatusCode::NOT_IMPLEMENTED,
            (Dialect::Json, _) | (Dialect::Query, AuthErrorKind::Incomplete) => StatusCode::BAD_REQUEST,
            (Dialect::Query, _) => StatusCode::FORBIDDEN,
        }
    }
}
