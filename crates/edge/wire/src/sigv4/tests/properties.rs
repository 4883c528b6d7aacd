//! Sign, then verify, holds; and nothing that changes what was sent does.

use http::{HeaderValue, Method, Uri};
use proptest::prelude::*;

use super::*;

const NOW: Timestamp = Timestamp(1_772_280_000_000);

fn segment() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9._~%20+:@!$'()*,;=-]{1,8}".prop_map(|text| text.replace('%', "%25"))
}

fn target() -> impl Strategy<Value = String> {
    let path = proptest::collection::vec(segment(), 0..4).prop_map(|segments| format!("/{}", segments.join("/")));
    let pair = ("[a-zA-Z0-9._~-]{1,5}", "[a-zA-Z0-9._~+/:-]{0,6}").prop_map(|(name, value)| format!("{name}={value}"));
    let query = proptest::collection::vec(pair, 0..4).prop_map(|pairs| pairs.join("&"));
    (path, query).prop_map(|(path, query)| if query.is_empty() { path } else { format!("{path}?{query}") })
}

fn header_value() -> impl Strategy<Value = String> {
    "[ -~]{0,12}"
}

proptest! {
    #[test]
    fn what_is_signed_verifies(
        method in "(GET|POST|PUT|DELETE)", target in target(), note in header_value(), body in any::<Vec<u8>>()
    ) {
        let parts = signed(&method, &target, &[("Host", "h:1"), ("X-Amz-Note", &note)], &body, NOW);
        prop_assert!(verify(&verifier(None), &parts, &body, NOW).is_ok());
    }

    #[test]
    fn another_method_fails(target in target(), index in 0_usize..3) {
        let mut parts = signed("POST", &target, &[("Host", "h:1")], b"", NOW);
        parts.method = [Method::GET, Method::PUT, Method::DELETE][index].clone();
        prop_assert!(verify(&verifier(None), &parts, b"", NOW).is_err());
    }

    #[test]
    fn another_path_or_query_fails(target in target(), extra in "[a-z]{1,4}", to_query in any::<bool>()) {
        let mut parts = signed("POST", &target, &[("Host", "h:1")], b"", NOW);
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let changed = if to_query { format!("{path}?{query}&{extra}=1") } else { format!("{path}/{extra}?{query}") };
        parts.uri = changed.parse::<Uri>().unwrap();
        prop_assert!(verify(&verifier(None), &parts, b"", NOW).is_err());
    }

    #[test]
    fn another_header_fails(value in "[a-z]{1,8}", other in "[a-z]{0,8}") {
        prop_assume!(value != other);
        for name in ["host", "x-amz-target", "content-type", "x-amz-date"] {
            let headers = [("Host", value.as_str()), ("X-Amz-Target", &value), ("Content-Type", &value)];
            let mut parts = signed("POST", "/", &headers, b"", NOW);
            parts.headers.insert(name, HeaderValue::from_str(&other).unwrap());
            prop_assert!(verify(&verifier(None), &parts, b"", NOW).is_err());
            parts.headers.remove(name);
            prop_assert!(verify(&verifier(None), &parts, b"", NOW).is_err());
        }
    }

    #[test]
    fn any_flipped_bit_of_the_body_fails(mut body in proptest::collection::vec(any::<u8>(), 1..64), at in any::<usize>(), bit in 0..8) {
        let parts = signed("POST", "/", &[("Host", "h:1")], &body, NOW);
        let at = at % body.len();
        body[at] ^= 1_u8 << bit;
        prop_assert!(verify(&verifier(None), &parts, &body, NOW).is_err());
    }

    #[test]
    fn any_changed_byte_of_the_authorization_fails(at in any::<usize>(), to in "[a-zA-Z0-9/]") {
        let mut parts = signed("POST", "/", &[("Host", "h:1")], b"", NOW);
        let mut value = parts.headers["authorization"].as_bytes().to_vec();
        let at = at % value.len();
        prop_assume!(value[at] != to.as_bytes()[0]);
        // Upper-case names of signed headers mean the same headers, and are the one change that changes nothing.
        prop_assume!(!value[at].eq_ignore_ascii_case(&to.as_bytes()[0]));
        value[at] = to.as_bytes()[0];
        parts.headers.insert("authorization", HeaderValue::from_bytes(&value).unwrap());
        prop_assert!(verify(&verifier(None), &parts, b"", NOW).is_err());
    }

    #[test]
    fn arbitrary_input_never_panics(
        target in "[ -~]{0,80}", authorization in any::<Vec<u8>>(), date in "[ -~]{0,20}", hash in "[ -~]{0,70}"
    ) {
        let Ok(uri) = target.parse::<Uri>() else { return Ok(()) };
        let mut parts = http::Request::new(()).into_parts().0;
        parts.uri = uri;
        for (name, value) in [
            ("authorization", authorization.as_slice()),
            ("x-amz-date", date.as_bytes()),
            ("x-amz-content-sha256", hash.as_bytes()),
        ] {
            if let Ok(value) = HeaderValue::from_bytes(value) {
                parts.headers.insert(name, value);
            }
        }
        prop_assert!(verify(&verifier(None), &parts, b"", NOW).is_err());
    }

    #[test]
    fn arbitrary_queries_never_panic(
        credential in "[ -~]{0,40}", date in "[ -~]{0,17}", expires in "[0-9-]{0,22}", signature in "[a-z0-9%]{0,64}"
    ) {
        let encode = crate::sigv4::encode::component;
        let query = format!(
            "/?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={}&X-Amz-Date={}&X-Amz-Expires={}&X-Amz-SignedHeaders=host&X-Amz-Signature={signature}",
            encode(&credential), encode(&date), encode(&expires)
        );
        let Ok(uri) = query.parse::<Uri>() else { return Ok(()) };
        let mut parts = http::Request::new(()).into_parts().0;
        parts.uri = uri;
        prop_assert!(verify(&verifier(None), &parts, b"", NOW).is_err());
    }
}
