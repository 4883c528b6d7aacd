//! Addresses as options give them.

use std::fmt;
use std::path::PathBuf;

/// A host's name or address, and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HostPort {
    /// IPv6 addresses are without their brackets.
    pub host: String,
    pub port: u16,
}

impl HostPort {
    /// `host`, `host:port` or `[address]:port`; either part may be left out if there is a default for it.
    pub fn parse(text: &str, default_host: Option<&str>, default_port: Option<u16>) -> Result<Self, &'static str> {
        if text.contains(['/', '?', '#', '@']) {
            return Err("it should not contain a path element");
        }
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, behind) = rest.split_once(']').ok_or("missing ']' in address")?;
                (host, behind.strip_prefix(':').or(behind.is_empty().then_some("")).ok_or("invalid port")?)
            }
            None => text.split_once(':').unwrap_or((text, "")),
        };
        let host = Some(host).filter(|host| !host.is_empty()).or(default_host).ok_or("the host is missing")?;
        let port = match port {
            "" => default_port.ok_or("missing port in address")?,
            port => port.parse().map_err(|_| "invalid port")?,
        };
        Ok(Self { host: host.to_owned(), port })
    }

    pub fn pair(&self) -> (&str, u16) {
        (&self.host, self.port)
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(formatter, "[{host}]:{port}") } else { write!(formatter, "{host}:{port}") }
    }
}

/// The path behind `unix://`.
pub(crate) fn socket_path(text: &str) -> Result<PathBuf, &'static str> {
    if text.starts_with('/') { Ok(text.into()) } else { Err("path is empty") }
}

pub(crate) fn unsupported(scheme: &str) -> String {
    format!("unsupported scheme: '{scheme}'")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn hosts_and_ports_are_read() {
        for (text, expected) in [
            ("", "127.0.0.1:24224"),
            (":", "127.0.0.1:24224"),
            (":1", "127.0.0.1:1"),
            ("example.com", "example.com:24224"),
            ("example.com:65535", "example.com:65535"),
            ("[::1]", "[::1]:24224"),
            ("[::1]:5", "[::1]:5"),
        ] {
            assert_eq!(HostPort::parse(text, Some("127.0.0.1"), Some(24224)).unwrap().to_string(), expected);
        }
        for text in ["h:65536", "h:-1", "h:x", "[::1", "[::1]x", "::1", "h/path", "h:1/", "user@h"] {
            assert!(HostPort::parse(text, Some("127.0.0.1"), Some(24224)).is_err(), "{text}");
        }
        assert_eq!(HostPort::parse("h", None, None), Err("missing port in address"));
        assert_eq!(HostPort::parse(":1", None, None), Err("the host is missing"));
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_again(host in "[a-z0-9.-]{1,20}|[0-9a-f:]{2,20}", port: u16) {
            let address = HostPort { host, port };
            prop_assert_eq!(HostPort::parse(&address.to_string(), None, None), Ok(address));
        }
    }
}
