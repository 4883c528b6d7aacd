//! `gelf`: the Graylog Extended Log Format 1.1 over UDP or TCP (docs.docker.com/engine/logging/drivers/gelf, and GELF
//! in go2docs.graylog.org).

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::Duration;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::address::{HostPort, unsupported};
use crate::attributes::attributes;
use crate::connection::{Endpoint, Link, WRITE_TIMEOUT};
use crate::container::ContainerInfo;
use crate::datagram::{Datagrams, Target};
use crate::driver::Retries;
use crate::error::{OptionError, SendError};
use crate::line::{LogLine, batches, with_text};
use crate::moment;
use crate::options::{Options, invalid};
use crate::tag::tag;

const NAME: &str = "gelf";
const ADDRESS: &str = "gelf-address";
const COMPRESSION_TYPE: &str = "gelf-compression-type";
const COMPRESSION_LEVEL: &str = "gelf-compression-level";
const MAX_RECONNECT: &str = "gelf-tcp-max-reconnect";
const RECONNECT_DELAY: &str = "gelf-tcp-reconnect-delay";
const KNOWN: &[&str] = &[
    ADDRESS,
    COMPRESSION_TYPE,
    COMPRESSION_LEVEL,
    MAX_RECONNECT,
    RECONNECT_DELAY,
    "env",
    "env-regex",
    "labels",
    "labels-regex",
    "tag",
];
const DEFAULT_RECONNECTS: u32 = 3;
const DEFAULT_RECONNECT_DELAY_SECONDS: u32 = 1;
const NS_PER_MS: u64 = 1_000_000;
/// GELF: datagrams have at most 8192 bytes, of which a chunk's head takes 12, and a message has at most 128 chunks.
const DATAGRAM_BYTES_MAX: usize = 8192;
const CHUNK_MAGIC: [u8; 2] = [0x1e, 0x0f];
const CHUNK_BYTES_MAX: usize = DATAGRAM_BYTES_MAX - 12;
const CHUNKS_MAX: usize = 128;
/// A line that makes too many chunks is cut here: it fits even if each of its bytes becomes six in JSON.
const CUT_BYTES: usize = 128 << 10;
/// Written to TCP at one time.
const WRITE_LINES_MAX: usize = 1000;
const WRITE_BYTES_MAX: usize = 256 << 10;

/// The driver.
pub(crate) struct Gelf {
    transport: Transport,
    /// What is the same in each message.
    base: Map<String, Value>,
    retries: Retries,
}

enum Transport {
    Udp(Datagrams, Packing),
    Tcp(Link),
}

enum Packing {
    None,
    Gzip(Compression),
    Zlib(Compression),
}

impl Gelf {
    pub fn new(map: &BTreeMap<String, String>, container: &ContainerInfo) -> Result<Self, OptionError> {
        let options = Options::new(NAME, map, KNOWN)?;
        let transport = transport(&options)?;
        let seconds: u32 = options.number(RECONNECT_DELAY)?.unwrap_or(DEFAULT_RECONNECT_DELAY_SECONDS);
        let max: u32 = options.number(MAX_RECONNECT)?.unwrap_or(DEFAULT_RECONNECTS);
        let retries = match transport {
            Transport::Udp(..) => Retries::default(),
            Transport::Tcp(_) => Retries { wait: Duration::from_secs(seconds.into()), max: Some(max.into()) },
        };
        Ok(Self { transport, base: base(&options, container)?, retries })
    }

    pub fn retries(&self) -> Retries {
        self.retries
    }

    pub async fn connect(&mut self) -> Result<(), SendError> {
        match &mut self.transport {
            Transport::Udp(datagrams, _) => datagrams.connect().await,
            Transport::Tcp(link) => link.connect().await,
        }
    }

    pub async fn send(&mut self, lines: &[LogLine]) -> Result<(), SendError> {
        match &mut self.transport {
            Transport::Udp(datagrams, packing) => {
                for line in with_text(lines) {
                    let message = packing.fitting(&self.base, line, &datagrams.address())?;
                    for datagram in chunks(&message, Uuid::new_v4().as_u64_pair().0) {
                        datagrams.send(&datagram).await?;
                    }
                }
            }
            Transport::Tcp(link) => {
                for lines in batches(lines, WRITE_LINES_MAX, WRITE_BYTES_MAX, 0) {
                    link.write(&terminated(&self.base, lines)).await?;
                }
            }
        }
        Ok(())
    }
}

fn transport(options: &Options<'_>) -> Result<Transport, OptionError> {
    let (scheme, rest) = options
        .required(ADDRESS)?
        .split_once("://")
        .ok_or_else(|| invalid(ADDRESS, "gelf-address should be in form proto://address"))?;
    let address = || HostPort::parse(rest, None, None).map_err(|reason| invalid(ADDRESS, reason));
    let only = |of: &str, names: [&'static str; 2]| {
        let other = names.into_iter().find(|name| options.text(name).is_some());
        other.map_or(Ok(()), |name| Err(invalid(name, format!("supported for {of} only"))))
    };
    match scheme {
        "udp" => {
            only("TCP", [MAX_RECONNECT, RECONNECT_DELAY])?;
            Ok(Transport::Udp(Datagrams::new(Target::Udp(address()?)), packing(options)?))
        }
        "tcp" => {
            only("UDP", [COMPRESSION_TYPE, COMPRESSION_LEVEL])?;
            Ok(Transport::Tcp(Link::new(Endpoint::Tcp(address()?), WRITE_TIMEOUT)))
        }
        scheme => Err(invalid(ADDRESS, unsupported(scheme))),
    }
}

