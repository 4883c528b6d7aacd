//! SigV4: whatever the request, what our signer signs our verifier takes; and no head makes the verifier panic.

#![no_main]

use std::sync::{Arc, LazyLock};

use estiva_model::{AccountId, Principal, Timestamp};
use estiva_wire::sigv4::{
    Credential, CredentialSource, Secret, Signable, SigningCredentials, Verification, Verifier, sign_headers,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};
use libfuzzer_sys::fuzz_target;

const KEY: &str = "AKIDEXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const NOW: Timestamp = Timestamp(1_795_000_000_000);

static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| Verifier::new(Arc::new(Keys), Verification::Required));

struct Keys;

impl CredentialSource for Keys {
    fn find(&self, access_key_id: &str, _: Option<&str>) -> Option<Credential> {
        (access_key_id == KEY).then(|| Credential {
            secret: Secret::new(SECRET),
            session_token: None,
            account: AccountId::default(),
            principal: Principal::Root,
            expires: None,
        })
    }
}

/// The parts of a request, separated by lines: path and query, headers, an empty line, the body.
fn read(bytes: &[u8]) -> Option<(Uri, HeaderMap, &[u8])> {
    let end = bytes.windows(2).position(|pair| pair == b"\n\n").unwrap_or(bytes.len());
    let (head, body) = bytes.split_at(end);
    let mut lines = head.split(|byte| *byte == b'\n');
    let uri = Uri::try_from(lines.next()?).ok()?;
    let mut headers = HeaderMap::new();
    for line in lines.take(32) {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        headers.append(name, HeaderValue::from_bytes(&line[colon + 1..]).ok()?);
    }
    Some((uri, headers, body))
}

fn verify(uri: &Uri, headers: &HeaderMap, body: &[u8]) -> bool {
    let mut request = Request::builder().method(Method::POST).uri(uri.clone()).body(()).expect("the URI was read");
    *request.headers_mut() = headers.clone();
    let (parts, ()) = request.into_parts();
    VERIFIER.begin(&parts, NOW).and_then(|claim| claim.finish(body)).is_ok()
}

fuzz_target!(|bytes: &[u8]| {
    let Some((uri, mut headers, body)) = read(bytes) else { return };
    verify(&uri, &headers, body);
    for name in ["authorization", "host", "x-amz-date", "date", "x-amz-content-sha256", "x-amz-security-token"] {
        headers.remove(name);
    }
    headers.insert("host", HeaderValue::from_static("127.0.0.1:4566"));
    let signable = Signable { method: &Method::POST, uri: &uri, body, region: "us-east-1", service: "ecs", now: NOW };
    let credentials =
        SigningCredentials { access_key_id: KEY.to_owned(), secret: Secret::new(SECRET), session_token: None };
    // A query that is a presigned one already is another form of request.
    let is_presigned = uri.query().is_some_and(|query| query.to_ascii_lowercase().contains("x-amz-"));
    if !is_presigned && sign_headers(&signable, &credentials, &mut headers).is_ok() {
        assert!(verify(&uri, &headers, body), "our own signature is refused");
    }
});
