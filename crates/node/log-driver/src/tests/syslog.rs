//! `syslog` against listeners of each kind.

use std::process;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::net::{TcpListener, UdpSocket, UnixDatagram, UnixListener};
use tokio::time::{sleep, timeout};

use super::tls::Authority;
use super::{PATIENCE, TIME_NS, driver, noise, refusal, send_until_taken, stderr, stdout};
use crate::moment::{local_offset, rfc3164, rfc5424, rfc5424_micro};
use crate::{Driver, SendError};

const ID: &str = "0123456789ab";

async fn line(stream: &mut (impl AsyncBufReadExt + Unpin)) -> Vec<u8> {
    let mut line = Vec::new();
    timeout(PATIENCE, stream.read_until(b'\n', &mut line)).await.unwrap().unwrap();
    line
}

/// One message with its length before it.
async fn octets(stream: &mut (impl AsyncBufReadExt + Unpin)) -> String {
    let mut length = Vec::new();
    timeout(PATIENCE, stream.read_until(b' ', &mut length)).await.unwrap().unwrap();
    let length: usize = String::from_utf8(length).unwrap().trim_end().parse().unwrap();
    let mut message = vec![0; length];
    timeout(PATIENCE, stream.read_exact(&mut message)).await.unwrap().unwrap();
    String::from_utf8(message).unwrap()
}

async fn listener(scheme: &str) -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("{scheme}://localhost:{}", listener.local_addr().unwrap().port());
    (listener, address)
}

#[tokio::test]
async fn each_format_has_its_head() {
    let (pid, offset) = (process::id(), local_offset(TIME_NS));
    let (short, long, micro) = (rfc3164(TIME_NS, offset), rfc5424(TIME_NS, offset), rfc5424_micro(TIME_NS, offset));
    for (format, expected) in [
        ("", format!("<30>{short} {ID}[{pid}]: text\n")),
        ("rfc3164", format!("<30>{short} node1 {ID}[{pid}]: text\n")),
        ("rfc5424", format!("<30>1 {long} node1 {ID} {pid} {ID} - text\n")),
        ("rfc5424micro", format!("<30>1 {micro} node1 {ID} {pid} {ID} - text\n")),
    ] {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = format!("udp://{}", socket.local_addr().unwrap());
        let mut driver = driver("syslog", &[("syslog-address", &address), ("syslog-format", format)]);
        driver.send(&[stdout(""), stdout("text"), stdout(noise(100_000))]).await.unwrap();
        let mut buffer = vec![0; 70_000];
        let length = timeout(PATIENCE, socket.recv(&mut buffer)).await.unwrap().unwrap();
        assert_eq!(String::from_utf8_lossy(&buffer[..length]), expected);
        let length = timeout(PATIENCE, socket.recv(&mut buffer)).await.unwrap().unwrap();
        assert_eq!(length, 65_001);
    }
}

#[tokio::test]
async fn over_tcp_lines_stay_apart_and_the_server_may_come_back() {
    let (listener, address) = listener("tcp").await;
    let local = listener.local_addr().unwrap();
    let pairs = [("syslog-address", &*address), ("syslog-facility", "local1"), ("tag", "{{.Name}} one")];
    let mut driver = driver("syslog", &pairs);
    driver.connect().await.unwrap();
    let large = noise(200_000);
    let lines = [stderr(b"bad \xff".to_vec()), stdout("in\n<0>jected"), stdout(large.clone())];
    driver.send(&lines).await.unwrap();
    let mut stream = BufReader::new(listener.accept().await.unwrap().0);
    let first = line(&mut stream).await;
    assert!(first.starts_with(b"<139>") && first.ends_with(b": bad \xff\n"), "{first:?}");
    let second = String::from_utf8(line(&mut stream).await).unwrap();
    assert!(second.starts_with("<142>") && second.ends_with(": in <0>jected\n"), "{second}");
    assert!(second.contains(&format!(" web_one[{}]: ", process::id())), "{second}");
    assert!(line(&mut stream).await.ends_with(&[&large[..], b"\n"].concat()));
    drop((stream, listener));
    sleep(Duration::from_millis(50)).await;
    assert!(driver.send(&[stdout("x")]).await.unwrap_err().is_retryable());
    let listener = TcpListener::bind(local).await.unwrap();
    send_until_taken(&mut driver, stdout("after")).await;
    let after = line(&mut BufReader::new(listener.accept().await.unwrap().0)).await;
    assert!(after.ends_with(b": after\n"));
}

#[tokio::test]
async fn unix_sockets_are_of_both_kinds() {
    let dir = TempDir::new().unwrap();
    let (datagrams, streams) = (dir.path().join("datagrams"), dir.path().join("streams"));
    let socket = UnixDatagram::bind(&datagrams).unwrap();
    let listener = UnixListener::bind(&streams).unwrap();
    let mut by_datagram = driver("syslog", &[("syslog-address", &format!("unixgram://{}", datagrams.display()))]);
    by_datagram.send(&[stdout("d1"), stdout("d2")]).await.unwrap();
    let mut buffer = vec![0; 1000];
    for expected in [&b": d1\n"[..], b": d2\n"] {
        let length = timeout(PATIENCE, socket.recv(&mut buffer)).await.unwrap().unwrap();
        assert!(buffer[..length].ends_with(expected));
    }
    let mut by_stream = driver("syslog", &[("syslog-address", &format!("unix://{}", streams.display()))]);
    by_stream.send(&[stdout("s1"), stdout("s2")]).await.unwrap();
    let mut stream = BufReader::new(listener.accept().await.unwrap().0);
    assert!(line(&mut stream).await.ends_with(b": s1\n"));
    assert!(line(&mut stream).await.ends_with(b": s2\n"));
}

