//! `journald` against a socket that reads the journal's protocol.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{IoSliceMut, Read, Seek};
use std::os::fd::{AsRawFd, FromRawFd};
use std::path::Path;

use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use tempfile::TempDir;
use tokio::io::Interest;
use tokio::net::UnixDatagram;
use tokio::time::timeout;

use super::{PATIENCE, container, options, refusal, stderr, stdout};
use crate::journald::Journald;
use crate::{LINE_BYTES_MAX, LogLine, Partial, SendError};

type Entry = BTreeMap<String, Vec<u8>>;

fn journald(pairs: &[(&str, &str)], socket: &Path) -> Journald {
    Journald::new(&options(pairs), &container(), socket).unwrap()
}

async fn receive(socket: &UnixDatagram) -> Entry {
    let read = || {
        let mut buffer = vec![0; 400_000];
        let mut space = nix::cmsg_space!([i32; 1]);
        let (length, file) = {
            let mut parts = [IoSliceMut::new(&mut buffer)];
            let message = recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut space), MsgFlags::MSG_DONTWAIT)?;
            let rights = message.cmsgs()?.find_map(|control| match control {
                ControlMessageOwned::ScmRights(descriptors) => descriptors.first().copied(),
                _ => None,
            });
            // SAFETY: the descriptor came with the message, and nobody else has it.
            (message.bytes, rights.map(|descriptor| unsafe { File::from_raw_fd(descriptor) }))
        };
        buffer.truncate(length);
        Ok((buffer, file))
    };
    let received = timeout(PATIENCE, socket.async_io(Interest::READABLE, read)).await.unwrap();
    let (mut bytes, file) = received.unwrap();
    if let Some(mut file) = file {
        assert!(bytes.is_empty());
        assert_eq!(fcntl(file.as_raw_fd(), FcntlArg::F_GET_SEALS).unwrap(), 0b1111);
        file.rewind().unwrap();
        file.read_to_end(&mut bytes).unwrap();
    }
    entry(&bytes)
}

fn entry(mut bytes: &[u8]) -> Entry {
    let mut entry = Entry::new();
    while let Some(end) = bytes.iter().position(|byte| [b'=', b'\n'].contains(byte)) {
        let name = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let (mark, rest) = (bytes[end], &bytes[end + 1..]);
        let (value, rest) = if mark == b'=' {
            rest.split_at(rest.iter().position(|byte| *byte == b'\n').unwrap())
        } else {
            let length = u64::from_le_bytes(rest[..8].try_into().unwrap());
            rest[8..].split_at(usize::try_from(length).unwrap())
        };
        assert!(entry.insert(name, value.to_vec()).is_none());
        bytes = rest.strip_prefix(b"\n").unwrap();
    }
    entry
}

#[tokio::test]
async fn entries_say_who_wrote_what() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("socket");
    let socket = UnixDatagram::bind(&path).unwrap();
    let pairs = [("labels", "com.example.team"), ("env", "STAGE"), ("tag", "{{.ImageName}}")];
    let mut driver = journald(&pairs, &path);
    driver.connect().await.unwrap();
    let partial = Some(Partial { id: "p1".to_owned(), ordinal: 1, last: false });
    let lines =
        [stdout("hello"), LogLine { partial, ..stderr(b"two\nlines \xff\nMESSAGE=forged".to_vec()) }, stdout("")];
    driver.send(&lines).await.unwrap();
    let text = |entry: &Entry, name: &str| String::from_utf8(entry[name].clone()).unwrap();
    let first = receive(&socket).await;
    for (name, value) in [
        ("MESSAGE", "hello"),
        ("PRIORITY", "6"),
        ("CONTAINER_ID", "0123456789ab"),
        ("CONTAINER_ID_FULL", &container().id),
        ("CONTAINER_NAME", "web"),
        ("CONTAINER_TAG", "nginx:1"),
        ("SYSLOG_IDENTIFIER", "nginx:1"),
        ("IMAGE_NAME", "nginx:1"),
        ("SYSLOG_TIMESTAMP", "2026-01-02T03:04:05.6Z"),
        ("COM_EXAMPLE_TEAM", "blue"),
        ("STAGE", "test=1"),
    ] {
        assert_eq!(text(&first, name), value, "{name}");
    }
    assert_eq!(first.len(), 11);
    let second = receive(&socket).await;
    assert_eq!(second["MESSAGE"], b"two\nlines \xff\nMESSAGE=forged");
    for (name, value) in [
        ("PRIORITY", "3"),
        ("CONTAINER_PARTIAL_MESSAGE", "true"),
        ("CONTAINER_PARTIAL_ID", "p1"),
        ("CONTAINER_PARTIAL_ORDINAL", "1"),
        ("CONTAINER_PARTIAL_LAST", "false"),
    ] {
        assert_eq!(text(&second, name), value, "{name}");
    }
    assert_eq!(receive(&socket).await["MESSAGE"], b"");
}

#[tokio::test]
async fn a_large_entry_comes_as_a_sealed_file() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("socket");
    let socket = UnixDatagram::bind(&path).unwrap();
    let mut driver = journald(&[], &path);
    let text = vec![b'x'; LINE_BYTES_MAX + 1];
    driver.send(&[stdout(text), stdout("small")]).await.unwrap();
    assert_eq!(receive(&socket).await["MESSAGE"].len(), LINE_BYTES_MAX);
    assert_eq!(receive(&socket).await["MESSAGE"], b"small");
}

#[tokio::test]
async fn a_journal_that_comes_back_is_found_again() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("socket");
    let mut driver = journald(&[], &path);
    assert!(matches!(driver.connect().await.unwrap_err(), SendError::Connect { .. }));
    let socket = UnixDatagram::bind(&path).unwrap();
    driver.send(&[stdout("before")]).await.unwrap();
    assert_eq!(receive(&socket).await["MESSAGE"], b"before");
    drop(socket);
    std::fs::remove_file(&path).unwrap();
    assert!(driver.send(&[stdout("lost")]).await.unwrap_err().is_retryable());
    let socket = UnixDatagram::bind(&path).unwrap();
    driver.send(&[stdout("after")]).await.unwrap();
    assert_eq!(receive(&socket).await["MESSAGE"], b"after");
}

#[test]
fn the_lines_fields_are_nobody_elses() {
    let mut container = container();
    container.labels = options(&[("message", "forged"), ("priority", "0"), ("__container_name", "mine"), ("_", "x")]);
    let driver = Journald::new(&options(&[("labels-regex", ".")]), &container, Path::new("/nowhere")).unwrap();
    let entry = entry(&driver.base);
    assert!(!entry.contains_key("MESSAGE") && !entry.contains_key("PRIORITY") && !entry.contains_key(""));
    assert_eq!(entry["CONTAINER_NAME"], b"mine");
}

#[test]
fn options_are_refused_with_their_reasons() {
    assert_eq!(refusal("journald", &[("x", "1")]), "unknown log opt 'x' for journald log driver");
    assert_eq!(refusal("journald", &[("tag", "{{")]), "invalid value for tag: an action is not closed");
}
