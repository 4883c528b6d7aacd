//! Places in the order of events as callers carry them from one page to the next, and as the ids of events.

use crate::event::storage::{Position, StreamId};

/// The greatest time that an id has room for; a later one is taken for this one.
pub(super) const TIME_MAX: i64 = 9_999_999_999_999_999;

/// 56 digits, as the ids of CloudWatch Logs have: time, stream, number in the stream.
pub(super) fn write(position: Position) -> String {
    let Position { timestamp, stream, sequence } = position;
    format!("{timestamp:016}{:020}{sequence:020}", stream.0)
}

/// What [`write`] wrote.
pub(super) fn read(text: &str) -> Option<Position> {
    if text.len() != 56 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let timestamp = text[..16].parse().ok()?;
    Some(Position { timestamp, stream: StreamId(text[16..36].parse().ok()?), sequence: text[36..].parse().ok()? })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_place_is_read_as_it_was_written(timestamp in 0_i64..=TIME_MAX, stream: u64, sequence: u64) {
            let position = Position { timestamp, stream: StreamId(stream), sequence };
            prop_assert_eq!(read(&write(position)), Some(position));
        }

        #[test]
        fn nothing_else_is_read(text in "[0-9+-]{0,57}") {
            prop_assert!(read(&text).is_none_or(|position| write(position) == text));
        }
    }
}
