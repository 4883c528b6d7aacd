//! How far the service's clock is from this machine's: a signature is good for a few minutes of the service's time only, and
//! a machine whose clock is wrong must work all the same.

use std::sync::atomic::{AtomicI64, Ordering};

use bytes::Bytes;
use estiva_model::Timestamp;
use http::Response;
use http::header::DATE;
use tracing::warn;

use crate::sigv4::parse_http_date;

/// Clocks that differ by less are the same: an answer's date has seconds, and is some time under way.
const DIFFERENCE_MIN_MS: i64 = 60_000;

/// What the service's clock is ahead of this machine's, in milliseconds; 0 until it is known to matter.
#[derive(Debug, Default)]
pub(super) struct Offset(AtomicI64);

impl Offset {
    pub fn now(&self) -> Timestamp {
        Timestamp(Timestamp::now().as_millis().saturating_add(self.0.load(Ordering::Relaxed)))
    }

    /// Goes by the clock that an answer shows. Whether that is another one than before.
    pub fn learn(&self, response: &Response<Bytes>) -> bool {
        let date = response.headers().get(DATE).and_then(|date| date.to_str().ok()).and_then(parse_http_date);
        let Some(date) = date else { return false };
        if (date.as_millis() - self.now().as_millis()).abs() < DIFFERENCE_MIN_MS {
            return false;
        }
        let offset = date.as_millis() - Timestamp::now().as_millis();
        let offset = if offset.abs() < DIFFERENCE_MIN_MS { 0 } else { offset };
        warn!(
            offset_s = offset / 1000,
            "the service's clock is ahead of this machine's by so much; its time is used to sign"
        );
        self.0.store(offset, Ordering::Relaxed);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(date: &str) -> Response<Bytes> {
        Response::builder().header(DATE, date).body(Bytes::new()).unwrap()
    }

    #[test]
    fn the_services_clock_is_gone_by_until_it_agrees_again() {
        let clock = Offset::default();
        let ahead_s = |clock: &Offset| (clock.now().as_millis() - Timestamp::now().as_millis()) / 1000;
        let other = answer("Sun, 30 Aug 2015 12:36:00 GMT");
        assert!(clock.learn(&other));
        assert_eq!(clock.now().as_millis() / 10_000, 1_440_938_160_000 / 10_000);
        assert!(!clock.learn(&other), "nothing new: another signature would be refused too");
        let now = time::OffsetDateTime::now_utc().format(&time::format_description::well_known::Rfc2822).unwrap();
        assert!(clock.learn(&answer(&now)));
        assert_eq!(ahead_s(&clock), 0);
        assert!(!clock.learn(&answer(&now)) && !clock.learn(&answer("yesterday")));
        assert!(!clock.learn(&Response::new(Bytes::new())));
        assert_eq!(ahead_s(&clock), 0);
    }
}
