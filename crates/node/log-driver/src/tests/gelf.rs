//! `gelf` against sockets that put messages together.

use std::io::Read;
use std::time::Duration;

use flate2::read::{GzDecoder, ZlibDecoder};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::{TcpListener, UdpSocket};
use tokio::time::{sleep, timeout};

use super::{PATIENCE, container, driver, noise, options, refusal, send_until_taken, stderr, stdout};
use crate::{Retries, SendError, open};

async fn receive(socket: &UdpSocket) -> Vec<u8> {
    let mut buffer = vec![0; 65_536];
    let length = timeout(PATIENCE, socket.recv(&mut buffer)).await.unwrap().unwrap();
    buffer.truncate(length);
    buffer
}

async fn udp() -> (UdpSocket, String) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = format!("udp://{}", socket.local_addr().unwrap());
    (socket, address)
}

#[tokio::test]
async fn messages_say_who_wrote_what_and_when() {
    let (socket, address) = udp().await;
    let mut driver =
        driver("gelf", &[("gelf-address", &address), ("labels", "tier"), ("env", "STAGE"), ("tag", "t/{{.Name}}")]);
    driver.connect().await.unwrap();
    driver.send(&[stdout("hello"), stdout(""), stderr(b"bad \xff".to_vec())]).await.unwrap();
    let mut text = String::new();
    GzDecoder::new(&receive(&socket).await[..]).read_to_string(&mut text).unwrap();
    let expected = json!({
        "version": "1.1", "host": "node1", "short_message": "hello", "timestamp": 1_767_323_045.6, "level": 6,
        "_container_id": "0123456789abcdef".repeat(4), "_container_name": "web",
        "_image_id": format!("sha256:{}", "fedcba9876543210".repeat(4)), "_image_name": "nginx:1",
        "_command": "/bin/nginx -g", "_created": "2026-01-02T03:04:05Z", "_tag": "t/web",
        "_tier": "front", "_STAGE": "test=1",
    });
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), expected);
    let mut text = String::new();
    GzDecoder::new(&receive(&socket).await[..]).read_to_string(&mut text).unwrap();
    let second: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&second["short_message"], &second["level"]), (&json!("bad \u{fffd}"), &json!(3)));
}

#[tokio::test]
async fn a_large_message_comes_in_chunks() {
    let (socket, address) = udp().await;
    let mut driver = driver(
        "gelf",
        &[("gelf-address", &address), ("gelf-compression-type", "zlib"), ("gelf-compression-level", "9")],
    );
    let text = noise(100_000);
    driver.send(&[stdout(text.clone())]).await.unwrap();
    let mut packed = Vec::new();
    for number in 0.. {
        let chunk = receive(&socket).await;
        assert!(chunk.len() <= 8192 && chunk[..2] == [0x1e, 0x0f] && chunk[10] == number);
        packed.extend(&chunk[12..]);
        if chunk[11] == number + 1 {
            break;
        }
    }
    let mut json = String::new();
    ZlibDecoder::new(&packed[..]).read_to_string(&mut json).unwrap();
    let message: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(message["short_message"].as_str().unwrap().as_bytes(), text);
}

#[tokio::test]
async fn a_line_that_no_chunks_can_carry_is_cut() {
    let (socket, address) = udp().await;
    let mut driver = driver("gelf", &[("gelf-address", &address), ("gelf-compression-type", "none")]);
    let send = tokio::spawn(async move { driver.send(&[stdout(vec![1; 400_000])]).await });
    let first = receive(&socket).await;
    // Six bytes of JSON for each of 128 KiB, in chunks of 8180.
    assert_eq!((first[10], first[11]), (0, 97));
    send.await.unwrap().unwrap();
}

#[tokio::test]
async fn labels_that_no_chunks_can_carry_are_a_final_error() {
    let (_socket, address) = udp().await;
    let mut container = container();
    container.labels.insert("huge".to_owned(), "x".repeat(2_000_000));
    let pairs = options(&[("gelf-address", &address), ("gelf-compression-type", "none"), ("labels", "huge")]);
    let error = open("gelf", &pairs, &container).unwrap().send(&[stdout("x")]).await.unwrap_err();
    assert!(matches!(error, SendError::TooLarge { .. }) && !error.is_retryable(), "{error}");
}

