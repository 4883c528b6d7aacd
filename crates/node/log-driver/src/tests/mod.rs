//! Each driver against a backend that listens for real.

mod fluentd;
mod gelf;
mod journald;
mod splunk;
mod syslog;
mod tls;

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::{ContainerInfo, Driver, LogLine, OptionError, Stream, open};

/// 2026-01-02T03:04:05.6Z.
const TIME_NS: u64 = 1_767_323_045_600_000_000;
/// Long enough for any machine; nothing waits for all of it unless it fails.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn container() -> ContainerInfo {
    ContainerInfo {
        id: "0123456789abcdef".repeat(4),
        name: "/web".to_owned(),
        image_name: "nginx:1".to_owned(),
        image_id: format!("sha256:{}", "fedcba9876543210".repeat(4)),
        command: vec!["/bin/nginx".to_owned(), "-g".to_owned()],
        created_ns: 1_767_323_045_000_000_000,
        labels: options(&[("com.example.team", "blue"), ("tier", "front")]),
        env: ["STAGE=test=1", "SECRET=hush", "odd"].map(str::to_owned).to_vec(),
        host_name: "node1".to_owned(),
        daemon_name: "estiva".to_owned(),
    }
}

pub(crate) fn options(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn stdout(text: impl Into<Vec<u8>>) -> LogLine {
    LogLine { time_ns: TIME_NS, stream: Stream::Stdout, text: text.into(), partial: None }
}

fn stderr(text: impl Into<Vec<u8>>) -> LogLine {
    LogLine { stream: Stream::Stderr, ..stdout(text) }
}

fn driver(name: &str, pairs: &[(&str, &str)]) -> Driver {
    open(name, &options(pairs), &container()).unwrap()
}

/// Bytes that compress to nothing smaller, and that JSON need not escape.
fn noise(count: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        b'0' + u8::try_from((state >> 24) % 64).unwrap()
    };
    (0..count).map(next).map(|byte| if byte == b'\\' { b'~' } else { byte }).collect()
}

/// Sends until it is taken, as a shipper does.
async fn send_until_taken(driver: &mut Driver, line: LogLine) {
    let lines = [line];
    timeout(PATIENCE, async {
        while driver.send(&lines).await.is_err() {
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .unwrap();
}

/// What [`open`] says to options it refuses.
fn refusal(name: &str, pairs: &[(&str, &str)]) -> String {
    open(name, &options(pairs), &container()).unwrap_err().to_string()
}

#[test]
fn a_driver_that_is_none_is_refused() {
    let error = open("awslogs", &options(&[]), &container()).unwrap_err();
    assert!(matches!(&error, OptionError::Driver { driver } if driver == "awslogs"), "{error}");
}

#[test]
fn what_docker_has_for_all_drivers_is_taken() {
    for (name, required) in [
        ("fluentd", ("tag", "x")),
        ("gelf", ("gelf-address", "udp://localhost:1")),
        ("journald", ("tag", "x")),
        ("syslog", ("tag", "x")),
    ] {
        driver(name, &[required, ("mode", "non-blocking"), ("max-buffer-size", "4m")]);
    }
}

#[test]
fn what_is_debugged_has_no_secrets() {
    let pairs = [("splunk-url", "http://localhost:1"), ("splunk-token", "hush-hush"), ("env", "SECRET")];
    let shown = format!("{:?} {:?}", driver("splunk", &pairs), container());
    assert!(!shown.contains("hush"), "{shown}");
}
