//! What a stranger may try: too much, too slow, nonsense.

use std::time::Duration;

use estiva_wire::server::Limits;
use estiva_wire::sigv4::Verification;
use tokio::io::AsyncWriteExt;

use crate::toy::{Echo, Server, read_to_end, say};

const HEAD: &str = "POST / HTTP/1.1\r\nHost: h\r\nX-Amz-Target: Toy_2026.Echo\r\n";
const MEGABYTE: usize = 1024 * 1024;

/// Limits whose time-outs are over soon; everything else as ever.
fn impatient() -> Limits {
    let timeout = Duration::from_millis(100);
    Limits { first_head_timeout: timeout, head_read_timeout: timeout, body_read_timeout: timeout, ..Limits::default() }
}

#[tokio::test]
async fn a_body_of_a_hundred_megabytes_is_refused() {
    let server = Server::with(Limits::default(), Verification::Off, |edge| edge).await;
    for chunked in [false, true] {
        let mut stream = server.connect().await;
        let framing = if chunked {
            "Transfer-Encoding: chunked".to_owned()
        } else {
            format!("Content-Length: {}", 100 * MEGABYTE)
        };
        stream.write_all(format!("{HEAD}{framing}\r\n\r\n").as_bytes()).await.unwrap();
        let (mut reader, mut writer) = stream.into_split();
        let sending = tokio::spawn(async move {
            let megabyte = vec![b' '; MEGABYTE];
            for _ in 0..100 {
                if chunked {
                    writer.write_all(format!("{MEGABYTE:x}\r\n").as_bytes()).await?;
                }
                writer.write_all(&megabyte).await?;
                if chunked {
                    writer.write_all(b"\r\n").await?;
                }
            }
            if chunked {
                writer.write_all(b"0\r\n\r\n").await?;
            }
            std::io::Result::Ok(writer)
        });
        let mut answer = Vec::new();
        let _ = tokio::io::AsyncReadExt::read_to_end(&mut reader, &mut answer).await;
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
        assert!(answer.contains("RequestEntityTooLargeException"), "{answer}");
        let _ = sending.await.unwrap();
    }
    assert_eq!(server.calls(), 0);
}

#[tokio::test]
async fn an_unsigned_body_is_not_even_waited_for() {
    let server = Server::start().await;
    let mut stream = server.connect().await;
    stream.write_all(format!("{HEAD}Connection: close\r\nContent-Length: 1000000\r\n\r\n").as_bytes()).await.unwrap();
    let answer = read_to_end(&mut stream).await;
    assert!(answer.contains("MissingAuthenticationTokenException"), "{answer}");
}

#[tokio::test]
async fn slow_heads_are_cut_off() {
    let server = Server::with(impatient(), Verification::Off, |edge| edge).await;
    for beginning in ["", "P", "PRI * HTTP/2.0\r\n", "POST / HTTP/1.1\r\nHost: h\r\nX-"] {
        let answer = server.exchange(beginning.as_bytes()).await;
        assert!(!answer.contains("200 OK"), "{beginning:?}: {answer}");
    }
    server.client().call::<Echo>(&say("x")).await.unwrap();
}

#[tokio::test]
async fn slow_bodies_are_cut_off() {
    let server = Server::with(impatient(), Verification::Off, |edge| edge).await;
    let answer = server.exchange(format!("{HEAD}Content-Length: 10\r\n\r\n{{").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("RequestTimeout"), "{answer}");
    assert_eq!(server.calls(), 0);
}

#[tokio::test]
async fn idle_connections_are_closed() {
    let server = Server::with(impatient(), Verification::Off, |edge| edge).await;
    let answer = server.exchange(format!("{HEAD}Content-Length: 2\r\n\r\n{{}}").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[tokio::test]
async fn malformed_requests_are_refused() {
    let server = Server::with(impatient(), Verification::Off, |edge| edge).await;
    let many = "X-Many: 1\r\n".repeat(200);
    let long = format!("X-Long: {}\r\n", "a".repeat(128 * 1024));
    for (request, statuses) in [
        ("\0\u{1}\u{2} nonsense\r\n\r\n".to_owned(), [400, 400]),
        (format!("{HEAD}Content-Length: 1\r\nContent-Length: 2\r\n\r\n{{}}"), [400, 400]),
        (format!("{HEAD}Content-Length: -1\r\n\r\n"), [400, 400]),
        (format!("{HEAD}Transfer-Encoding: chunked\r\n\r\nnonsense\r\n"), [400, 400]),
        (format!("{HEAD}{many}\r\n"), [431, 400]),
        (format!("{HEAD}{long}\r\n"), [431, 400]),
    ] {
        let mut stream = server.connect().await;
        // The server may refuse before all is sent.
        let _ = stream.write_all(request.as_bytes()).await;
        let answer = read_to_end(&mut stream).await;
        let refused = statuses.iter().any(|status| answer.starts_with(&format!("HTTP/1.1 {status} ")));
        assert!(refused, "{}\n\n{answer}", &request[..request.len().min(200)]);
    }
    assert_eq!(server.calls(), 0);
    server.client().call::<Echo>(&say("x")).await.unwrap();
}
