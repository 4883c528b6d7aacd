//! `syslog`: RFC 3164 or RFC 5424 over UDP, TCP, TLS or a Unix socket (docs.docker.com/engine/logging/drivers/syslog).

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process;
use std::sync::Arc;

use crate::address::{HostPort, socket_path, unsupported};
use crate::attributes::attributes;
use crate::connection::{Endpoint, Link, WRITE_TIMEOUT};
use crate::container::ContainerInfo;
use crate::datagram::{Datagrams, Target};
use crate::error::{OptionError, SendError};
use crate::line::{LogLine, batches, with_text};
use crate::moment;
use crate::options::{Options, invalid};
use crate::tag::tag;
use crate::tls::Trust;

const NAME: &str = "syslog";
const ADDRESS: &str = "syslog-address";
const FACILITY: &str = "syslog-facility";
const FORMAT: &str = "syslog-format";
const CA: &str = "syslog-tls-ca-cert";
const CERTIFICATE: &str = "syslog-tls-cert";
const KEY: &str = "syslog-tls-key";
const SKIP_VERIFY: &str = "syslog-tls-skip-verify";
const KNOWN: &[&str] = &[
    ADDRESS,
    FACILITY,
    FORMAT,
    CA,
    CERTIFICATE,
    KEY,
    SKIP_VERIFY,
    "env",
    "env-regex",
    "labels",
    "labels-regex",
    "tag",
];
/// Where this machine's own syslog listens.
const LOCAL_SOCKET: &str = "/dev/log";
const DEFAULT_PORT: u16 = 514;
const TLS_SCHEME: &str = "tcp+tls";
/// In the order of their numbers (RFC 5424, 6.2.1); 12 to 15 have no names.
const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "", "", "",
    "", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
];
const DAEMON: u8 = 3;
/// UDP takes no more than 65,507 bytes; what is longer is cut.
const DATAGRAM_BYTES_MAX: usize = 65_000;
/// Written to a stream at one time.
const WRITE_LINES_MAX: usize = 1000;
const WRITE_BYTES_MAX: usize = 256 << 10;

/// The driver.
pub(crate) struct Syslog {
    transport: Transport,
    head: Head,
    framing: Framing,
}

enum Transport {
    Datagrams(Datagrams),
    Stream(Link),
}

/// What stands before a line.
struct Head {
    facility: u8,
    format: Format,
    host: String,
    tag: String,
}

#[derive(Clone, Copy)]
enum Format {
    /// RFC 3164 without the host's name, as it is used within a machine. Docker's default.
    Local,
    Rfc3164,
    Rfc5424,
    Rfc5424Micro,
}

/// How messages are told apart.
#[derive(Clone, Copy)]
enum Framing {
    /// Each ends with a newline.
    Newline,
    /// Each begins with its length (RFC 5425, 4.3).
    Octets,
}

impl Syslog {
    pub fn new(map: &BTreeMap<String, String>, container: &ContainerInfo) -> Result<Self, OptionError> {
        let options = Options::new(NAME, map, KNOWN)?;
        // Syslog has no place for them: they are checked, and that is all, as with Docker.
        attributes(&options, container, str::to_owned)?;
        let format = options.read(FORMAT, format, "invalid syslog format")?.unwrap_or(Format::Local);
        let facility = options.read(FACILITY, facility, "invalid syslog facility")?.unwrap_or(DAEMON);
        let (transport, is_tls) = transport(&options)?;
        let framing = match format {
            Format::Rfc5424 | Format::Rfc5424Micro if is_tls => Framing::Octets,
            _ => Framing::Newline,
        };
        let (host, tag) = (word(&container.host_name), word(&tag(&options, container)?));
        Ok(Self { transport, head: Head { facility, format, host, tag }, framing })
    }

    pub async fn connect(&mut self) -> Result<(), SendError> {
        match &mut self.transport {
            Transport::Datagrams(datagrams) => datagrams.connect().await,
            Transport::Stream(link) => link.connect().await,
        }
    }

    pub async fn send(&mut self, lines: &[LogLine]) -> Result<(), SendError> {
        match &mut self.transport {
            Transport::Datagrams(datagrams) => {
                for line in with_text(lines) {
                    let mut message = self.head.message(line);
                    message.truncate(DATAGRAM_BYTES_MAX);
                    datagrams.send(&self.framing.frame(message)).await?;
                }
            }
            Transport::Stream(link) => {
                for lines in batches(lines, WRITE_LINES_MAX, WRITE_BYTES_MAX, 0) {
                    let frames: Vec<Vec<u8>> =
                        with_text(lines).map(|line| self.framing.frame(self.head.message(line))).collect();
                    link.write(&frames.concat()).await?;
                }
            }
        }
        Ok(())
    }
}

