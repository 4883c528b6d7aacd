//! Protocols: what a request's and an answer's bytes are.

use estiva_model::Timestamp;
use time::OffsetDateTime;
use time::format_description::well_known::{Rfc2822, Rfc3339};
use time::macros::format_description;

use crate::check::Checks;
use crate::{ApiError, Decode, DecodeError, Encode, OperationSchema, Protocol, ServiceSchema, TimestampFormat};

/// One protocol, both ends of it.
pub trait Codec: std::fmt::Debug + Send + Sync {
    /// Of answers.
    fn content_type(&self) -> &'static str;

    /// Of requests.
    fn request_content_type(&self) -> &'static str;

    /// The error code of a request that is not in this protocol.
    fn malformed_code(&self) -> &'static str;

    /// Server: reads a request's body, noting in `checks` what breaks the model's constraints.
    fn decode_input(
        &self,
        operation: &'static OperationSchema,
        body: &[u8],
        input: &mut dyn Decode,
        checks: &mut Checks,
    ) -> Result<(), DecodeError>;

    /// Server: writes an answer's body.
    fn encode_output(
        &self,
        service: &ServiceSchema,
        operation: &OperationSchema,
        output: &dyn Encode,
        request_id: &str,
    ) -> Vec<u8>;

    /// Server: writes an error's body.
    fn encode_error(&self, error: &ApiError, request_id: &str) -> Vec<u8>;

    /// Client: writes a request's body.
    fn encode_input(&self, service: &ServiceSchema, operation: &OperationSchema, input: &dyn Encode) -> Vec<u8>;

    /// Client: reads an answer's body.
    fn decode_output(
        &self,
        operation: &'static OperationSchema,
        body: &[u8],
        output: &mut dyn Decode,
    ) -> Result<(), DecodeError>;

    /// Client: reads the body of an answer that is an error; its code is empty when the body does not tell.
    fn decode_error(&self, body: &[u8], status: u16) -> ApiError;
}

/// The codec of a protocol.
pub fn of(protocol: Protocol) -> &'static dyn Codec {
    match protocol {
        Protocol::AwsJson10 => &crate::json::AWS_JSON_10,
        Protocol::AwsJson11 => &crate::json::AWS_JSON_11,
        Protocol::Query => &crate::query::QUERY,
    }
}

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
