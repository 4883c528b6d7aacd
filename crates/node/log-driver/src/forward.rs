//! Fluentd's forward protocol, version 1 (github.com/fluent/fluentd/wiki/Forward-Protocol-Specification-v1), as far as
//! a client needs it: messages of the mode PackedForward, and their acknowledgements. It has no I/O.

use std::collections::BTreeMap;
use std::io::{Cursor, Read};

use rmp::decode::{self, ValueReadError};
use rmp::encode::{
    ValueWriteError, write_array_len, write_bin, write_ext_meta, write_map_len, write_str, write_str_len, write_uint,
};

use crate::line::LogLine;

const NS_PER_SECOND: u64 = 1_000_000_000;
/// The type of an extension that is a time with nanoseconds.
const EVENT_TIME: i8 = 0;

/// What all records of one container have in common.
pub(crate) struct Records {
    /// What goes into each record. `log`, `source` and `partial_…` are not among it.
    pub base: BTreeMap<String, String>,
    /// Times have nanoseconds, else seconds.
    pub is_exact: bool,
}

impl Records {
    /// `[tag, entries, {size, chunk}]`; with a chunk the server acknowledges the message.
    pub fn message(&self, tag: &str, lines: &[LogLine], chunk: Option<&str>) -> Result<Vec<u8>, ValueWriteError> {
        let mut entries = Vec::new();
        for line in lines {
            self.entry(&mut entries, line)?;
        }
        let mut message = Vec::with_capacity(entries.len() + tag.len() + 64);
        write_array_len(&mut message, 3)?;
        write_str(&mut message, tag)?;
        write_bin(&mut message, &entries)?;
        write_map_len(&mut message, if chunk.is_some() { 2 } else { 1 })?;
        write_str(&mut message, "size")?;
        write_uint(&mut message, lines.len() as u64)?;
        if let Some(chunk) = chunk {
            pair(&mut message, "chunk", chunk.as_bytes())?;
        }
        Ok(message)
    }

    fn entry(&self, into: &mut Vec<u8>, line: &LogLine) -> Result<(), ValueWriteError> {
        let pairs = self.base.len() + if line.partial.is_some() { 6 } else { 2 };
        write_array_len(into, 2)?;
        self.time(into, line.time_ns)?;
        write_map_len(into, length(pairs))?;
        for (key, value) in &self.base {
            pair(into, key, value.as_bytes())?;
        }
        pair(into, "source", line.stream.name().as_bytes())?;
        // A string, as with Docker, of whatever bytes it has.
        pair(into, "log", line.bytes())?;
        if let Some(partial) = &line.partial {
            pair(into, "partial_message", b"true")?;
            pair(into, "partial_id", partial.id.as_bytes())?;
            pair(into, "partial_ordinal", partial.ordinal.to_string().as_bytes())?;
            pair(into, "partial_last", partial.last.to_string().as_bytes())?;
        }
        Ok(())
    }

    fn time(&self, into: &mut Vec<u8>, time_ns: u64) -> Result<(), ValueWriteError> {
        let (seconds, rest_ns) = (time_ns / NS_PER_SECOND, time_ns % NS_PER_SECOND);
        match (u32::try_from(seconds), u32::try_from(rest_ns)) {
            (Ok(seconds), Ok(rest_ns)) if self.is_exact => {
                write_ext_meta(into, 8, EVENT_TIME)?;
                into.extend(seconds.to_be_bytes());
                into.extend(rest_ns.to_be_bytes());
                Ok(())
            }
            _ => write_uint(into, seconds).map(drop),
        }
    }
}

fn pair(into: &mut Vec<u8>, key: &str, value: &[u8]) -> Result<(), ValueWriteError> {
    write_str(into, key)?;
    write_str_len(into, length(value.len()))?;
    into.extend(value);
    Ok(())
}

/// Lines are cut, and labels are far from 4 GiB.
fn length(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// Whether `answer` acknowledges the chunk; `false` if it is not whole yet.
pub(crate) fn is_acknowledged(answer: &[u8], chunk: &str) -> Result<bool, &'static str> {
    let mut rest = Cursor::new(answer);
    let Some(pairs) = whole(decode::read_map_len(&mut rest))? else { return Ok(false) };
    let mut found = false;
    for _ in 0..pairs {
        let (Some(key), Some(value)) = (text(&mut rest)?, text(&mut rest)?) else { return Ok(false) };
        if key == b"ack" {
            if value != chunk.as_bytes() {
                return Err("it is for another chunk");
            }
            found = true;
        }
    }
    if found { Ok(true) } else { Err("the answer has no ack") }
}

fn text(rest: &mut Cursor<&[u8]>) -> Result<Option<Vec<u8>>, &'static str> {
    let Some(length) = whole(decode::read_str_len(rest))? else { return Ok(None) };
    let mut text = Vec::new();
    let read = rest.by_ref().take(length.into()).read_to_end(&mut text).map_err(|_| "the answer cannot be read")?;
    Ok((read == length as usize).then_some(text))
}

/// `None` if the answer ends too early.
fn whole<T>(value: Result<T, ValueReadError>) -> Result<Option<T>, &'static str> {
    match value {
        Ok(value) => Ok(Some(value)),
        Err(ValueReadError::InvalidMarkerRead(_) | ValueReadError::InvalidDataRead(_)) => Ok(None),
        Err(ValueReadError::TypeMismatch(_)) => Err("the answer is no map of strings"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn answer(pairs: &[(&str, &str)]) -> Vec<u8> {
        let mut answer = Vec::new();
        write_map_len(&mut answer, length(pairs.len())).unwrap();
        for (key, value) in pairs {
            pair(&mut answer, key, value.as_bytes()).unwrap();
        }
        answer
    }

    #[test]
    fn an_acknowledgement_is_recognised_only_whole() {
        let whole = answer(&[("more", "x"), ("ack", "c1")]);
        for end in 0..whole.len() {
            assert_eq!(is_acknowledged(&whole[..end], "c1"), Ok(false), "{end}");
        }
        assert_eq!(is_acknowledged(&whole, "c1"), Ok(true));
        assert_eq!(is_acknowledged(&whole, "c2"), Err("it is for another chunk"));
        assert_eq!(is_acknowledged(&answer(&[]), "c1"), Err("the answer has no ack"));
        assert_eq!(is_acknowledged(b"HTTP/1.1 400", "c1"), Err("the answer is no map of strings"));
    }

    proptest! {
        #[test]
        fn no_answer_panics(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            prop_assert_ne!(is_acknowledged(&bytes, "chunk"), Ok(true));
        }
    }
}
