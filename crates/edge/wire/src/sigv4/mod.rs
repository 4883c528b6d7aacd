//! AWS Signature Version 4: who sent this request, and did anyone change it on the way?
//!
//! One canonicalisation ([`canonical`]) serves both ends: the server verifies with it ([`Verifier`]), the node agent signs
//! with it ([`sign_headers`], [`presign`]). Time is an argument everywhere and nothing here does I/O, so every rule can be
//! tested with fixed dates. Secrets never appear in `Debug` output and are wiped when dropped.

mod authorization;
mod canonical;
mod credential;
mod date;
mod encode;
mod error;
mod key;
mod sign;
mod verify;

#[cfg(test)]
mod tests;

pub use authorization::Scope;
pub use credential::{Credential, CredentialSource, Secret, SessionCredentials, SessionIssuer, SigningCredentials};
pub(crate) use date::parse_http as parse_http_date;
pub(crate) use encode::decode_query;
pub use error::{AuthError, AuthErrorKind, Dialect};
pub use sign::{Presign, Signable, presign, sign_headers};
pub use verify::{Claim, Verification, Verifier};

/// The only algorithm that is spoken: HMAC-SHA256 (SigV4a's ECDSA is not).
pub const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// The last element of a credential scope.
const TERMINATOR: &str = "aws4_request";
/// Stands for the payload's hash where the payload is not signed.
pub const UNSIGNED_PAYLOAD: &str = "UNSIGNED-PAYLOAD";
/// Names the payload's hash, or [`UNSIGNED_PAYLOAD`], or a streaming form.
const CONTENT_SHA256: &str = "x-amz-content-sha256";
const SECURITY_TOKEN: &str = "x-amz-security-token";
const AMZ_DATE: &str = "x-amz-date";
