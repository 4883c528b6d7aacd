//! `fluentd` against a listener that speaks the forward protocol.

use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::time::Duration;

use rmp::decode;
use rmp::encode;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio::time::{sleep, timeout};

use super::{PATIENCE, driver, noise, refusal, send_until_taken, stderr, stdout};
use crate::{LINE_BYTES_MAX, Partial, Retries, SendError};

/// What a message says.
#[derive(Debug)]
struct Message {
    tag: String,
    records: Vec<(Time, Record)>,
    options: Record,
}

type Record = BTreeMap<String, Vec<u8>>;

#[derive(Debug, PartialEq)]
enum Time {
    Seconds(u64),
    Exact(u32, u32),
}

/// Reads until there is a whole message.
async fn receive(stream: &mut (impl AsyncRead + Unpin), buffer: &mut Vec<u8>) -> Option<Message> {
    loop {
        let mut cursor = Cursor::new(&buffer[..]);
        if let Some(message) = message(&mut cursor) {
            buffer.drain(..usize::try_from(cursor.position()).unwrap());
            return Some(message);
        }
        if timeout(PATIENCE, stream.read_buf(buffer)).await.unwrap().unwrap() == 0 {
            return None;
        }
    }
}

fn message(from: &mut Cursor<&[u8]>) -> Option<Message> {
    assert_eq!(decode::read_array_len(from).ok()?, 3);
    let tag = String::from_utf8(string(from)?).unwrap();
    let length = decode::read_bin_len(from).ok()?;
    let packed = take(from, length)?;
    let pairs = decode::read_map_len(from).ok()?;
    let mut options = Record::new();
    for _ in 0..pairs {
        let key = String::from_utf8(string(from)?).unwrap();
        let value = match key.as_str() {
            "size" => decode::read_int::<u64, _>(from).ok()?.to_string().into_bytes(),
            _ => string(from)?,
        };
        options.insert(key, value);
    }
    let mut entries = Cursor::new(&packed[..]);
    let mut records = Vec::new();
    while entries.position() < packed.len() as u64 {
        assert_eq!(decode::read_array_len(&mut entries).unwrap(), 2);
        let time = time(&mut entries);
        let pairs = decode::read_map_len(&mut entries).unwrap();
        let pair = |_| (String::from_utf8(string(&mut entries).unwrap()).unwrap(), string(&mut entries).unwrap());
        records.push((time, (0..pairs).map(pair).collect()));
    }
    Some(Message { tag, records, options })
}

fn time(from: &mut Cursor<&[u8]>) -> Time {
    let start = from.position();
    if let Ok(seconds) = decode::read_int(from) {
        return Time::Seconds(seconds);
    }
    from.set_position(start);
    let meta = decode::read_ext_meta(from).unwrap();
    assert_eq!((meta.typeid, meta.size), (0, 8));
    let bytes = take(from, 8).unwrap();
    let number = |range| u32::from_be_bytes(<[u8; 4]>::try_from(&bytes[range]).unwrap());
    Time::Exact(number(0..4), number(4..8))
}

fn string(from: &mut Cursor<&[u8]>) -> Option<Vec<u8>> {
    let length = decode::read_str_len(from).ok()?;
    take(from, length)
}

fn take(from: &mut Cursor<&[u8]>, length: u32) -> Option<Vec<u8>> {
    let mut bytes = vec![0; length as usize];
    Read::read_exact(from, &mut bytes).ok()?;
    Some(bytes)
}

fn acknowledgement(chunk: &[u8]) -> Vec<u8> {
    let mut answer = Vec::new();
    encode::write_map_len(&mut answer, 1).unwrap();
    encode::write_str(&mut answer, "ack").unwrap();
    encode::write_str(&mut answer, std::str::from_utf8(chunk).unwrap()).unwrap();
    answer
}

async fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("tcp://{}", listener.local_addr().unwrap());
    (listener, address)
}

