//! Calls that reach a service, and calls that must not.

use std::sync::Arc;

use async_trait::async_trait;
use estiva_wire::client::ClientError;
use estiva_wire::server::{Handler, Limits, ResponseBody, Throttle, full};
use estiva_wire::sigv4::{Secret, SigningCredentials, Verification};
use http::{Request, Response};
use hyper::body::Incoming;

use crate::toy::{Echo, Forbidden, Panic, Server, credentials, say};

#[tokio::test]
async fn a_signed_call_is_answered_and_tells_who_called() {
    let server = Server::start().await;
    let heard = server.client().call::<Echo>(&say("olá")).await.unwrap();
    assert_eq!(heard.body, r#"{"word":"olá"}"#);
    assert_eq!((heard.arn.as_str(), heard.region.as_str()), ("arn:aws:iam::123456789012:root", "us-east-1"));
    assert_eq!(heard.request_id.len(), 36);
}

#[tokio::test]
async fn a_wrong_secret_or_key_gets_awss_codes() {
    let server = Server::start().await;
    for (key, secret, code) in [
        (crate::toy::KEY, "wrong", "InvalidSignatureException"),
        ("AKIDOTHER", crate::toy::SECRET, "UnrecognizedClientException"),
    ] {
        let wrong =
            SigningCredentials { access_key_id: key.to_owned(), secret: Secret::new(secret), session_token: None };
        let error = server.client_with(&wrong).call::<Echo>(&say("x")).await.unwrap_err();
        assert_eq!(error.code(), Some(code));
        assert!(!error.is_retryable());
        let ClientError::Service { error, .. } = error else { panic!("{error}") };
        assert_eq!((error.status.as_u16(), error.request_id.map(|id| id.len())), (400, Some(36)));
    }
    assert_eq!(server.calls(), 0);
}

#[tokio::test]
async fn what_the_authorizer_denies_does_not_reach_the_service() {
    let server = Server::start().await;
    let error = server.client().call::<Forbidden>(&say("x")).await.unwrap_err();
    assert_eq!(error.code(), Some("AccessDeniedException"));
    assert!(error.to_string().contains("is not authorized to perform: toy:Forbidden"), "{error}");
    assert_eq!(server.calls(), 0);
}

#[tokio::test]
async fn a_panic_costs_one_request() {
    let server = Server::start().await;
    let client = server.client();
    let error = client.call::<Panic>(&say("x")).await.unwrap_err();
    assert_eq!(error.code(), Some("InternalFailure"));
    assert!(error.is_retryable());
    assert!(!error.to_string().contains("told to panic"), "the reason stays inside");
    client.call::<Echo>(&say("x")).await.unwrap();
}

/// A request that the server answers and then closes the connection.
fn raw(method: &str, target: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "{method} {target} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
    )
}