impl Head {
    fn message(&self, line: &LogLine) -> Vec<u8> {
        let Self { facility, format, host, tag } = self;
        let priority = facility * 8 + line.stream.severity();
        let (time_ns, offset) = (line.time_ns, moment::local_offset(line.time_ns));
        let process = process::id();
        let head = match format {
            Format::Local => format!("<{priority}>{} {tag}[{process}]: ", moment::rfc3164(time_ns, offset)),
            Format::Rfc3164 => format!("<{priority}>{} {host} {tag}[{process}]: ", moment::rfc3164(time_ns, offset)),
            Format::Rfc5424 => {
                format!("<{priority}>1 {} {host} {tag} {process} {tag} - ", moment::rfc5424(time_ns, offset))
            }
            Format::Rfc5424Micro => {
                format!("<{priority}>1 {} {host} {tag} {process} {tag} - ", moment::rfc5424_micro(time_ns, offset))
            }
        };
        [head.as_bytes(), line.bytes()].concat()
    }
}

impl Framing {
    fn frame(self, mut message: Vec<u8>) -> Vec<u8> {
        match self {
            Self::Octets => [format!("{} ", message.len()).as_bytes(), &message].concat(),
            Self::Newline => {
                // What is within a line begins no message of its own.
                message.iter_mut().filter(|byte| **byte == b'\n').for_each(|byte| *byte = b' ');
                message.push(b'\n');
                message
            }
        }
    }
}

/// RFC 5424's fields are visible ASCII characters, or a dash.
fn word(text: &str) -> String {
    let visible = |character: char| if character.is_ascii_graphic() { character } else { '_' };
    if text.is_empty() { "-".to_owned() } else { text.chars().map(visible).collect() }
}

fn format(text: &str) -> Option<Format> {
    match text {
        "rfc3164" => Some(Format::Rfc3164),
        "rfc5424" => Some(Format::Rfc5424),
        "rfc5424micro" => Some(Format::Rfc5424Micro),
        _ => None,
    }
}

/// A facility's name or number.
fn facility(text: &str) -> Option<u8> {
    let named = FACILITIES.iter().position(|name| *name == text);
    let number = named.and_then(|number| u8::try_from(number).ok()).or_else(|| text.parse().ok())?;
    (usize::from(number) < FACILITIES.len()).then_some(number)
}

/// The transport, and whether it is TLS.
fn transport(options: &Options<'_>) -> Result<(Transport, bool), OptionError> {
    let unix = |path: PathBuf| Transport::Datagrams(Datagrams::new(Target::Unix(path)));
    let stream = |endpoint| Transport::Stream(Link::new(endpoint, WRITE_TIMEOUT));
    let Some(given) = options.text(ADDRESS) else { return Ok((unix(LOCAL_SOCKET.into()), false)) };
    let (scheme, rest) =
        given.split_once("://").ok_or_else(|| invalid(ADDRESS, "syslog-address should be in form proto://address"))?;
    let wrong = |reason| invalid(ADDRESS, reason);
    let address = || HostPort::parse(rest, None, Some(DEFAULT_PORT)).map_err(wrong);
    let transport = match scheme {
        "udp" => Transport::Datagrams(Datagrams::new(Target::Udp(address()?))),
        "tcp" => stream(Endpoint::Tcp(address()?)),
        TLS_SCHEME => stream(Endpoint::Tls(address()?, Arc::new(trust(options)?.config()?))),
        "unix" => stream(Endpoint::Unix(socket_path(rest).map_err(wrong)?)),
        "unixgram" => unix(socket_path(rest).map_err(wrong)?),
        scheme => return Err(invalid(ADDRESS, unsupported(scheme))),
    };
    Ok((transport, scheme == TLS_SCHEME))
}

fn trust(options: &Options<'_>) -> Result<Trust, OptionError> {
    let file = |option: &'static str| options.path(option).map(|path| (option, path));
    let identity = match (file(CERTIFICATE), file(KEY)) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        (Some(_), None) => return Err(invalid(CERTIFICATE, "syslog-tls-key is missing")),
        (None, Some(_)) => return Err(invalid(KEY, "syslog-tls-cert is missing")),
    };
    // With Docker it is enough that the option is there; here it may say no.
    let skip_verify = options.is_emptied(SKIP_VERIFY) || options.boolean(SKIP_VERIFY, false)?;
    Ok(Trust { authorities: file(CA), skip_verify, identity })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facilities_have_names_and_numbers() {
        assert_eq!((facility("kern"), facility("local7"), facility("12")), (Some(0), Some(23), Some(12)));
        for text in ["24", "-1", "nope", " 1"] {
            assert_eq!(facility(text), None, "{text}");
        }
    }

    #[test]
    fn words_stay_one_word() {
        assert_eq!((word("a b\u{e9}\n"), word("")), ("a_b__".to_owned(), "-".to_owned()));
    }
}
