//! AWS's published examples, requests that botocore signed, and properties of sign and verify together.

mod properties;
mod refusals;
mod vectors;

use std::sync::Arc;

use estiva_model::{AccountId, Caller, Principal, Timestamp};
use http::request::Parts;

use super::date::parse_basic;
use super::{
    AuthError, Credential, CredentialSource, Presign, Secret, Signable, SigningCredentials, Verification, Verifier,
    presign, sign_headers,
};

const KEY: &str = "AKIDEXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

/// One key, with or without a session token.
struct OneKey {
    token: Option<String>,
    expires: Option<Timestamp>,
}

impl CredentialSource for OneKey {
    fn find(&self, access_key_id: &str, _: Option<&str>) -> Option<Credential> {
        (access_key_id == KEY).then(|| Credential {
            secret: Secret::new(SECRET),
            session_token: self.token.clone().map(Secret::new),
            account: AccountId::parse("123456789012").unwrap(),
            principal: Principal::Root,
            expires: self.expires,
        })
    }
}

fn verifier(token: Option<&str>) -> Verifier {
    let source = OneKey { token: token.map(str::to_owned), expires: None };
    Verifier::new(Arc::new(source), Verification::Required)
}

fn credentials(token: Option<&str>) -> SigningCredentials {
    SigningCredentials {
        access_key_id: KEY.to_owned(),
        secret: Secret::new(SECRET),
        session_token: token.map(Secret::new),
    }
}

fn at(text: &str) -> Timestamp {
    parse_basic(text).unwrap()
}

fn parts(method: &str, target: &str, headers: &[(String, String)]) -> Parts {
    let mut request = http::Request::builder().method(method).uri(target);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    request.body(()).unwrap().into_parts().0
}

fn verify(verifier: &Verifier, parts: &Parts, body: &[u8], now: Timestamp) -> Result<Caller, AuthError> {
    verifier.begin(parts, now)?.finish(body)
}

/// A request signed with [`KEY`] for service `ecs` in `us-east-1` at `now`.
fn signed(method: &str, target: &str, headers: &[(&str, &str)], body: &[u8], now: Timestamp) -> Parts {
    let headers: Vec<(String, String)> =
        headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let mut parts = parts(method, target, &headers);
    let signable = Signable {
        method: &parts.method.clone(),
        uri: &parts.uri.clone(),
        body,
        region: "us-east-1",
        service: "ecs",
        now,
    };
    sign_headers(&signable, &credentials(None), &mut parts.headers).unwrap();
    parts
}
