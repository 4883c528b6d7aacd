//! Numbers and times as text, which all protocols have alike.

use estiva_model::Timestamp;
use time::OffsetDateTime;
use time::format_description::well_known::{Rfc2822, Rfc3339};
use time::macros::format_description;

use crate::TimestampFormat;

/// What JSON and XML write for a number that is none.
pub(crate) fn name_of_non_finite(value: f64) -> Option<&'static str> {
    match value {
        value if value.is_finite() => None,
        f64::INFINITY => Some("Infinity"),
        f64::NEG_INFINITY => Some("-Infinity"),
        _ => Some("NaN"),
    }
}

/// A number as forms and XML have it.
pub(crate) fn write_double(value: f64) -> String {
    name_of_non_finite(value).map_or_else(|| value.to_string(), str::to_owned)
}

pub(crate) fn non_finite_of_name(name: &str) -> Option<f64> {
    match name {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

/// A time as text. Times beyond the year 9999 are written as the last that can be.
pub(crate) fn write_time(time: Timestamp, format: TimestampFormat) -> String {
    if format == TimestampFormat::UnixTimestamp {
        return time.as_secs_f64().to_string();
    }
    let nanos = i128::from(time.as_millis()) * 1_000_000;
    let moment = OffsetDateTime::from_unix_timestamp_nanos(nanos)
        .ok()
        .filter(|moment| (0..=9999).contains(&moment.year()))
        .unwrap_or(time::macros::datetime!(9999-12-31 23:59:59 UTC));
    let written = match format {
        TimestampFormat::Rfc822 => moment.format(format_description!(
            "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
        )),
        _ if moment.millisecond() == 0 => {
            moment.format(format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z"))
        }
        _ => moment.format(format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z")),
    };
    written.unwrap_or_default()
}

/// The time that a text tells.
pub(crate) fn read_time(text: &str, format: TimestampFormat) -> Option<Timestamp> {
    let moment = match format {
        TimestampFormat::UnixTimestamp => {
            return text.parse().ok().filter(|seconds: &f64| seconds.is_finite()).map(Timestamp::from_secs_f64);
        }
        TimestampFormat::Rfc822 => OffsetDateTime::parse(text, &Rfc2822).ok()?,
        TimestampFormat::Default | TimestampFormat::Iso8601 => OffsetDateTime::parse(text, &Rfc3339).ok()?,
    };
    i64::try_from(moment.unix_timestamp_nanos() / 1_000_000).ok().map(Timestamp)
}
