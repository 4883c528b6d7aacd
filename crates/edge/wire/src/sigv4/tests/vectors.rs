//! Known answers.

use serde::Deserialize;

use super::*;
use crate::sigv4::AuthErrorKind;

type Headers<'a> = &'a [(&'a str, &'a str)];

/// Requests and signatures of AWS's "aws-sig-v4-test-suite" and of the IAM user guide.
#[test]
fn signs_as_the_published_suite_does() {
    const HOST: (&str, &str) = ("Host", "example.amazonaws.com");
    #[rustfmt::skip]
    let cases: &[(&str, &str, Headers<'_>, &str)] = &[
        ("GET", "/", &[HOST], "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        ("POST", "/", &[HOST], "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
        ("GET", "/?Param2=value2&Param1=value1", &[HOST], "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"),
        ("GET", "/?-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz=-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
         &[HOST], "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197"),
        ("GET", "/", &[HOST, ("My-Header1", " value1"), ("My-Header2", " \"a   b   c\" ")],
         "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736"),
        ("GET", "/example/..", &[HOST], "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
    ];
    for (method, target, headers, expected) in cases {
        assert_eq!(&published(method, target, headers, "service"), expected, "{method} {target} {headers:?}");
    }
    let list_users = published(
        "GET",
        "/?Action=ListUsers&Version=2010-05-08",
        &[("Host", "iam.amazonaws.com"), ("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")],
        "iam",
    );
    assert_eq!(list_users, "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7");
}

fn published(method: &str, target: &str, headers: &[(&str, &str)], service: &str) -> String {
    let headers: Vec<(String, String)> =
        headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let mut parts = parts(method, target, &headers);
    let (method, uri) = (parts.method.clone(), parts.uri.clone());
    let now = at("20150830T123600Z");
    let signable = Signable { method: &method, uri: &uri, body: b"", region: "us-east-1", service, now };
    sign_headers(&signable, &credentials(None), &mut parts.headers).unwrap();
    verify(&verifier(None), &parts, b"", now).unwrap();
    signature_of(&parts)
}

fn signature_of(parts: &Parts) -> String {
    let authorization = parts.headers["authorization"].to_str().unwrap();
    authorization.rsplit_once("Signature=").unwrap().1.to_owned()
}

#[derive(Deserialize)]
struct Vectors {
    now: String,
    cases: Vec<Vector>,
}

#[derive(Deserialize)]
struct Vector {
    name: String,
    service: String,
    token: Option<String>,
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: String,
}

fn botocore() -> Vectors {
    serde_json::from_str(include_str!("../../../tests/vectors/botocore.json")).unwrap()
}

#[test]
fn what_botocore_signs_is_verified() {
    let Vectors { now, cases } = botocore();
    assert!(cases.len() >= 19);
    for case in cases {
        let parts = parts(&case.method, &case.target, &case.headers);
        let verifier = verifier(case.token.as_deref());
        if case.headers.iter().any(|(_, value)| value == "UNSIGNED-PAYLOAD") {
            // No service but S3 takes that, and this one is signed for another.
            let refused = verify(&verifier, &parts, case.body.as_bytes(), at(&now)).unwrap_err();
            assert_eq!(refused.kind, AuthErrorKind::Mismatch, "{}", case.name);
            continue;
        }
        let claim = verifier.begin(&parts, at(&now)).unwrap_or_else(|error| panic!("{}: {error}", case.name));
        assert_eq!(claim.service(), Some(case.service.as_str()), "{}", case.name);
        let caller = claim.finish(case.body.as_bytes()).unwrap_or_else(|error| panic!("{}: {error}", case.name));
        assert_eq!((caller.account.as_str(), caller.access_key_id.as_str()), ("123456789012", KEY));
    }
}

#[test]
fn signs_as_botocore_does() {
    let Vectors { now, cases } = botocore();
    for case in cases {
        let Some((_, expected)) = case.headers.iter().find(|(name, _)| name == "Authorization") else {
            continue;
        };
        if case.headers.iter().any(|(_, value)| value == "UNSIGNED-PAYLOAD") {
            continue;
        }
        let mut parts = parts(&case.method, &case.target, &case.headers);
        let (method, uri) = (parts.method.clone(), parts.uri.clone());
        let (body, service) = (case.body.as_bytes(), case.service.as_str());
        let signable = Signable { method: &method, uri: &uri, body, region: "us-east-1", service, now: at(&now) };
        sign_headers(&signable, &credentials(case.token.as_deref()), &mut parts.headers).unwrap();
        assert_eq!(parts.headers["authorization"], expected.as_str(), "{}", case.name);
    }
}

#[test]
fn presigns_as_botocore_does() {
    let Vectors { now, cases } = botocore();
    let mut seen = 0;
    for case in cases.iter().filter(|case| case.headers.len() == 1) {
        seen += 1;
        let own = case.target.split("&X-Amz-Algorithm=").next().unwrap();
        let (method, uri) = (case.method.parse().unwrap(), own.parse().unwrap());
        let service = case.service.as_str();
        let signable = Signable { method: &method, uri: &uri, body: b"", region: "us-east-1", service, now: at(&now) };
        let how = Presign { host: "127.0.0.1:4566", expires: std::time::Duration::from_secs(3600) };
        let url = presign(&signable, &credentials(case.token.as_deref()), &how).unwrap();
        assert_eq!(url, case.target, "{}", case.name);
    }
    assert_eq!(seen, 3);
}
