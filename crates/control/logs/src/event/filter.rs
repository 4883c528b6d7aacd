//! FilterLogEvents: many streams of a group in one order of time, with a pattern.
//!
//! A poll for what is new (as `aws logs tail --follow` does: the same request again, from the time of the last event seen)
//! costs the streams that have events since then, and of those the last stretch of a file.

use std::ops::Range;

use estiva_api_logs::Error;
use estiva_api_logs::types::{FilterLogEventsRequest, FilterLogEventsResponse, FilteredLogEvent};
use estiva_schema::Request;
use estiva_store::Snapshot;

use super::pattern::Pattern;
use super::storage::{GroupId, Order, Position, Query, StreamId, Streams};
use super::token;
use crate::LogsService;
use crate::error::{invalid, invalid_token};
use crate::reference::Scope;
use crate::stream::LogStreamRow;
use crate::{group, stream};

/// The largest page, and the one of a caller who says nothing.
const PAGE_EVENTS_MAX: usize = 10_000;

/// How many bytes a page has at most.
const PAGE_BYTES_MAX: usize = 1_048_576;

/// After so many bytes of files a page ends, so that a search that finds little is answered in pieces, as it is by AWS.
const SCAN_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// How many streams a request may name.
const STREAM_NAMES_MAX: usize = 100;

/// FilterLogEvents.
pub(crate) async fn filter(
    service: &LogsService,
    request: Request<FilterLogEventsRequest>,
) -> Result<FilterLogEventsResponse, Error> {
    let (input, scope) = (&request.input, Scope::of(&request.caller));
    let name = scope.one_group(input.log_group_name.as_deref(), input.log_group_identifier.as_deref())?;
    let view = service.store.view();
    let group = group::find(&view, &scope, &name)?;
    let only = streams(&view, group.id(), input)?;
    drop(view);
    let pattern = Pattern::parse(input.filter_pattern.as_deref().unwrap_or_default())
        .map_err(|error| invalid(format!("Invalid filter pattern: {error}")))?;
    let kept_from = group.expired_before(service.now()).unwrap_or(0).max(0);
    let from = Position::at(kept_from.max(input.start_time.unwrap_or(0)).min(token::TIME_MAX));
    // The end is inclusive.
    let until = Position::at(input.end_time.map_or(i64::MAX, |end| end.saturating_add(1)));
    let order = if input.start_from_head.unwrap_or(true) { Order::OldestFirst } else { Order::NewestFirst };
    let range = match input.next_token.as_deref() {
        None => from..until,
        Some(token) => rest(token, order, &(from..until))?,
    };
    let limit = input.limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(PAGE_EVENTS_MAX);
    let group = group.id();
    let read = service.reading(move |engine| {
        let query = Query {
            streams: only.as_deref().map_or(Streams::All, Streams::Only),
            range,
            order,
            events_max: limit.clamp(1, PAGE_EVENTS_MAX),
            bytes_max: PAGE_BYTES_MAX,
            scan_bytes_max: SCAN_BYTES_MAX,
            matches: &|message| pattern.matches(message),
        };
        engine.read(group, &query)
    });
    let page = read.await?;
    let next_token = page.rest.map(|rest| match order {
        Order::OldestFirst => token::write(rest.start),
        Order::NewestFirst => token::write(rest.end),
    });
    let view = service.store.view();
    let events = page.events.into_iter().filter_map(|event| {
        // A stream that has been deleted since has no events.
        let stream = stream::name_of(&view, event.position.stream)?;
        Some(FilteredLogEvent {
            event_id: Some(token::write(event.position)),
            ingestion_time: Some(event.ingestion),
            log_stream_name: Some(stream),
            message: Some(event.message),
            timestamp: Some(event.position.timestamp),
        })
    });
    // CloudWatch Logs no longer tells which streams were searched; the list is there, and empty.
    Ok(FilterLogEventsResponse { events: Some(events.collect()), next_token, searched_log_streams: Some(Vec::new()) })
}

/// The streams that are asked for; `None`: all.
fn streams(view: &Snapshot, group: GroupId, input: &FilterLogEventsRequest) -> Result<Option<Vec<StreamId>>, Error> {
    match (&input.log_stream_names, &input.log_stream_name_prefix) {
        (Some(_), Some(_)) => {
            Err(invalid("LogStream names and LogStream name prefix are mutually exclusive parameters."))
        }
        (Some(names), None) if names.len() > STREAM_NAMES_MAX => {
            Err(invalid(format!("At most {STREAM_NAMES_MAX} log streams can be named.")))
        }
        (Some(names), None) => {
            let mut ids = names
                .iter()
                .map(|name| Ok(stream::find(view, group, name)?.id()))
                .collect::<Result<Vec<_>, Error>>()?;
            ids.sort_unstable();
            ids.dedup();
            Ok(Some(ids))
        }
        (None, Some(prefix)) => {
            let rows = view.scan::<LogStreamRow>(&(LogStreamRow::prefix(group) + prefix));
            Ok(Some(rows.map(|row| row.id()).collect()))
        }
        (None, None) => Ok(None),
    }
}

/// What is left of the events asked for, from a token on.
fn rest(token: &str, order: Order, asked: &Range<Position>) -> Result<Range<Position>, Error> {
    let place = token::read(token).ok_or_else(invalid_token)?;
    Ok(match order {
        Order::OldestFirst => asked.start.max(place)..asked.end,
        Order::NewestFirst => asked.start..asked.end.min(place),
    })
}
