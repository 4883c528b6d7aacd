//! What is refused, and in which words.

use super::*;
use crate::sigv4::canonical::{CanonicalParts, ScopeParts, canonical_request, string_to_sign};
use crate::sigv4::key::SigningKey;
use crate::sigv4::{AuthErrorKind, Dialect};
use http::HeaderValue;

const NOW: &str = "20260228T120000Z";

fn good() -> Parts {
    let headers = [("Host", "127.0.0.1:4566"), ("X-Amz-Target", "T.ListClusters")];
    signed("POST", "/", &headers, b"{}", at(NOW))
}

fn refused(parts: &Parts, now: &str) -> AuthError {
    verify(&verifier(None), parts, b"{}", at(now)).unwrap_err()
}

#[test]
fn no_signature_at_all() {
    let error = refused(&parts("POST", "/", &[]), NOW);
    assert_eq!(error.code(Dialect::Json), "MissingAuthenticationTokenException");
    assert_eq!(
        (error.code(Dialect::Query), error.status(Dialect::Query).as_u16()),
        ("MissingAuthenticationToken", 403)
    );
    assert_eq!(error.message, "Request is missing Authentication Token");
}

#[test]
fn half_a_signature() {
    for (value, message) in [
        (
            "Bearer abc",
            "Authorization header requires 'Credential' parameter. Authorization header requires 'Signature' parameter. \
             Authorization header requires 'SignedHeaders' parameter.",
        ),
        (
            "AWS4-HMAC-SHA256 Credential=A/20260228/r/s/aws4_request, SignedHeaders=host",
            "Authorization header requires 'Signature' parameter.",
        ),
        ("AWS4-ECDSA-P256-SHA256 Credential=A", "Unsupported AWS 'algorithm': 'AWS4-ECDSA-P256-SHA256'."),
        (
            "AWS4-HMAC-SHA256 Credential=A/s/aws4_request, SignedHeaders=host, Signature=0",
            "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got \
             'A/s/aws4_request'",
        ),
        (
            "AWS4-HMAC-SHA256 Authorization",
            "'Authorization' not a valid key=value pair (missing equal-sign) in Authorization header.",
        ),
    ] {
        let mut parts = good();
        parts.headers.insert("authorization", HeaderValue::from_static(value));
        let error = refused(&parts, NOW);
        assert_eq!((error.kind, error.message.as_str()), (AuthErrorKind::Incomplete, message), "{value}");
        assert_eq!(
            (error.code(Dialect::Json), error.status(Dialect::Json).as_u16()),
            ("IncompleteSignatureException", 400)
        );
    }
}

#[test]
fn a_request_without_a_date() {
    let mut parts = good();
    parts.headers.remove("x-amz-date");
    assert!(refused(&parts, NOW).message.ends_with("existence of either a 'X-Amz-Date' or a 'Date' header."));
}

#[test]
fn an_unknown_key() {
    let mut parts = good();
    let value = parts.headers["authorization"].to_str().unwrap().replace(KEY, "AKIDOTHER");
    parts.headers.insert("authorization", HeaderValue::from_str(&value).unwrap());
    let error = refused(&parts, NOW);
    assert_eq!(error.code(Dialect::Json), "UnrecognizedClientException");
    assert_eq!((error.code(Dialect::Query), error.status(Dialect::Query).as_u16()), ("InvalidClientTokenId", 403));
    assert_eq!(error.message, "The security token included in the request is invalid.");
}

#[test]
fn a_wrong_signature_is_explained() {
    let mut parts = good();
    parts.headers.insert("x-amz-target", HeaderValue::from_static("T.DeleteCluster"));
    let error = refused(&parts, NOW);
    assert_eq!(error.code(Dialect::Json), "InvalidSignatureException");
    assert_eq!((error.code(Dialect::Query), error.status(Dialect::Query).as_u16()), ("SignatureDoesNotMatch", 403));
    let canonical = "'POST\n/\n\nhost:127.0.0.1:4566\nx-amz-date:20260228T120000Z\nx-amz-target:T.DeleteCluster\n\n";
    assert!(error.message.contains(canonical), "{}", error.message);
    assert!(error.message.contains("'AWS4-HMAC-SHA256\n20260228T120000Z\n20260228/us-east-1/ecs/aws4_request\n"));
    assert!(!format!("{error:?}").contains("DeleteCluster"), "what was sent stays out of logs");
}