#[tokio::test]
async fn records_say_who_wrote_what_and_when() {
    let (listener, address) = listener().await;
    let mut driver = driver(
        "fluentd",
        &[
            ("fluentd-address", &address),
            ("fluentd-sub-second-precision", "true"),
            ("tag", "docker.{{.Name}}"),
            ("labels", "tier"),
        ],
    );
    assert!(driver.connects_at_start());
    driver.connect().await.unwrap();
    let mut piece = stderr(b"\xff\xfe\0".to_vec());
    piece.partial = Some(Partial { id: "p1".to_owned(), ordinal: 2, last: false });
    driver.send(&[stdout("hello"), piece]).await.unwrap();
    let (mut stream, _) = listener.accept().await.unwrap();
    let message = receive(&mut stream, &mut Vec::new()).await.unwrap();
    assert_eq!(message.tag, "docker.web");
    assert_eq!(message.options, BTreeMap::from([("size".to_owned(), b"2".to_vec())]));
    let [(time, first), (_, second)] = &message.records[..] else { panic!("{message:?}") };
    assert_eq!(*time, Time::Exact(1_767_323_045, 600_000_000));
    let id = "0123456789abcdef".repeat(4);
    for (key, value) in [
        ("container_id", id.as_str()),
        ("container_name", "/web"),
        ("source", "stdout"),
        ("log", "hello"),
        ("tier", "front"),
    ] {
        assert_eq!(first[key], value.as_bytes(), "{key}");
    }
    assert_eq!(first.len(), 5);
    assert_eq!((&second["source"][..], &second["log"][..]), (&b"stderr"[..], &b"\xff\xfe\0"[..]));
    for (key, value) in
        [("partial_message", "true"), ("partial_id", "p1"), ("partial_ordinal", "2"), ("partial_last", "false")]
    {
        assert_eq!(second[key], value.as_bytes(), "{key}");
    }
}

#[tokio::test]
async fn over_a_unix_socket_lines_count_when_they_are_acknowledged() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("fluent.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let (mut buffer, mut texts) = (Vec::new(), Vec::new());
        while let Some(message) = receive(&mut stream, &mut buffer).await {
            assert_eq!(message.records[0].0, Time::Seconds(1_767_323_045));
            texts.extend(message.records.into_iter().map(|(_, record)| record["log"].clone()));
            // In two parts, for it need not come as one.
            let answer = acknowledgement(&message.options["chunk"]);
            stream.write_all(&answer[..7]).await.unwrap();
            sleep(Duration::from_millis(20)).await;
            stream.write_all(&answer[7..]).await.unwrap();
        }
        texts
    });
    let address = format!("unix://{}", path.display());
    let mut driver =
        driver("fluentd", &[("fluentd-address", &address), ("fluentd-request-ack", "true"), ("fluentd-async", "true")]);
    assert!(!driver.connects_at_start());
    driver.send(&[stdout("a"), stdout("")]).await.unwrap();
    driver.send(&[]).await.unwrap();
    driver.send(&[stdout("b")]).await.unwrap();
    drop(driver);
    assert_eq!(server.await.unwrap(), [&b"a"[..], b"", b"b"]);
}

#[tokio::test]
async fn without_its_acknowledgement_nothing_is_taken() {
    let (listener, address) = listener().await;
    let options = [("fluentd-address", &*address), ("fluentd-request-ack", "true"), ("fluentd-read-timeout", "200ms")];
    let mut driver = driver("fluentd", &options);
    let server = tokio::spawn(async move {
        let mut silent = Vec::new();
        for answer in [None, Some(acknowledgement(b"other")), Some(b"nonsense".to_vec()), Some(Vec::new())] {
            let (mut stream, _) = listener.accept().await.unwrap();
            receive(&mut stream, &mut Vec::new()).await.unwrap();
            match answer {
                None => silent.push(stream),
                Some(answer) => stream.write_all(&answer).await.unwrap(),
            }
        }
        let (mut stream, _) = listener.accept().await.unwrap();
        let message = receive(&mut stream, &mut Vec::new()).await.unwrap();
        stream.write_all(&acknowledgement(&message.options["chunk"])).await.unwrap();
        message
    });
    let error = driver.send(&[stdout("a")]).await.unwrap_err();
    assert!(matches!(error, SendError::Timeout { operation: "acknowledge", .. }) && error.is_retryable(), "{error}");
    for expected in ["it is for another chunk", "the answer is no map of strings", "the connection was closed"] {
        let error = driver.send(&[stdout("a")]).await.unwrap_err();
        let SendError::Acknowledgement { reason, .. } = &error else { panic!("{error}") };
        assert!(*reason == expected && error.is_retryable(), "{reason}");
    }
    driver.send(&[stdout("a")]).await.unwrap();
    assert_eq!(server.await.unwrap().records[0].1["log"], b"a");
}

