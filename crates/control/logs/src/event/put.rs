//! PutLogEvents.

use estiva_api_logs::Error;
use estiva_api_logs::types::{InputLogEvent, PutLogEventsRequest, PutLogEventsResponse, RejectedLogEventsInfo};
use estiva_model::Timestamp;
use estiva_schema::Request;
use estiva_store::Row;

use super::storage::{NewEvent, Query};
use crate::LogsService;
use crate::error::{self, invalid};
use crate::reference::Scope;
use crate::stream::{LogStreamRow, sequence_token};
use crate::{group, stream};

/// The largest put: the bytes of all texts, and 26 for each event.
pub(crate) const BATCH_BYTES_MAX: usize = 1_048_576;

/// How many events a put has at most.
const BATCH_EVENTS_MAX: usize = 10_000;

const HOUR_MS: i64 = 60 * 60 * 1000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// The longest time between the first and the last event of a put.
const SPAN_MS_MAX: i64 = DAY_MS;

/// Older events are rejected.
const AGE_MS_MAX: i64 = 14 * DAY_MS;

/// Events that are further in the future are rejected.
const AHEAD_MS_MAX: i64 = 2 * HOUR_MS;

/// PutLogEvents: answered when the events are on the disk.
pub(crate) async fn put(
    service: &LogsService,
    request: Request<PutLogEventsRequest>,
) -> Result<PutLogEventsResponse, Error> {
    let Request { input, caller, .. } = request;
    service.authorise_stream(&caller, "logs:PutLogEvents", &input.log_group_name, &input.log_stream_name)?;
    let view = service.store.view();
    let group = group::find(&view, &Scope::of(&caller), &input.log_group_name)?;
    let stream = stream::find(&view, group.id(), &input.log_stream_name)?;
    drop(view);
    let bytes = check(&input.log_events)?;
    let now = service.now();
    if !service.budgets.put(&caller, group.id(), stream.id(), bytes, now) {
        return Err(error::throttled());
    }
    let (accepted, rejected) = accept(&input.log_events, now, group.expired_before(now));
    let (store, events) = (service.store.clone(), input.log_events);
    let (group, id) = (group.id(), stream.id());
    let stored = service.blocking(move |engine| {
        let alive = || store.view().get::<LogStreamRow>(&stream.key()).is_some_and(|row| row.id() == id);
        let accepted = events[accepted].iter();
        let events: Vec<_> =
            accepted.map(|event| NewEvent { timestamp: event.timestamp, message: &event.message }).collect();
        if !events.is_empty() {
            engine.append(group, id, now.as_millis(), &events, &alive)?;
        }
        Ok(engine.stats(group, id)?.map_or(0, |stats| stats.events))
    });
    let next_sequence_token = Some(sequence_token(stored.await?));
    Ok(PutLogEventsResponse { next_sequence_token, rejected_entity_info: None, rejected_log_events_info: rejected })
}

/// What makes a put wrong as a whole; how many bytes it has.
fn check(events: &[InputLogEvent]) -> Result<usize, Error> {
    if !(1..=BATCH_EVENTS_MAX).contains(&events.len()) {
        let count = events.len();
        return Err(invalid(format!("A put has 1 to {BATCH_EVENTS_MAX} log events, and not {count}.")));
    }
    if events.iter().any(|event| event.message.is_empty()) {
        return Err(invalid("Log events must have a message of at least one character."));
    }
    let bytes = events.iter().map(|event| event.message.len() + Query::EVENT_BYTES).sum::<usize>();
    if bytes > BATCH_BYTES_MAX {
        return Err(invalid(format!("Upload too large: {bytes} bytes exceeds limit of {BATCH_BYTES_MAX}")));
    }
    if events.iter().any(|event| event.timestamp < 0) {
        return Err(invalid("The timestamp of a log event cannot be before 1970."));
    }
    if !events.is_sorted_by_key(|event| event.timestamp) {
        return Err(invalid("Log events in a single PutLogEvents request must be in chronological order."));
    }
    match (events.first(), events.last()) {
        (Some(first), Some(last)) if last.timestamp - first.timestamp > SPAN_MS_MAX => {
            Err(invalid("The batch of log events in a single PutLogEvents request cannot span more than 24 hours."))
        }
        _ => Ok(bytes),
    }
}

/// Which events, in order of time, are stored; and what the caller is told of the others. End indexes are exclusive.
fn accept(
    events: &[InputLogEvent],
    now: Timestamp,
    expired_before: Option<i64>,
) -> (std::ops::Range<usize>, Option<RejectedLogEventsInfo>) {
    let before = |time: i64| events.partition_point(|event| event.timestamp < time);
    let too_old = before(now.as_millis() - AGE_MS_MAX);
    let expired = expired_before.map_or(0, before);
    let too_new = events.partition_point(|event| event.timestamp <= now.as_millis() + AHEAD_MS_MAX);
    let start = too_old.max(expired);
    if start == 0 && too_new == events.len() {
        return (0..events.len(), None);
    }
    let index = |index: usize, present: bool| present.then(|| i32::try_from(index).unwrap_or(i32::MAX));
    let rejected = RejectedLogEventsInfo {
        expired_log_event_end_index: index(expired, expired > 0),
        too_new_log_event_start_index: index(too_new, too_new < events.len()),
        too_old_log_event_end_index: index(too_old, too_old > 0),
    };
    (start..too_new.max(start), Some(rejected))
}