fn packing(options: &Options<'_>) -> Result<Packing, OptionError> {
    let level = options.compression(COMPRESSION_LEVEL)?.unwrap_or(Compression::fast());
    match options.text(COMPRESSION_TYPE) {
        None | Some("gzip") => Ok(Packing::Gzip(level)),
        Some("zlib") => Ok(Packing::Zlib(level)),
        Some("none") => Ok(Packing::None),
        Some(_) => Err(invalid(COMPRESSION_TYPE, "none of gzip, zlib and none")),
    }
}

fn base(options: &Options<'_>, container: &ContainerInfo) -> Result<Map<String, Value>, OptionError> {
    let mut base = BTreeMap::from([
        ("_container_id".to_owned(), container.id.clone()),
        ("_container_name".to_owned(), container.plain_name().to_owned()),
        ("_image_id".to_owned(), container.image_id.clone()),
        ("_image_name".to_owned(), container.image_name.clone()),
        ("_command".to_owned(), container.command.join(" ")),
        ("_created".to_owned(), moment::rfc3339(container.created_ns)),
        ("_tag".to_owned(), tag(options, container)?),
    ]);
    base.extend(attributes(options, container, field_name)?);
    base.insert("version".to_owned(), "1.1".to_owned());
    base.insert("host".to_owned(), container.host_name.clone());
    Ok(base.into_iter().map(|(key, value)| (key, Value::String(value))).collect())
}

/// Additional fields begin with an underscore; `_id` is none.
fn field_name(name: &str) -> String {
    match name {
        "id" | "_id" => "__id".to_owned(),
        name if name.starts_with('_') => name.to_owned(),
        name => format!("_{name}"),
    }
}

fn json(base: &Map<String, Value>, line: &LogLine, text: &[u8]) -> Vec<u8> {
    let mut message = base.clone();
    message.insert("short_message".to_owned(), String::from_utf8_lossy(text).into());
    message.insert("timestamp".to_owned(), Duration::from_millis(line.time_ns / NS_PER_MS).as_secs_f64().into());
    message.insert("level".to_owned(), line.stream.severity().into());
    Value::Object(message).to_string().into_bytes()
}

/// A NUL ends each message. JSON has none in it, so that a line cannot end its message.
fn terminated(base: &Map<String, Value>, lines: &[LogLine]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for line in with_text(lines) {
        bytes.extend(json(base, line, line.bytes()));
        bytes.push(0);
    }
    bytes
}

impl Packing {
    /// The message, as long as there are chunks for it: else the line is cut.
    fn fitting(&self, base: &Map<String, Value>, line: &LogLine, address: &str) -> Result<Vec<u8>, SendError> {
        let packed = |text| {
            let packed = self.pack(json(base, line, text));
            packed.map_err(|source| SendError::Write { address: address.to_owned(), source })
        };
        let fits = |message: &Vec<u8>| message.len() <= CHUNKS_MAX * CHUNK_BYTES_MAX;
        let whole = packed(line.bytes())?;
        if fits(&whole) {
            return Ok(whole);
        }
        let cut = packed(&line.bytes()[..line.bytes().len().min(CUT_BYTES)])?;
        if fits(&cut) { Ok(cut) } else { Err(SendError::TooLarge { address: address.to_owned(), bytes: cut.len() }) }
    }

    fn pack(&self, json: Vec<u8>) -> io::Result<Vec<u8>> {
        match self {
            Self::None => Ok(json),
            Self::Gzip(level) => {
                let mut encoder = GzEncoder::new(Vec::new(), *level);
                encoder.write_all(&json)?;
                encoder.finish()
            }
            Self::Zlib(level) => {
                let mut encoder = ZlibEncoder::new(Vec::new(), *level);
                encoder.write_all(&json)?;
                encoder.finish()
            }
        }
    }
}

/// The datagrams that carry `message`, which is not longer than [`CHUNKS_MAX`] of them. `id` tells it from others of
/// this sender.
fn chunks(message: &[u8], id: u64) -> Vec<Vec<u8>> {
    if message.len() <= DATAGRAM_BYTES_MAX {
        return vec![message.to_vec()];
    }
    let parts = message.chunks(CHUNK_BYTES_MAX);
    let count = u8::try_from(parts.len()).unwrap_or(u8::MAX);
    let chunk = |(number, part)| [&CHUNK_MAGIC[..], &id.to_be_bytes(), &[number, count], part].concat();
    (0..count).zip(parts).map(chunk).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn chunks_make_the_message_again(message in proptest::collection::vec(any::<u8>(), 0..40_000), id: u64) {
            let chunks = chunks(&message, id);
            prop_assert!(chunks.iter().all(|chunk| chunk.len() <= DATAGRAM_BYTES_MAX));
            if let [only] = &chunks[..] {
                prop_assert_eq!(only, &message);
                return Ok(());
            }
            for (number, chunk) in chunks.iter().enumerate() {
                prop_assert_eq!(&chunk[..2], CHUNK_MAGIC);
                prop_assert_eq!(&chunk[2..10], id.to_be_bytes());
                prop_assert_eq!((usize::from(chunk[10]), usize::from(chunk[11])), (number, chunks.len()));
            }
            prop_assert_eq!(chunks.iter().flat_map(|chunk| chunk[12..].to_vec()).collect::<Vec<_>>(), message);
        }
    }
}
