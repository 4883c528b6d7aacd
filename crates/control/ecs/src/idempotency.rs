//! Client tokens: what callers give so that a repeated call does nothing twice.

use estiva_api_ecs::Error;
use estiva_schema::{Encode, Shaped};
use sha2::{Digest, Sha256};

use crate::error::invalid;

/// The token of a request that has one: an empty token is none.
pub(crate) fn token(token: Option<&String>) -> Option<String> {
    token.filter(|token| !token.is_empty()).cloned()
}

/// Checks a token of 1 to `chars_max` printable ASCII characters.
pub(crate) fn check_token(token: &str, chars_max: usize) -> Result<(), Error> {
    if !(1..=chars_max).contains(&token.len()) || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(invalid(format!("clientToken: must have 1 to {chars_max} printable ASCII characters")));
    }
    Ok(())
}

/// SHA-256 of a request, so that its token cannot stand for another.
pub(crate) fn digest<T: Encode + Shaped>(request: &T) -> String {
    let digest = Sha256::digest(estiva_schema::json::to_vec(request));
    digest.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}