#[tokio::test]
async fn a_server_that_comes_back_is_found_again() {
    let (listener, address) = listener().await;
    let mut driver = driver("fluentd", &[("fluentd-address", &address)]);
    driver.send(&[stdout("before")]).await.unwrap();
    let (mut stream, local) = (listener.accept().await.unwrap().0, listener.local_addr().unwrap());
    receive(&mut stream, &mut Vec::new()).await.unwrap();
    drop((stream, listener));
    sleep(Duration::from_millis(50)).await;
    let error = driver.send(&[stdout("while it is away")]).await.unwrap_err();
    assert!(matches!(error, SendError::Connect { .. }) && error.is_retryable(), "{error}");
    let listener = TcpListener::bind(local).await.unwrap();
    send_until_taken(&mut driver, stdout("after")).await;
    let message = receive(&mut listener.accept().await.unwrap().0, &mut Vec::new()).await.unwrap();
    assert_eq!(message.records[0].1["log"], b"after");
}

#[tokio::test]
async fn many_and_large_lines_make_messages_that_are_bounded() {
    let (listener, address) = listener().await;
    let server = tokio::spawn(async move {
        let (mut stream, mut buffer, mut sizes) = (listener.accept().await.unwrap().0, Vec::new(), Vec::new());
        while let Some(message) = receive(&mut stream, &mut buffer).await {
            sizes.push((message.records.len(), message.records.iter().map(|(_, it)| it["log"].len()).sum::<usize>()));
        }
        sizes
    });
    let mut driver = driver("fluentd", &[("fluentd-address", &address)]);
    let mut lines = vec![stdout("x"); 1001];
    lines.push(stdout(noise(LINE_BYTES_MAX + 5)));
    lines.push(stdout("last"));
    driver.send(&lines).await.unwrap();
    drop(driver);
    assert_eq!(server.await.unwrap(), [(1000, 1000), (1, 1), (1, LINE_BYTES_MAX), (1, 4)]);
}

#[tokio::test]
async fn half_a_message_is_never_followed_by_another() {
    let (listener, address) = listener().await;
    let options = [("fluentd-address", &*address), ("fluentd-write-timeout", "100ms")];
    let mut driver = driver("fluentd", &options);
    let large = vec![stdout(noise(LINE_BYTES_MAX)); 32];
    let error = driver.send(&large).await.unwrap_err();
    assert!(matches!(error, SendError::Timeout { operation: "take more", .. }), "{error}");
    assert!(timeout(Duration::from_millis(20), driver.send(&large)).await.is_err());
    driver.send(&[stdout("whole")]).await.unwrap();
    let _stuck = (listener.accept().await.unwrap(), listener.accept().await.unwrap());
    let message = receive(&mut listener.accept().await.unwrap().0, &mut Vec::new()).await.unwrap();
    assert_eq!(message.records[0].1["log"], b"whole");
}

#[test]
fn options_are_refused_with_their_reasons() {
    let refused = |name, value| refusal("fluentd", &[(name, value)]);
    assert_eq!(refused("fluentd-nope", "1"), "unknown log opt 'fluentd-nope' for fluentd log driver");
    assert_eq!(refused("fluentd-address", "udp://h"), "invalid value for fluentd-address: unsupported scheme: 'udp'");
    assert_eq!(refused("fluentd-address", "://h"), "invalid value for fluentd-address: missing protocol scheme");
    assert_eq!(refused("fluentd-address", "h:x"), "invalid value for fluentd-address: invalid port");
    assert_eq!(refused("fluentd-address", "unix://"), "invalid value for fluentd-address: path is empty");
    for (name, value) in [
        ("fluentd-async", "yes"),
        ("fluentd-request-ack", "2"),
        ("fluentd-buffer-limit", "many"),
        ("fluentd-write-timeout", "-1s"),
        ("fluentd-read-timeout", "1"),
        ("fluentd-retry-wait", "soon"),
        ("fluentd-max-retries", "-1"),
        ("fluentd-async-reconnect-interval", "99ms"),
        ("tag", "{{.Nope}}"),
        ("env-regex", "("),
    ] {
        assert!(refused(name, value).starts_with(&format!("invalid value for {name}: ")), "{name}");
    }
}

#[test]
fn retries_are_what_the_options_say() {
    assert_eq!(driver("fluentd", &[]).retries(), Retries::default());
    let options = [("fluentd-retry-wait", "250ms"), ("fluentd-max-retries", "7"), ("fluentd-buffer-limit", "8MB")];
    assert_eq!(driver("fluentd", &options).retries(), Retries { wait: Duration::from_millis(250), max: Some(7) });
}