#[tokio::test]
async fn over_tls_each_message_has_its_length_and_both_sides_their_certificate() {
    let authority = Authority::new();
    authority.write_client();
    let acceptor = authority.acceptor("localhost", true);
    let (listener, address) = listener("tcp+tls").await;
    let server = tokio::spawn(async move {
        let mut stream = BufReader::new(acceptor.accept(listener.accept().await.unwrap().0).await.unwrap());
        let messages = [octets(&mut stream).await, octets(&mut stream).await];
        drop(stream);
        // The next connection is a new one.
        let mut stream = BufReader::new(acceptor.accept(listener.accept().await.unwrap().0).await.unwrap());
        (messages, octets(&mut stream).await)
    });
    let mut driver = driver(
        "syslog",
        &[
            ("syslog-address", &address),
            ("syslog-format", "rfc5424"),
            ("syslog-tls-ca-cert", &authority.path("ca.pem")),
            ("syslog-tls-cert", &authority.path("client.pem")),
            ("syslog-tls-key", &authority.path("client.key")),
        ],
    );
    driver.send(&[stdout("one\ntwo"), stderr("three")]).await.unwrap();
    sleep(Duration::from_millis(100)).await;
    send_until_taken(&mut driver, stdout("after")).await;
    let ([first, second], third) = timeout(PATIENCE, server).await.unwrap().unwrap();
    assert!(first.starts_with("<30>1 ") && first.ends_with(" - one\ntwo"), "{first}");
    assert!(second.starts_with("<27>1 ") && second.ends_with(" - three"), "{second}");
    assert!(third.ends_with(" - after"), "{third}");
}

/// Whether the driver connects to a server of `authority` that says it is `name`.
async fn connects(authority: &Authority, name: &str, pairs: &[(&str, &str)]) -> Result<(), SendError> {
    let acceptor = authority.acceptor(name, false);
    let (listener, address) = listener("tcp+tls").await;
    let server = tokio::spawn(async move {
        if let Ok(mut stream) = acceptor.accept(listener.accept().await.unwrap().0).await {
            drain(&mut stream).await;
        }
    });
    let mut driver: Driver = driver("syslog", &[&[("syslog-address", &*address)], pairs].concat());
    let connected = driver.connect().await;
    drop(driver);
    timeout(PATIENCE, server).await.unwrap().unwrap();
    connected
}

async fn drain(stream: &mut (impl AsyncRead + Unpin)) {
    let mut nothing = [0; 16];
    while let Ok(1..) = stream.read(&mut nothing).await {}
}

#[tokio::test]
async fn a_server_must_be_who_it_says() {
    let (authority, other) = (Authority::new(), Authority::new());
    let (trusted, foreign) = (authority.path("ca.pem"), other.path("ca.pem"));
    connects(&authority, "localhost", &[("syslog-tls-ca-cert", &trusted)]).await.unwrap();
    for (name, ca) in [("localhost", &foreign), ("elsewhere", &trusted)] {
        let error = connects(&authority, name, &[("syslog-tls-ca-cert", ca)]).await.unwrap_err();
        assert!(matches!(error, SendError::Connect { .. }), "{error}");
    }
    for value in ["true", ""] {
        connects(&authority, "elsewhere", &[("syslog-tls-skip-verify", value)]).await.unwrap();
    }
    let pairs = [("syslog-tls-skip-verify", "false"), ("syslog-tls-ca-cert", &*trusted)];
    connects(&authority, "elsewhere", &pairs).await.unwrap_err();
}

#[test]
fn options_are_refused_with_their_reasons() {
    let tls = ("syslog-address", "tcp+tls://h:1");
    for (pairs, expected) in [
        (&[("x", "1")][..], "unknown log opt 'x' for syslog log driver"),
        (&[("syslog-facility", "24")], "invalid value for syslog-facility: invalid syslog facility"),
        (&[("syslog-format", "rfc1")], "invalid value for syslog-format: invalid syslog format"),
        (&[("syslog-address", "http://h")], "invalid value for syslog-address: unsupported scheme: 'http'"),
        (&[("syslog-address", "udp://")], "invalid value for syslog-address: the host is missing"),
        (
            &[("syslog-address", "h")],
            "invalid value for syslog-address: syslog-address should be in form proto://address",
        ),
        (&[("syslog-address", "unix://")], "invalid value for syslog-address: path is empty"),
        (&[tls, ("syslog-tls-ca-cert", "/nowhere")], "syslog-tls-ca-cert: cannot use /nowhere"),
        (&[tls, ("syslog-tls-cert", "/c")], "invalid value for syslog-tls-cert: syslog-tls-key is missing"),
        (&[tls, ("syslog-tls-key", "/k")], "invalid value for syslog-tls-key: syslog-tls-cert is missing"),
    ] {
        assert_eq!(refusal("syslog", pairs), expected);
    }
}
