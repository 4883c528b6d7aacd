//! Credentials: what a request is signed with, and whose they are.

use std::fmt;

use estiva_model::{AccountId, Principal, Timestamp};
use zeroize::Zeroizing;

/// A secret access key: wiped when dropped, absent from `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes the secret over.
    pub fn new(secret: impl Into<String>) -> Self {
        Self(Zeroizing::new(secret.into()))
    }

    /// The secret itself: for signing, and for handing it to its owner once.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(…)")
    }
}

/// One known access key: the server's side.
#[derive(Debug, Clone)]
pub struct Credential {
    /// The secret half of the key.
    pub secret: Secret,
    /// Temporary credentials have one, and every request must bring it.
    pub session_token: Option<Secret>,
    /// The account that requests signed with this key act in.
    pub account: AccountId,
    /// Who the holder is.
    pub principal: Principal,
    /// From then on requests are refused with `ExpiredToken`.
    pub expires: Option<Timestamp>,
}

/// Where the server finds credentials by their public half. Asked once a request: answer from memory.
pub trait CredentialSource: Send + Sync {
    /// The key with this public half; `session_token` is what came along with the request, which may itself say whose
    /// session it is. `None` when no such key exists or it is no longer active.
    fn find(&self, access_key_id: &str, session_token: Option<&str>) -> Option<Credential>;
}

/// Temporary credentials of a role.
#[derive(Debug, Clone)]
pub struct SessionCredentials {
    /// To sign with.
    pub credentials: SigningCredentials,
    /// From then on they are refused.
    pub expires: Timestamp,
}

/// Who gives out temporary credentials of roles.
pub trait SessionIssuer: Send + Sync {
    /// Credentials of a session of `role_arn` in `account`. `None` if there is no such role, or it is nobody's to have.
    fn issue(&self, account: &AccountId, role_arn: &str, session: &str, now: Timestamp) -> Option<SessionCredentials>;
}

/// What a client signs with.
#[derive(Debug, Clone)]
pub struct SigningCredentials {
    /// The public half.
    pub access_key_id: String,
    /// The secret half.
    pub secret: Secret,
    /// Goes along with temporary credentials as `X-Amz-Security-Token`.
    pub session_token: Option<Secret>,
}
