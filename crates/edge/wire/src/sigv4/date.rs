//! The two forms of time in a signature: ISO 8601 "basic" (`20150830T123600Z`) and, in a `Date` header, RFC 7231.

use estiva_model::Timestamp;
use time::format_description::well_known::Rfc2822;
use time::macros::format_description;
use time::{Date, Month, OffsetDateTime, PrimitiveDateTime, Time};

/// `20150830T123600Z`; `None` for anything else.
pub(crate) fn parse_basic(text: &str) -> Option<Timestamp> {
    let bytes = text.as_bytes();
    if bytes.len() != 16 || bytes[8] != b'T' || bytes[15] != b'Z' {
        return None;
    }
    let number = |range: std::ops::Range<usize>| {
        bytes[range]
            .iter()
            .try_fold(0_u16, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 + u16::from(byte - b'0')))
    };
    let small = |range| number(range).and_then(|value| u8::try_from(value).ok());
    let month = Month::try_from(small(4..6)?).ok()?;
    let date = Date::from_calendar_date(i32::from(number(0..4)?), month, small(6..8)?).ok()?;
    let time = Time::from_hms(small(9..11)?, small(11..13)?, small(13..15)?).ok()?;
    Some(Timestamp(PrimitiveDateTime::new(date, time).assume_utc().unix_timestamp() * 1000))
}

/// `Sun, 30 Aug 2015 12:36:00 GMT`, as a `Date` header carries it.
pub(crate) fn parse_http(text: &str) -> Option<Timestamp> {
    let parsed = OffsetDateTime::parse(text, &Rfc2822).ok()?;
    Some(Timestamp(parsed.unix_timestamp() * 1000))
}

/// `20150830T123600Z`. Times that no calendar can show become 1970.
pub(crate) fn format_basic(timestamp: Timestamp) -> String {
    let format = format_description!("[year][month][day]T[hour][minute][second]Z");
    OffsetDateTime::from_unix_timestamp(timestamp.as_millis().div_euclid(1000))
        .unwrap_or(OffsetDateTime::UNIX_EPOCH)
        .format(&format)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn basic_dates_are_read_and_written_alike() {
        for text in ["20150830T123600Z", "19700101T000000Z", "20240229T235959Z"] {
            assert_eq!(format_basic(parse_basic(text).unwrap()), text);
        }
        assert_eq!(parse_basic("20150830T123600Z"), parse_http("Sun, 30 Aug 2015 12:36:00 GMT"));
    }

    #[test]
    fn what_is_no_date_is_refused() {
        for text in
            ["", "20150830", "20150830T123600", "20150230T123600Z", "2015-08-30T12:36Z", "20150830T123660Z", "２０１５"]
        {
            assert_eq!(parse_basic(text), None, "{text}");
        }
        assert_eq!(parse_http("yesterday"), None);
    }
}
