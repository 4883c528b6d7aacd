//! `fluentd`: over TCP, TLS or a Unix socket to Fluentd or Fluent Bit (docs.docker.com/engine/logging/drivers/fluentd).
//! FireLens is this with a Unix socket and a tag of its own.

use std::collections::BTreeMap;
use std::io;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use uuid::Uuid;

use crate::address::{HostPort, socket_path, unsupported};
use crate::attributes::attributes;
use crate::connection::{Endpoint, Link, WRITE_TIMEOUT};
use crate::container::ContainerInfo;
use crate::driver::Retries;
use crate::error::{OptionError, SendError};
use crate::forward::{Records, is_acknowledged};
use crate::go;
use crate::line::{LogLine, batches};
use crate::options::{Options, invalid};
use crate::tag::tag;
use crate::tls::Trust;

const NAME: &str = "fluentd";
const ADDRESS: &str = "fluentd-address";
const KNOWN: &[&str] = &[
    ADDRESS,
    "fluentd-async",
    "fluentd-async-reconnect-interval",
    "fluentd-buffer-limit",
    "fluentd-max-retries",
    "fluentd-read-timeout",
    "fluentd-request-ack",
    "fluentd-retry-wait",
    "fluentd-sub-second-precision",
    "fluentd-write-timeout",
    "env",
    "env-regex",
    "labels",
    "labels-regex",
    "tag",
];
const DEFAULT_HOST: &str = "127.0.0.1";
const DEFAULT_PORT: u16 = 24224;
/// For an acknowledgement, before which a server may write to its disk.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
const RECONNECT_INTERVAL_MS: RangeInclusive<u128> = 100..=10_000;
/// What goes into one message, which is acknowledged as one.
const MESSAGE_LINES_MAX: usize = 1000;
const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// The driver.
pub(crate) struct Fluentd {
    link: Link,
    tag: String,
    records: Records,
    is_acknowledged: bool,
    answer_timeout: Duration,
    is_async: bool,
    retries: Retries,
}

impl Fluentd {
    pub fn new(map: &BTreeMap<String, String>, container: &ContainerInfo) -> Result<Self, OptionError> {
        let options = Options::new(NAME, map, KNOWN)?;
        // Both are for a queue in memory, which there is not: its size, and how often its connection is made anew.
        options.read("fluentd-buffer-limit", |text| go::is_size(text).then_some(()), "no size, such as 8m")?;
        let interval = |text: &str| go::duration(text).filter(|it| RECONNECT_INTERVAL_MS.contains(&it.as_millis()));
        options.read("fluentd-async-reconnect-interval", interval, "not between 100ms and 10s")?;
        let write_timeout = options.duration("fluentd-write-timeout")?;
        let answer_timeout = options.duration("fluentd-read-timeout")?;
        let is_exact = options.boolean("fluentd-sub-second-precision", false)?;
        Ok(Self {
            link: Link::new(endpoint(&options)?, or_default(write_timeout, WRITE_TIMEOUT)),
            tag: tag(&options, container)?,
            records: Records { base: base(&options, container)?, is_exact },
            is_acknowledged: options.boolean("fluentd-request-ack", false)?,
            answer_timeout: or_default(answer_timeout, ANSWER_TIMEOUT),
            is_async: options.boolean("fluentd-async", false)?,
            retries: Retries {
                wait: options.duration("fluentd-retry-wait")?.unwrap_or(Retries::default().wait),
                max: options.number("fluentd-max-retries")?,
            },
        })
    }

    pub fn connects_at_start(&self) -> bool {
        !self.is_async
    }

    pub fn retries(&self) -> Retries {
        self.retries
    }

    pub async fn connect(&mut self) -> Result<(), SendError> {
        self.link.connect().await
    }

    pub async fn send(&mut self, lines: &[LogLine]) -> Result<(), SendError> {
        for lines in batches(lines, MESSAGE_LINES_MAX, MESSAGE_BYTES_MAX, 0) {
            let chunk = self.is_acknowledged.then(|| STANDARD.encode(Uuid::new_v4().as_bytes()));
            let message = self.records.message(&self.tag, lines, chunk.as_deref());
            let message = message.map_err(|error| self.link.broken(io::Error::other(error)))?;
            match chunk {
                None => self.link.write(&message).await?,
                Some(chunk) => {
                    let is_whole = |answer: &[u8]| is_acknowledged(answer, &chunk);
                    self.link.exchange(&message, self.answer_timeout, is_whole).await?;
                }
            }
        }
        Ok(())
    }
}

/// What is in each record besides the line's own.
fn base(options: &Options<'_>, container: &ContainerInfo) -> Result<BTreeMap<String, String>, OptionError> {
    let mut base = BTreeMap::from([
        ("container_id".to_owned(), container.id.clone()),
        ("container_name".to_owned(), container.name.clone()),
    ]);
    base.extend(attributes(options, container, str::to_owned)?);
    base.retain(|key, _| !matches!(key.as_str(), "log" | "source") && !key.starts_with("partial_"));
    Ok(base)
}

/// With Docker 0 means for ever; nothing waits for ever here.
fn or_default(given: Option<Duration>, default: Duration) -> Duration {
    given.filter(|given| !given.is_zero()).unwrap_or(default)
}

fn endpoint(options: &Options<'_>) -> Result<Endpoint, OptionError> {
    let text = options.text(ADDRESS).unwrap_or_default();
    let (scheme, rest) = text.split_once("://").unwrap_or(("tcp", text));
    let wrong = |reason| invalid(ADDRESS, reason);
    let address = || HostPort::parse(rest, Some(DEFAULT_HOST), Some(DEFAULT_PORT)).map_err(wrong);
    match scheme {
        "tcp" => Ok(Endpoint::Tcp(address()?)),
        "tls" => Ok(Endpoint::Tls(address()?, Arc::new(Trust::default().config()?))),
        "unix" => socket_path(rest).map(Endpoint::Unix).map_err(wrong),
        "" => Err(invalid(ADDRESS, "missing protocol scheme")),
        scheme => Err(invalid(ADDRESS, unsupported(scheme))),
    }
}