#[test]
fn time_is_good_for_five_minutes_either_way() {
    let verifier = verifier(None);
    for now in ["20260228T115500Z", "20260228T120500Z"] {
        verify(&verifier, &good(), b"{}", at(now)).unwrap();
    }
    let late = refused(&good(), "20260228T120501Z");
    assert_eq!(
        late.message,
        "Signature expired: 20260228T120000Z is now earlier than 20260228T120001Z (20260228T120501Z - 5 min.)"
    );
    let early = refused(&good(), "20260228T115459Z");
    assert_eq!(
        early.message,
        "Signature not yet current: 20260228T120000Z is still later than 20260228T115959Z (20260228T115459Z + 5 min.)"
    );
    assert_eq!((late.kind, early.kind), (AuthErrorKind::Mismatch, AuthErrorKind::Mismatch));
}

#[test]
fn host_and_every_amz_header_must_be_signed() {
    let mut parts = good();
    parts.headers.insert("x-amz-extra", HeaderValue::from_static("1"));
    assert_eq!(refused(&parts, NOW).message, "'x-amz-extra' must be a 'SignedHeader' in the AWS Authorization.");
    let without_host = signed("POST", "/", &[], b"{}", at(NOW));
    let message = "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.";
    assert_eq!(refused(&without_host, NOW).message, message);
}

#[test]
fn the_date_of_the_scope_must_be_that_of_the_request() {
    let mut parts = good();
    let value = parts.headers["authorization"].to_str().unwrap().replace("/20260228/", "/20260227/");
    parts.headers.insert("authorization", HeaderValue::from_str(&value).unwrap());
    assert!(refused(&parts, NOW).message.starts_with("Date in Credential scope does not match YYYYMMDD"));
}

#[test]
fn a_session_token_must_be_the_keys_own() {
    let sent = |token: Option<&str>| {
        let mut parts = parts("POST", "/", &[("Host".to_owned(), "h".to_owned())]);
        let (method, uri) = (parts.method.clone(), parts.uri.clone());
        let signable =
            Signable { method: &method, uri: &uri, body: b"{}", region: "us-east-1", service: "ecs", now: at(NOW) };
        sign_headers(&signable, &credentials(token), &mut parts.headers).unwrap();
        parts
    };
    for (known, given, accepted) in [
        (None, None, true),
        (Some("t"), Some("t"), true),
        (Some("t"), Some("u"), false),
        (Some("t"), None, false),
        (None, Some("t"), false),
    ] {
        let outcome = verify(&verifier(known), &sent(given), b"{}", at(NOW));
        assert_eq!(outcome.is_ok(), accepted, "{known:?} {given:?}");
        if let Err(error) = outcome {
            assert_eq!(error.kind, AuthErrorKind::Unrecognized);
        }
    }
}

#[test]
fn expired_credentials() {
    let source = OneKey { token: None, expires: Some(at(NOW)) };
    let verifier = Verifier::new(Arc::new(source), Verification::Required);
    let error = verify(&verifier, &good(), b"{}", at(NOW)).unwrap_err();
    assert_eq!((error.code(Dialect::Json), error.code(Dialect::Query)), ("ExpiredTokenException", "ExpiredToken"));
}

#[test]
fn the_declared_payload_hash_must_be_the_bodys() {
    let hash = crate::sigv4::canonical::sha256_hex(b"{}");
    for (declared, body, kind) in [
        (hash.as_str(), "{}", None),
        (hash.as_str(), "{ }", Some(AuthErrorKind::Mismatch)),
        ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "{}", Some(AuthErrorKind::Unsupported)),
        ("nonsense", "{}", Some(AuthErrorKind::Incomplete)),
    ] {
        // Signed over the same body; a declared hash takes the place of the body's own in what is signed.
        let parts = signed("POST", "/", &[("Host", "h"), ("x-amz-content-sha256", declared)], b"{}", at(NOW));
        let outcome = verify(&verifier(None), &parts, body.as_bytes(), at(NOW));
        assert_eq!(outcome.err().map(|error| error.kind), kind, "{declared} {body}");
    }
}

/// Signed with `payload` in the place of the payload's hash, by header or presigned.
fn signed_over(service: &str, payload: &str, presigned: bool) -> Parts {
    let scope = ScopeParts { date: &NOW[..8], region: "us-east-1", service };
    let credential = format!("{KEY}/{}/us-east-1/{service}/aws4_request", &NOW[..8]);
    let mut parts = parts("POST", "/", &[("Host".to_owned(), "h".to_owned())]);
    let mut signed_headers = vec!["host"];
    if presigned {
        let query = format!(
            "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={}&X-Amz-Date={NOW}&X-Amz-Expires=60&X-Amz-SignedHeaders=host",
            credential.replace('/', "%2F")
        );
        parts.uri = format!("/?{query}").parse().unwrap();
    } else {
        parts.headers.insert("x-amz-date", HeaderValue::from_static(NOW));
        parts.headers.insert("x-amz-content-sha256", HeaderValue::from_str(payload).unwrap());
        signed_headers.extend(["x-amz-content-sha256", "x-amz-date"]);
    }
    let covered = CanonicalParts {
        method: &parts.method,
        uri: &parts.uri,
        headers: &parts.headers,
        signed_headers: &signed_headers,
        service,
    };
    let to_sign = string_to_sign(scope, NOW, &canonical_request(&covered, payload));
    let signature = SigningKey::derive(&Secret::new(SECRET), scope).sign(&to_sign);
    if presigned {
        parts.uri = format!("{}&X-Amz-Signature={signature}", parts.uri).parse().unwrap();
    } else {
        let names = signed_headers.join(";");
        let value = format!("AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, Signature={signature}");
        parts.headers.insert("authorization", HeaderValue::try_from(value).unwrap());
    }
    parts
}

