//! Pools that many share: what one takes of them leaves enough for the others.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use estiva_wire::client::ClientError;
use estiva_wire::server::{Limits, Refusal, Shares, TokenUpgradeHandler, UpgradedIo};
use estiva_wire::sigv4::Verification;
use http::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::toy::{Echo, Server, Wait, read_to_end, say};

const HEAD: &str = "POST / HTTP/1.1\r\nHost: h\r\nX-Amz-Target: Toy_2026.Echo\r\n";
const SHARES: Shares = Shares { source: 4, unproven: 8, holder: 3 };

fn small() -> Limits {
    Limits { shares: SHARES, ..Limits::default() }
}

#[tokio::test]
async fn an_owner_gets_in_while_strangers_from_the_same_address_hold_every_place() {
    let server = Server::with(small(), Verification::Required, |edge| edge).await;
    let kept = server.client();
    kept.call::<Echo>(&say("first")).await.unwrap();
    for beginning in ["", "P", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", HEAD, "GET /v1 HTTP/1.1\r\nHost: h\r\n\r\n"] {
        let mut strangers = Vec::new();
        for _ in 0..3 * SHARES.unproven {
            let mut stream = server.connect().await;
            stream.write_all(beginning.as_bytes()).await.unwrap();
            strangers.push(stream);
        }
        server.client().call::<Echo>(&say("a new connection")).await.unwrap();
        kept.call::<Echo>(&say("one that is kept alive")).await.unwrap();
        // It ends; nothing is said of how.
        read_to_end(&mut strangers[0]).await;
    }
}

#[tokio::test]
async fn an_address_gives_up_its_own_oldest_connection() {
    let server = Server::with(small(), Verification::Required, |edge| edge).await;
    let from = |address: [u8; 4]| async move {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind((IpAddr::from(address), 0).into()).unwrap();
        socket.connect(server.address).await.unwrap()
    };
    let from = &from;
    let mut other = from([127, 0, 0, 2]).await;
    let mut flood = Vec::new();
    for _ in 0..50 {
        flood.push(from([127, 0, 0, 3]).await);
    }
    for stream in &mut flood[..50 - SHARES.source] {
        assert_eq!(read_to_end(stream).await, "");
    }
    other.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    other.read_exact(&mut [0]).await.expect("it is answered");
}

#[tokio::test]
async fn a_caller_has_so_many_connections_and_calls_and_the_others_wait_in_line() {
    let limits = Limits { calls_share_max: 2, calls_wait: Duration::from_millis(50), ..small() };
    let server = Server::with(limits, Verification::Required, |edge| edge.trusting(|_| false)).await;
    let calls: Vec<_> = (0..2).map(|_| server.client()).collect();
    let waiting: Vec<_> =
        calls.into_iter().map(|client| tokio::spawn(async move { client.call::<Wait>(&say("long")).await })).collect();
    for _ in 0..2 {
        server.toy.waiting.notified().await;
    }
    let error = server.client().call::<Echo>(&say("a third")).await.unwrap_err();
    assert!(matches!(&error, ClientError::Service { error, .. } if error.status == 503), "{error}");
    assert!(error.is_retryable());
    let third = tokio::spawn({
        let client = server.client();
        async move { client.call::<Echo>(&say("the third again")).await }
    });
    server.toy.go_on.notify_waiters();
    for call in waiting {
        call.await.unwrap().unwrap();
    }
    // It was in line, or was refused just before.
    let _ = third.await.unwrap();
    for _ in 0..3 * SHARES.holder {
        server.client().call::<Echo>(&say("idle ones give way")).await.unwrap();
    }
}

#[tokio::test]
async fn only_operations_that_need_them_have_large_bodies() {
    let of = |action: &str| (action == "toy:Wait").then_some(600_000);
    let server = Server::with(Limits::default(), Verification::Required, |edge| edge.body_bytes(of)).await;
    let large = "x".repeat(500_000);
    let refused = server.client().call::<Echo>(&say(&large)).await.unwrap_err();
    assert!(matches!(&refused, ClientError::Service { error, .. } if error.status == 413), "{refused}");
    server.toy.go_on.notify_one();
    server.client().call::<Wait>(&say(&large)).await.unwrap();
}

#[tokio::test]
async fn bodies_that_never_end_leave_room_for_others() {
    let limits = Limits {
        bodies_bytes_max: 512 * 1024,
        bodies_share_bytes_max: 256 * 1024,
        bodies_wait: Duration::from_millis(50),
        ..Limits::default()
    };
    let server = Server::with(limits, Verification::Required, |edge| edge.trusting(|_| false)).await;
    let head = server.signed_head("Toy_2026.Echo", 200 * 1024);
    let mut stalled = server.connect().await;
    stalled.write_all(head.as_bytes()).await.unwrap();
    stalled.write_all(&vec![b'x'; 100 * 1024]).await.unwrap();
    // The second is one too many for the address, as soon as the first has come so far.
    loop {
        let mut second = server.connect().await;
        second.write_all(head.as_bytes()).await.unwrap();
        let sent = second.write_all(&vec![b'x'; 200 * 1024]).await;
        let answer = read_to_end(&mut second).await;
        if answer.starts_with("HTTP/1.1 503 ") {
            assert!(answer.contains("ServiceUnavailable"), "{answer}");
            break;
        }
        assert!(sent.is_ok(), "{answer}");
    }
    server.client().call::<Echo>(&say("short bodies never wait")).await.unwrap();
    drop(stalled);
    // The room comes back.
    let whole = say(&"x".repeat(200 * 1024));
    while server.client().call::<Echo>(&whole).await.is_err() {}
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut_off() {
    let limits = Limits { write_timeout: Duration::from_millis(100), body_bytes_max: 8 << 20, ..Limits::default() };
    let server = Server::with(limits, Verification::Off, |edge| edge).await;
    let mut stream = server.connect().await;
    let (bytes, mut sent) = (4 << 20, 0);
    let request = format!("{HEAD}Content-Length: {bytes}\r\n\r\n{}", "x".repeat(bytes));
    // It echoes what it is sent: after a few answers no socket takes more.
    while sent < 100 && stream.write_all(request.as_bytes()).await.is_ok() {
        sent += 1;
    }
    assert!(sent < 100, "the server has closed the connection");
}

struct Halls;

#[async_trait]
impl TokenUpgradeHandler for Halls {
    fn admit(&self, path: &str) -> Result<(), Refusal> {
        let refusal = Refusal { status: StatusCode::NOT_FOUND, body: r#"{"message":"no such hall"}"#.to_owned() };
        if path == "/halls/1" { Ok(()) } else { Err(refusal) }
    }

    async fn serve(&self, path: String, mut io: UpgradedIo) {
        let _ = io.write_all(path.as_bytes()).await;
    }
}

#[tokio::test]
async fn what_does_not_exist_is_refused_before_the_handshake() {
    let server =
        Server::with(Limits::default(), Verification::Required, |edge| edge.token_upgrade("/halls/*", Arc::new(Halls)))
            .await;
    let handshake = |path: &str| {
        format!(
            "GET {path} HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
    };
    let mut stream = server.connect().await;
    stream.write_all(handshake("/halls/2").as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let answer = read_to_end(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 404 ") && answer.contains("no such hall"), "{answer}");
    let answer = server.exchange(handshake("/halls/1").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 101 ") && answer.ends_with("/halls/1"), "{answer}");
    // A path without measure is no path.
    let answer = server.exchange(handshake(&format!("/halls/{}", "A".repeat(60_000))).as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
}
