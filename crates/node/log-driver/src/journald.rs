//! `journald`: this machine's journal (docs.docker.com/engine/logging/drivers/journald) in its own protocol
//! (systemd.io/JOURNAL_NATIVE_PROTOCOL).

use std::collections::BTreeMap;
use std::path::Path;

use crate::attributes::attributes;
use crate::container::ContainerInfo;
use crate::datagram::{Datagrams, Target};
use crate::error::{OptionError, SendError};
use crate::line::LogLine;
use crate::moment;
use crate::options::Options;
use crate::tag::tag;

const NAME: &str = "journald";
const KNOWN: &[&str] = &["env", "env-regex", "labels", "labels-regex", "tag"];
/// Where the journal listens.
pub(crate) const SOCKET: &str = "/run/systemd/journal/socket";
/// The journal ignores fields with longer names.
const NAME_BYTES_MAX: usize = 64;

/// The driver.
pub(crate) struct Journald {
    socket: Datagrams,
    /// Fields that are the same in each entry, as they are sent.
    pub(crate) base: Vec<u8>,
}

impl Journald {
    pub fn new(map: &BTreeMap<String, String>, container: &ContainerInfo, socket: &Path) -> Result<Self, OptionError> {
        let options = Options::new(NAME, map, KNOWN)?;
        let tag = tag(&options, container)?;
        let mut fields = BTreeMap::from([
            ("CONTAINER_ID".to_owned(), container.short_id().to_owned()),
            ("CONTAINER_ID_FULL".to_owned(), container.id.clone()),
            ("CONTAINER_NAME".to_owned(), container.plain_name().to_owned()),
            ("CONTAINER_TAG".to_owned(), tag.clone()),
            ("IMAGE_NAME".to_owned(), container.image_name.clone()),
            ("SYSLOG_IDENTIFIER".to_owned(), tag),
        ]);
        fields.extend(attributes(&options, container, field_name)?);
        // These are the line's.
        fields.retain(|name, _| !matches!(name.as_str(), "MESSAGE" | "PRIORITY" | "SYSLOG_TIMESTAMP"));
        let mut base = Vec::new();
        for (name, value) in &fields {
            field(&mut base, name, value.as_bytes());
        }
        Ok(Self { socket: Datagrams::new(Target::Journal(socket.to_owned())), base })
    }

    pub async fn connect(&mut self) -> Result<(), SendError> {
        self.socket.connect().await
    }

    pub async fn send(&mut self, lines: &[LogLine]) -> Result<(), SendError> {
        for line in lines {
            self.socket.send(&self.entry(line)).await?;
        }
        Ok(())
    }

    fn entry(&self, line: &LogLine) -> Vec<u8> {
        let mut entry = self.base.clone();
        field(&mut entry, "PRIORITY", line.stream.severity().to_string().as_bytes());
        field(&mut entry, "SYSLOG_TIMESTAMP", moment::rfc3339(line.time_ns).as_bytes());
        if let Some(partial) = &line.partial {
            field(&mut entry, "CONTAINER_PARTIAL_ID", partial.id.as_bytes());
            field(&mut entry, "CONTAINER_PARTIAL_ORDINAL", partial.ordinal.to_string().as_bytes());
            field(&mut entry, "CONTAINER_PARTIAL_LAST", partial.last.to_string().as_bytes());
            if !partial.last {
                field(&mut entry, "CONTAINER_PARTIAL_MESSAGE", b"true");
            }
        }
        field(&mut entry, "MESSAGE", line.bytes());
        entry
    }
}

/// `NAME=value`, or, with a newline in the value, name, length and value.
fn field(into: &mut Vec<u8>, name: &str, value: &[u8]) {
    into.extend(name.as_bytes());
    if value.contains(&b'\n') {
        into.push(b'\n');
        into.extend((value.len() as u64).to_le_bytes());
    } else {
        into.push(b'=');
    }
    into.extend(value);
    into.push(b'\n');
}

/// Names are upper-case letters, digits and underscores, of which none comes first.
fn field_name(name: &str) -> String {
    let allowed = |character: char| match character.to_ascii_uppercase() {
        character @ ('A'..='Z' | '0'..='9') => character,
        _ => '_',
    };
    let name: String = name.chars().map(allowed).collect();
    name.trim_start_matches('_').chars().take(NAME_BYTES_MAX).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_become_the_journals() {
        assert_eq!(field_name("com.example.team-1"), "COM_EXAMPLE_TEAM_1");
        assert_eq!(
            (field_name("__x"), field_name("\u{e9}"), field_name("")),
            ("X".into(), String::new(), String::new())
        );
    }

    proptest! {
        #[test]
        fn a_name_never_breaks_out_of_its_field(name in "\\PC{0,80}|[\n=_a]*") {
            let name = field_name(&name);
            prop_assert!(name.len() <= NAME_BYTES_MAX && !name.starts_with('_'));
            prop_assert!(name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_'));
        }
    }
}
