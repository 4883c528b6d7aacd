//! DescribeLogStreams.

use std::cmp::Reverse;
use std::sync::Arc;

use estiva_api_logs::Error;
use estiva_api_logs::types::{DescribeLogStreamsRequest, DescribeLogStreamsResponse, LogStream, OrderBy};
use estiva_schema::Request;

use super::table::{LogStreamRow, sequence_token};
use crate::LogsService;
use crate::error::{invalid, invalid_token};
use crate::event::storage::{GroupId, StreamStats};
use crate::group;
use crate::reference::Scope;

/// The largest page, and the one of a caller who says nothing.
const PAGE_MAX: usize = 50;

type Found = (Arc<LogStreamRow>, Option<StreamStats>);

/// Where a stream is among the others: by its last event (0 when names alone count), then by name.
type Place = (i64, String);

/// DescribeLogStreams.
pub(crate) async fn describe(
    service: &LogsService,
    request: Request<DescribeLogStreamsRequest>,
) -> Result<DescribeLogStreamsResponse, Error> {
    let (input, scope) = (&request.input, Scope::of(&request.caller));
    let name = scope.one_group(input.log_group_name.as_deref(), input.log_group_identifier.as_deref())?;
    let by_time = input.order_by == Some(OrderBy::LastEventTime);
    if by_time && input.log_stream_name_prefix.is_some() {
        return Err(invalid("Cannot order by LastEventTime with a logStreamNamePrefix."));
    }
    let view = service.store.view();
    let group = group::find(&view, &scope, &name)?;
    let after = input.next_token.as_deref().map(parse_token).transpose()?;
    let limit = input.limit.map_or(PAGE_MAX, |limit| usize::try_from(limit).unwrap_or(1)).clamp(1, PAGE_MAX);
    let prefix = LogStreamRow::prefix(group.id()) + input.log_stream_name_prefix.as_deref().unwrap_or_default();
    let descending = input.descending.unwrap_or(false);
    let mut found = if by_time {
        let all = with_stats(service, group.id(), view.scan(&prefix).collect()).await?;
        page(all, limit, descending, after.as_ref(), last_event)
    } else {
        let rows = match &after {
            Some((_, name)) if !descending => {
                let after = LogStreamRow::prefix(group.id()) + name;
                view.scan_from(&prefix, &after).take(limit + 1).collect()
            }
            None if !descending => view.scan(&prefix).take(limit + 1).collect(),
            _ => view.scan(&prefix).collect::<Vec<_>>(),
        };
        let rows = rows.into_iter().map(|row| (row, None)).collect();
        let rows = page(rows, limit, descending, after.as_ref(), |_| 0);
        with_stats(service, group.id(), rows.into_iter().map(|(row, _)| row).collect()).await?
    };
    let more = found.len() > limit;
    found.truncate(limit);
    let last = found.last().filter(|_| more);
    let next_token = last.map(|found| token(if by_time { last_event(found) } else { 0 }, &found.0.name));
    let group_arn = scope.group_arn(&group.name);
    let streams = found.iter().map(|(row, stats)| describe_one(row, *stats, &group_arn)).collect();
    Ok(DescribeLogStreamsResponse { log_streams: Some(streams), next_token })
}

/// The streams behind `after`, in order, one more than `limit` of them at most.
fn page(
    found: Vec<Found>,
    limit: usize,
    descending: bool,
    after: Option<&Place>,
    time: impl Fn(&Found) -> i64,
) -> Vec<Found> {
    let place = |found: &Found| (time(found), found.0.name.clone());
    let mut rest: Vec<_> = found.into_iter().map(|found| (place(&found), found)).collect();
    if let Some(after) = after {
        rest.retain(|(place, _)| if descending { place < after } else { place > after });
    }
    if descending {
        rest.sort_unstable_by(|a, b| Reverse(&a.0).cmp(&Reverse(&b.0)));
    } else {
        rest.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    }
    rest.into_iter().take(limit + 1).map(|(_, found)| found).collect()
}

async fn with_stats(service: &LogsService, group: GroupId, rows: Vec<Arc<LogStreamRow>>) -> Result<Vec<Found>, Error> {
    let look = move |engine: &crate::event::storage::Engine| {
        let stats = |row: Arc<LogStreamRow>| engine.stats(group, row.id()).map(|stats| (row, stats));
        rows.into_iter().map(stats).collect::<Result<Vec<_>, _>>()
    };
    service.reading(look).await
}

/// The time of the newest event; streams without events come before all others.
fn last_event((_, stats): &Found) -> i64 {
    stats.and_then(|stats| stats.span).map_or(-1, |(_, newest)| newest)
}

fn token(time: i64, name: &str) -> String {
    format!("{time}/{name}")
}

fn parse_token(token: &str) -> Result<Place, Error> {
    let (time, name) = token.split_once('/').ok_or_else(invalid_token)?;
    Ok((time.parse().map_err(|_| invalid_token())?, name.to_owned()))
}

fn describe_one(row: &LogStreamRow, stats: Option<StreamStats>, group_arn: &str) -> LogStream {
    let span = stats.and_then(|stats| stats.span);
    LogStream {
        arn: Some(format!("{group_arn}:log-stream:{}", row.name)),
        creation_time: Some(row.created.as_millis()),
        first_event_timestamp: span.map(|(oldest, _)| oldest),
        last_event_timestamp: span.map(|(_, newest)| newest),
        last_ingestion_time: stats.and_then(|stats| stats.last_ingestion),
        log_stream_name: Some(row.name.clone()),
        // No longer counted for a stream: always 0.
        stored_bytes: Some(0),
        upload_sequence_token: Some(sequence_token(stats.map_or(0, |stats| stats.events))),
    }
}