#[test]
fn a_payload_may_be_left_unsigned_for_s3_alone() {
    for (service, accepted) in [
        ("s3", true),
        ("s3express", true),
        ("ecs", false),
        ("estiva", false),
        ("logs", false),
        ("sts", false),
        ("secretsmanager", false),
        ("S3", false),
        ("s3-", false),
    ] {
        for presigned in [false, true] {
            for body in ["", "{}", r#"{"cluster":"default"}"#] {
                let parts = signed_over(service, "UNSIGNED-PAYLOAD", presigned);
                let outcome = verify(&verifier(None), &parts, body.as_bytes(), at(NOW));
                let kind = outcome.err().map(|error| error.kind);
                assert_eq!(kind, (!accepted).then_some(AuthErrorKind::Mismatch), "{service} {presigned} {body:?}");
            }
        }
    }
}

#[test]
fn an_unsigned_payload_by_another_spelling_is_refused() {
    for service in ["s3", "ecs"] {
        for payload in ["unsigned-payload", "UNSIGNED-PAYLOAD-TRAILER", "STREAMING-UNSIGNED-PAYLOAD-TRAILER", ""] {
            let parts = signed_over(service, payload, false);
            assert!(verify(&verifier(None), &parts, b"{}", at(NOW)).is_err(), "{service} {payload}");
        }
    }
    // Two such headers are not two chances.
    let mut parts = signed_over("ecs", &crate::sigv4::canonical::sha256_hex(b"{}"), false);
    parts.headers.append("x-amz-content-sha256", HeaderValue::from_static("UNSIGNED-PAYLOAD"));
    assert!(verify(&verifier(None), &parts, b"{}", at(NOW)).is_err());
}

#[test]
fn a_presigned_url_lives_as_long_as_it_says() {
    let uri = "/?Action=GetCallerIdentity".parse().unwrap();
    let presigned = |seconds| {
        let signable = Signable {
            method: &http::Method::GET,
            uri: &uri,
            body: b"",
            region: "us-east-1",
            service: "sts",
            now: at(NOW),
        };
        let how = Presign { host: "h", expires: std::time::Duration::from_secs(seconds) };
        let target = presign(&signable, &credentials(None), &how).unwrap();
        parts("GET", &target, &[("Host".to_owned(), "h".to_owned())])
    };
    let verifier = verifier(None);
    verify(&verifier, &presigned(60), b"", at("20260228T120100Z")).unwrap();
    assert!(verify(&verifier, &presigned(60), b"", at("20260228T120101Z")).is_err());
    verify(&verifier, &presigned(604_800), b"", at("20260307T120000Z")).unwrap();
    let error = verify(&verifier, &presigned(604_801), b"", at(NOW)).unwrap_err();
    assert!(error.message.starts_with("X-Amz-Expires must be less than a week"));
}

#[test]
fn with_verification_off_anyone_is_let_in_and_known_keys_keep_their_name() {
    let verifier = Verifier::new(Arc::new(OneKey { token: None, expires: None }), Verification::Off);
    let anonymous = verify(&verifier, &parts("POST", "/", &[]), b"", at(NOW)).unwrap();
    assert_eq!((anonymous.account.as_str(), anonymous.region.as_str()), ("000000000000", "us-east-1"));
    assert_eq!(anonymous.principal, Principal::Root);
    let mut known = good();
    known.headers.insert("x-amz-target", HeaderValue::from_static("T.Other"));
    let known = verify(&verifier, &known, b"tampered", at("19990101T000000Z")).unwrap();
    assert_eq!(known.account.as_str(), "123456789012");
}

#[test]
fn secrets_stay_out_of_debug_output() {
    let credential = OneKey { token: Some("session-secret".to_owned()), expires: None }.find(KEY, None).unwrap();
    let shown = format!("{credential:?} {:?}", credentials(Some("session-secret")));
    assert!(!shown.contains(SECRET) && !shown.contains("session-secret"), "{shown}");
}