#[tokio::test]
async fn refusals_speak_the_clients_protocol() {
    let server = Server::start().await;
    let json = "Content-Type: application/x-amz-json-1.1\r\n";
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    let target = |name: &str| format!("{json}X-Amz-Target: {name}\r\n");
    let scoped = "Authorization: AWS4-HMAC-SHA256 Credential=A/20260101/us-east-1/elsewhere/aws4_request, \
                  SignedHeaders=host, Signature=0\r\nX-Amz-Date: 20260101T000000Z\r\n";
    for (request, status, expected) in [
        (raw("POST", "/", &target("Toy_2026.Echo"), "{}"), 400, r#""__type":"MissingAuthenticationTokenException""#),
        (raw("POST", "/", &target("Toy_2026.Sing"), "{}"), 400, r#""__type":"UnknownOperationException""#),
        (raw("POST", "/", &target("Nonsense"), "{}"), 400, r#""__type":"UnknownOperationException""#),
        (raw("POST", "/", &target("Other_2020.Sing"), "{}"), 501, "Estiva has no service 'Other_2020'."),
        (raw("POST", "/", form, "Action=Echo&Version=2026-01-01"), 403, "<Code>MissingAuthenticationToken</Code>"),
        (raw("POST", "/", &format!("{form}{scoped}"), "Action=Echo"), 403, "<Code>SignatureDoesNotMatch</Code>"),
        (raw("GET", "/clusters", scoped, ""), 400, r#""__type":"InvalidSignatureException""#),
        (raw("GET", "/nowhere", "", ""), 403, "<Code>MissingAuthenticationToken</Code>"),
    ] {
        let answer = server.exchange(request.as_bytes()).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request}\n\n{answer}");
        assert!(answer.contains(expected), "{request}\n\n{answer}");
        assert!(answer.contains("x-amzn-requestid: ") && answer.contains("date: "), "{answer}");
        let content_type =
            if expected.starts_with('<') { "content-type: text/xml" } else { "application/x-amz-json-1.1" };
        assert!(answer.contains(content_type), "{answer}");
    }
    assert_eq!(server.calls(), 0);
}

#[tokio::test]
async fn forms_are_routed_by_action_and_version() {
    let server = Server::with(Limits::default(), Verification::Off, |edge| edge).await;
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    for (request, expected) in [
        (
            raw("POST", "/", form, "Action=Echo&Version=2026-01-01&A=b"),
            r#""body":"Action=Echo&Version=2026-01-01&A=b""#,
        ),
        (raw("GET", "/?Action=Echo&Version=2026-01-01", "", ""), r#""body":"Action=Echo&Version=2026-01-01""#),
        (
            raw("POST", "/", form, "Action=Sing&Version=2026-01-01"),
            "Could not find operation Sing for version 2026-01-01",
        ),
        (
            raw("POST", "/", form, "Action=Echo&Version=1999-01-01"),
            "Could not find operation Echo for version 1999-01-01",
        ),
        (raw("POST", "/", form, ""), "<Code>MissingAction</Code>"),
        (
            raw("POST", "/", form, "Action=Echo").replace("Host: h", "Host: iam.us-east-1.amazonaws.com"),
            "Estiva has no service 'iam'.",
        ),
    ] {
        let answer = server.exchange(request.as_bytes()).await;
        assert!(answer.contains(expected), "{request}\n\n{answer}");
    }
}

#[tokio::test]
async fn a_signature_for_one_service_is_no_good_for_another() {
    use estiva_wire::sigv4::{Signable, sign_headers};
    let server = Server::start().await;
    let mut headers = http::HeaderMap::new();
    headers.insert("host", http::HeaderValue::from_static("h"));
    headers.insert("x-amz-target", http::HeaderValue::from_static("Toy_2026.Echo"));
    let (method, uri) = (http::Method::POST, http::Uri::from_static("/"));
    let now = estiva_model::Timestamp::now();
    let signable = Signable { method: &method, uri: &uri, body: b"{}", region: "us-east-1", service: "toyform", now };
    sign_headers(&signable, &credentials(), &mut headers).unwrap();
    headers.remove("host");
    let lines: Vec<String> =
        headers.iter().map(|(name, value)| format!("{name}: {}\r\n", value.to_str().unwrap())).collect();
    let headers = lines.concat();
    let answer = server.exchange(raw("POST", "/", &headers, "{}").as_bytes()).await;
    assert!(answer.contains("Credential should be scoped to correct service: 'toy'."), "{answer}");
    assert_eq!(server.calls(), 0);
}

#[tokio::test]
async fn with_verification_off_anyone_is_let_in() {
    let server = Server::with(Limits::default(), Verification::Off, |edge| edge).await;
    let request = raw("POST", "/", "X-Amz-Target: Toy_2026.Echo\r\n", "{}");
    let answer = server.exchange(request.as_bytes()).await;
    assert!(answer.contains("arn:aws:iam::000000000000:root"), "{answer}");
}

struct Health;

#[async_trait]
impl Handler for Health {
    async fn handle(&self, request: Request<Incoming>) -> Response<ResponseBody> {
        Response::new(full(format!("healthy at {}", request.uri().path())))
    }
}

#[tokio::test]
async fn plain_paths_are_served_beside_the_apis() {
    let health: Arc<dyn Handler> = Arc::new(Health);
    let server = Server::with(Limits::default(), Verification::Required, |edge| {
        edge.handler("/", health.clone()).handler("/_estiva/*", health)
    })
    .await;
    for path in ["/", "/_estiva/health"] {
        let answer = server.exchange(raw("GET", path, "", "").as_bytes()).await;
        assert!(answer.ends_with(&format!("healthy at {path}")), "{answer}");
    }
    for (method, target) in [("POST", "/"), ("GET", "/?Action=Echo"), ("GET", "/_estiv")] {
        let answer = server.exchange(raw(method, target, "", "").as_bytes()).await;
        assert!(answer.contains("MissingAuthenticationToken"), "{method} {target}: {answer}");
    }
    server.client().call::<Echo>(&say("x")).await.unwrap();
}

#[test]
fn only_what_may_pass_is_retryable() {
    let service = |code: &str, status: u16| ClientError::Service {
        operation: "Echo",
        error: estiva_wire::client::ServiceError {
            code: code.to_owned(),
            message: String::new(),
            status: http::StatusCode::from_u16(status).unwrap(),
            request_id: None,
        },
    };
    for (code, status, retryable) in [
        ("ServerException", 500, true),
        ("ThrottlingException", 400, true),
        ("NotImplemented", 501, false),
        ("InvalidParameterException", 400, false),
    ] {
        assert_eq!(service(code, status).is_retryable(), retryable, "{code}");
    }
}

#[tokio::test]
async fn calls_beyond_the_rate_are_throttled() {
    let bucket_of = |action: &str| {
        (action == "toy:Echo").then_some(estiva_schema::Bucket { name: "echo", burst: 2, per_second: 0 })
    };
    let throttled = |edge: estiva_wire::server::Edge| edge.throttled(Throttle::new(bucket_of));
    let server = Server::with(Limits::default(), Verification::Required, throttled).await;
    let client = server.client();
    for _ in 0..2 {
        client.call::<Echo>(&say("x")).await.unwrap();
    }
    let error = client.call::<Echo>(&say("x")).await.unwrap_err();
    assert_eq!(error.code(), Some("ThrottlingException"));
    assert!(error.is_retryable());
    assert_eq!(server.calls(), 2);
}

#[tokio::test]
async fn a_page_of_an_allowed_origin_may_call_and_others_may_not() {
    let allowed = |edge: estiva_wire::server::Edge| edge.allow_origins(vec!["http://localhost:3000".to_owned()]);
    let server = Server::with(Limits::default(), Verification::Required, allowed).await;
    let ask = async |origin: &str| {
        let request = format!(
            "OPTIONS / HTTP/1.1\r\nHost: x\r\nOrigin: {origin}\r\nAccess-Control-Request-Method: POST\r\n\
            Access-Control-Request-Headers: authorization,x-amz-target\r\nConnection: close\r\n\r\n"
        );
        server.exchange(request.as_bytes()).await.to_lowercase()
    };
    let answer = ask("http://localhost:3000").await;
    assert!(answer.starts_with("http/1.1 204"), "{answer}");
    assert!(answer.contains("access-control-allow-origin: http://localhost:3000\r\n"), "{answer}");
    assert!(answer.contains("access-control-allow-headers: authorization,x-amz-target\r\n"), "{answer}");
    for stranger in ["http://localhost:3001", "http://evil.example", "null"] {
        let answer = ask(stranger).await;
        assert!(!answer.contains("access-control-allow-origin"), "{answer}");
    }
    let refused =
        "POST / HTTP/1.1\r\nHost: x\r\nOrigin: http://localhost:3000\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let answer = server.exchange(refused.as_bytes()).await.to_lowercase();
    assert!(answer.starts_with("http/1.1 4"), "an allowed origin is no signature: {answer}");
    assert!(answer.contains("access-control-allow-origin: http://localhost:3000\r\n"), "{answer}");
    assert_eq!(server.calls(), 0);
}
