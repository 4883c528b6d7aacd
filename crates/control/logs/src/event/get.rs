//! GetLogEvents: one stream, forwards and backwards.
//!
//! A token is a place between two events. `f/…` goes on with the events after it, `b/…` with those before it; so the end of a
//! stream is where a token leads to itself, and a token of an end shows what came later.

use std::ops::Range;

use estiva_api_logs::Error;
use estiva_api_logs::types::{GetLogEventsRequest, GetLogEventsResponse, OutputLogEvent};
use estiva_schema::Request;

use super::storage::{Event, Order, Position, Query, Streams};
use super::token;
use crate::LogsService;
use crate::error::invalid_token;
use crate::reference::Scope;
use crate::{group, stream};

/// The largest page, and the one of a caller who says nothing.
const PAGE_EVENTS_MAX: usize = 10_000;

/// How many bytes a page has at most.
const PAGE_BYTES_MAX: usize = 1_048_576;

/// GetLogEvents.
pub(crate) async fn get(
    service: &LogsService,
    request: Request<GetLogEventsRequest>,
) -> Result<GetLogEventsResponse, Error> {
    let (input, scope) = (&request.input, Scope::of(&request.caller));
    let name = scope.one_group(input.log_group_name.as_deref(), input.log_group_identifier.as_deref())?;
    let view = service.store.view();
    let group = group::find(&view, &scope, &name)?;
    let stream = stream::find(&view, group.id(), &input.log_stream_name)?;
    drop(view);
    let kept_from = group.expired_before(service.now()).unwrap_or(0).max(0);
    // The end is exclusive.
    let times = kept_from.max(input.start_time.unwrap_or(0)).min(token::TIME_MAX)..input.end_time.unwrap_or(i64::MAX);
    let from = input.next_token.as_deref().map(Token::parse).transpose()?;
    let (order, range) = reach(from, input.start_from_head.unwrap_or(false), &times);
    let limit = input.limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(PAGE_EVENTS_MAX);
    let (group, id, asked) = (group.id(), stream.id(), range.clone());
    let read = service.reading(move |engine| {
        let query = Query {
            streams: Streams::Only(&[id]),
            range: asked,
            order,
            events_max: limit.clamp(1, PAGE_EVENTS_MAX),
            bytes_max: PAGE_BYTES_MAX,
            scan_bytes_max: u64::MAX,
            matches: &|_| true,
        };
        engine.read(group, &query)
    });
    let mut events = read.await?.events;
    if order == Order::NewestFirst {
        events.reverse();
    }
    let (backward, forward) = match (&events[..], from) {
        ([first, .., last], _) => (first.position, last.position.successor()),
        ([only], _) => (only.position, only.position.successor()),
        ([], Some(Token { place, .. })) => (place, place),
        // Nothing yet: what comes is after the start of the time asked for.
        ([], None) => (range.start, range.start),
    };
    Ok(GetLogEventsResponse {
        events: Some(events.into_iter().map(output).collect()),
        next_backward_token: Some(Token { order: Order::NewestFirst, place: backward }.write()),
        next_forward_token: Some(Token { order: Order::OldestFirst, place: forward }.write()),
    })
}

/// From which end the page is taken, and of which events.
fn reach(from: Option<Token>, start_from_head: bool, times: &Range<i64>) -> (Order, Range<Position>) {
    let all = Position::at(times.start)..Position::at(times.end);
    match from {
        None if start_from_head => (Order::OldestFirst, all),
        None => (Order::NewestFirst, all),
        Some(Token { order: Order::OldestFirst, place }) => (Order::OldestFirst, all.start.max(place)..all.end),
        Some(Token { order: Order::NewestFirst, place }) => (Order::NewestFirst, all.start..all.end.min(place)),
    }
}

/// A place in a stream, and which way to go on from it.
#[derive(Debug, Clone, Copy)]
struct Token {
    order: Order,
    place: Position,
}

impl Token {
    fn write(self) -> String {
        let direction = match self.order {
            Order::OldestFirst => 'f',
            Order::NewestFirst => 'b',
        };
        format!("{direction}/{}/s", token::write(self.place))
    }

    fn parse(text: &str) -> Result<Self, Error> {
        let parse = || {
            let (direction, place) = text.strip_suffix("/s")?.split_once('/')?;
            let order = match direction {
                "f" => Order::OldestFirst,
                "b" => Order::NewestFirst,
                _ => return None,
            };
            Some(Self { order, place: token::read(place)? })
        };
        parse().ok_or_else(invalid_token)
    }
}

fn output(event: Event) -> OutputLogEvent {
    OutputLogEvent {
        ingestion_time: Some(event.ingestion),
        message: Some(event.message),
        timestamp: Some(event.position.timestamp),
    }
}