#[tokio::test]
async fn over_tcp_each_message_ends_with_a_nul_and_the_server_may_come_back() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let local = listener.local_addr().unwrap();
    let mut driver = driver("gelf", &[("gelf-address", &format!("tcp://{local}"))]);
    assert_eq!(driver.retries(), Retries { wait: Duration::from_secs(1), max: Some(3) });
    let large = noise(300_000);
    driver.send(&[stdout(b"a\0b\n".to_vec()), stdout(""), stdout(large.clone())]).await.unwrap();
    let mut stream = BufReader::new(listener.accept().await.unwrap().0);
    for expected in [&b"a\0b\n"[..], &large] {
        let mut message = Vec::new();
        stream.read_until(0, &mut message).await.unwrap();
        assert_eq!(message.pop(), Some(0));
        let message: Value = serde_json::from_slice(&message).unwrap();
        assert_eq!(message["short_message"].as_str().unwrap().as_bytes(), expected);
    }
    drop((stream, listener));
    sleep(Duration::from_millis(50)).await;
    assert!(driver.send(&[stdout("lost?")]).await.unwrap_err().is_retryable());
    let listener = TcpListener::bind(local).await.unwrap();
    send_until_taken(&mut driver, stdout("after")).await;
    let mut message = Vec::new();
    BufReader::new(listener.accept().await.unwrap().0).read_until(0, &mut message).await.unwrap();
    assert!(String::from_utf8(message).unwrap().contains("\"short_message\":\"after\""));
}

#[tokio::test]
async fn over_udp_a_server_that_is_not_there_is_noticed_when_the_machine_says_so() {
    let (socket, address) = udp().await;
    let local = socket.local_addr().unwrap();
    drop(socket);
    let mut driver = driver("gelf", &[("gelf-address", &address), ("gelf-compression-type", "none")]);
    let lines = vec![stdout("x"); 50];
    let error = driver.send(&lines).await.unwrap_err();
    assert!(matches!(error, SendError::Write { .. }) && error.is_retryable(), "{error}");
    let socket = UdpSocket::bind(local).await.unwrap();
    send_until_taken(&mut driver, stdout("again")).await;
    assert!(String::from_utf8(receive(&socket).await).unwrap().contains("again"));
}

#[test]
fn options_are_refused_with_their_reasons() {
    let udp = ("gelf-address", "udp://h:1");
    let tcp = ("gelf-address", "tcp://h:1");
    for (pairs, expected) in [
        (&[][..], "gelf: gelf-address is expected"),
        (&[("gelf-address", "h:1")], "invalid value for gelf-address: gelf-address should be in form proto://address"),
        (&[("gelf-address", "udp://h")], "invalid value for gelf-address: missing port in address"),
        (&[("gelf-address", "http://h:1")], "invalid value for gelf-address: unsupported scheme: 'http'"),
        (&[udp, ("x", "1")], "unknown log opt 'x' for gelf log driver"),
        (
            &[udp, ("gelf-compression-type", "zip")],
            "invalid value for gelf-compression-type: none of gzip, zlib and none",
        ),
        (&[udp, ("gelf-compression-level", "10")], "invalid value for gelf-compression-level: not between -1 and 9"),
        (&[udp, ("gelf-tcp-max-reconnect", "1")], "invalid value for gelf-tcp-max-reconnect: supported for TCP only"),
        (&[tcp, ("gelf-compression-type", "gzip")], "invalid value for gelf-compression-type: supported for UDP only"),
        (
            &[tcp, ("gelf-tcp-max-reconnect", "-1")],
            "invalid value for gelf-tcp-max-reconnect: no number, or out of range",
        ),
    ] {
        assert_eq!(refusal("gelf", pairs), expected);
    }
}
