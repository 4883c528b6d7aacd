//! Connections: both versions of HTTP, their number, their end.

use std::time::Duration;

use bytes::Bytes;
use estiva_wire::client::{Client, ClientError};
use estiva_wire::server::Limits;
use estiva_wire::sigv4::{Signable, Verification, sign_headers};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::rt::TokioExecutor;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::toy::{Echo, Server, Wait, credentials, say};

#[tokio::test]
async fn http2_is_spoken_to_who_begins_with_it() {
    let server = Server::start().await;
    let pool: Pool<_, Full<Bytes>> = Pool::builder(TokioExecutor::new()).http2_only(true).build_http();
    let uri: http::Uri = format!("http://{}/", server.address).parse().unwrap();
    let mut headers = http::HeaderMap::new();
    headers.insert("host", http::HeaderValue::from_str(&server.address.to_string()).unwrap());
    headers.insert("x-amz-target", http::HeaderValue::from_static("Toy_2026.Echo"));
    let (method, now) = (http::Method::POST, estiva_model::Timestamp::now());
    let signable = Signable { method: &method, uri: &uri, body: b"{}", region: "us-east-1", service: "toy", now };
    sign_headers(&signable, &credentials(), &mut headers).unwrap();
    // HTTP/2 has no Host: the authority stands for it.
    headers.remove("host");
    let mut request = http::Request::post(uri).body(Full::from("{}")).unwrap();
    request.headers_mut().extend(headers);
    let response = pool.request(request).await.unwrap();
    assert_eq!((response.version(), response.status().as_u16()), (http::Version::HTTP_2, 200));
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert!(String::from_utf8_lossy(&body).contains("123456789012"));
}

#[tokio::test]
async fn connections_over_the_limit_wait_for_a_place() {
    let limits = Limits { connections_max: 1, ..Limits::default() };
    let server = Server::with(limits, Verification::Off, |edge| edge).await;
    let request = b"POST / HTTP/1.1\r\nHost: h\r\nX-Amz-Target: Toy_2026.Echo\r\nContent-Length: 2\r\n\r\n{}";
    let mut first = server.connect().await;
    first.write_all(request).await.unwrap();
    first.read_exact(&mut [0]).await.unwrap();
    let mut second = server.connect().await;
    second.write_all(request).await.unwrap();
    let waited = tokio::time::timeout(Duration::from_millis(100), second.read_exact(&mut [0])).await;
    assert!(waited.is_err(), "the first connection has the only place");
    drop(first);
    second.read_exact(&mut [0]).await.unwrap();
}

#[tokio::test]
async fn a_server_that_stops_finishes_what_it_has_begun() {
    let mut server = Server::start().await;
    let client = server.client();
    let call = tokio::spawn(async move { client.call::<Wait>(&say("x")).await });
    server.toy.waiting.notified().await;
    server.tell_to_stop();
    // New connections are refused once the listener is gone.
    while tokio::net::TcpStream::connect(server.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    server.toy.go_on.notify_one();
    call.await.unwrap().unwrap();
    server.stopped().await;
}

#[tokio::test]
async fn a_server_that_stops_does_not_wait_for_ever() {
    let limits = Limits { drain: Duration::from_millis(50), ..Limits::default() };
    let mut server = Server::with(limits, Verification::Required, |edge| edge).await;
    let client = server.client();
    let call = tokio::spawn(async move { client.call::<Wait>(&say("x")).await });
    server.toy.waiting.notified().await;
    server.tell_to_stop();
    server.stopped().await;
    let error = call.await.unwrap().unwrap_err();
    assert!(matches!(error, ClientError::Transport { .. }), "{error}");
    assert!(error.is_retryable());
}

#[tokio::test]
async fn a_client_tells_a_silent_server_from_an_absent_one() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let client = Client::new(&url, credentials(), estiva_model::Region::default()).unwrap();
    let silent = client.clone().with_timeout(Duration::from_millis(50)).call::<Echo>(&say("x")).await.unwrap_err();
    assert!(matches!(silent, ClientError::TimedOut { .. }), "{silent}");
    drop(listener);
    let absent = client.call::<Echo>(&say("x")).await.unwrap_err();
    assert!(matches!(absent, ClientError::Transport { .. }), "{absent}");
}

#[test]
fn an_endpoint_must_be_a_url_of_http() {
    for endpoint in ["", "127.0.0.1:4566", "ftp://h", "http//h"] {
        assert!(Client::new(endpoint, credentials(), estiva_model::Region::default()).is_err(), "{endpoint}");
    }
}

#[tokio::test]
async fn who_has_said_all_still_gets_the_answer() {
    let server = Server::with(Limits::default(), Verification::Off, |edge| edge).await;
    let mut stream = server.connect().await;
    let request = "POST / HTTP/1.1\r\nHost: x\r\nX-Amz-Target: Toy_2026.Wait\r\nContent-Type: application/x-amz-json-1.1\r\n\
        Content-Length: 2\r\n\r\n{}";
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    server.toy.waiting.notified().await;
    server.toy.go_on.notify_one();
    let answer = crate::toy::read_to_end(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}
