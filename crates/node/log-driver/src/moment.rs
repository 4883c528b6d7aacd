//! Times as protocols write them.

use time::format_description::BorrowedFormatItem;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{OffsetDateTime, UtcOffset};

const NS_PER_SECOND: u64 = 1_000_000_000;
const RFC3164: &[BorrowedFormatItem<'_>] =
    format_description!("[month repr:short] [day padding:space] [hour]:[minute]:[second]");
const MICROSECONDS: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]");
const NUMERIC_OFFSET: &[BorrowedFormatItem<'_>] = format_description!("[offset_hour sign:mandatory]:[offset_minute]");

/// RFC 3339 in UTC, with as many digits as it needs: `2026-01-02T03:04:05.6Z`.
pub(crate) fn rfc3339(time_ns: u64) -> String {
    utc(time_ns).format(&Rfc3339).unwrap_or_default()
}

/// RFC 3164's, which does not tell the offset: `Jan  2 03:04:05`.
pub(crate) fn rfc3164(time_ns: u64, offset: UtcOffset) -> String {
    utc(time_ns).to_offset(offset).format(RFC3164).unwrap_or_default()
}

/// RFC 5424's to the second: `2026-01-02T03:04:05+01:00`.
pub(crate) fn rfc5424(time_ns: u64, offset: UtcOffset) -> String {
    utc(time_ns - time_ns % NS_PER_SECOND).to_offset(offset).format(&Rfc3339).unwrap_or_default()
}

/// RFC 5424's to the microsecond, always with six digits: `2026-01-02T03:04:05.600000+01:00`.
pub(crate) fn rfc5424_micro(time_ns: u64, offset: UtcOffset) -> String {
    let time = utc(time_ns).to_offset(offset);
    let zone = if offset.is_utc() { Ok("Z".to_owned()) } else { time.format(NUMERIC_OFFSET) };
    time.format(MICROSECONDS).unwrap_or_default() + &zone.unwrap_or_default()
}

/// Seconds since 1970 with six digits behind the point.
pub(crate) fn seconds_micro(time_ns: u64) -> String {
    format!("{}.{:06}", time_ns / NS_PER_SECOND, time_ns % NS_PER_SECOND / 1000)
}

/// By how much this machine's local time was ahead of UTC. Never by parts of a minute, which RFC 3339 cannot write.
pub(crate) fn local_offset(time_ns: u64) -> UtcOffset {
    let Ok(seconds) = libc::time_t::try_from(time_ns / NS_PER_SECOND) else { return UtcOffset::UTC };
    // SAFETY: all of `tm` are numbers and a pointer, for which zero is a value.
    let mut parts: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are valid for the call, which keeps neither.
    let found = unsafe { libc::localtime_r(&raw const seconds, &raw mut parts) };
    if found.is_null() {
        return UtcOffset::UTC;
    }
    let whole_minutes = i32::try_from(parts.tm_gmtoff / 60 * 60).ok();
    whole_minutes.and_then(|ahead| UtcOffset::from_whole_seconds(ahead).ok()).unwrap_or(UtcOffset::UTC)
}

/// Nanoseconds in 64 bits end in 2554, well within what there are dates for.
fn utc(time_ns: u64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp_nanos(time_ns.into()).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use time::macros::offset;

    use super::*;

    const TIME_NS: u64 = 1_767_323_045_600_000_123;

    #[test]
    fn times_are_written_as_each_rule_says() {
        assert_eq!(rfc3339(TIME_NS), "2026-01-02T03:04:05.600000123Z");
        assert_eq!(rfc3164(TIME_NS, offset!(+1)), "Jan  2 04:04:05");
        assert_eq!(rfc5424(TIME_NS, offset!(-3:30)), "2026-01-01T23:34:05-03:30");
        assert_eq!(rfc5424(TIME_NS, UtcOffset::UTC), "2026-01-02T03:04:05Z");
        assert_eq!(rfc5424_micro(TIME_NS, UtcOffset::UTC), "2026-01-02T03:04:05.600000Z");
        assert_eq!(rfc5424_micro(TIME_NS, offset!(+1)), "2026-01-02T04:04:05.600000+01:00");
        assert_eq!(seconds_micro(TIME_NS), "1767323045.600000");
    }

    #[test]
    fn every_time_can_be_written() {
        for time_ns in [0, 1, u64::MAX] {
            let offset = local_offset(time_ns);
            assert!(!rfc3339(time_ns).is_empty() && rfc3164(time_ns, offset).len() == 15);
            assert!(!rfc5424(time_ns, offset).is_empty() && !rfc5424_micro(time_ns, offset).is_empty());
        }
    }
}
