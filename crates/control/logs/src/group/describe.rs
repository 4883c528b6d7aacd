//! DescribeLogGroups.

use std::sync::Arc;

use estiva_api_logs::Error;
use estiva_api_logs::types::{DescribeLogGroupsRequest, DescribeLogGroupsResponse, LogGroup, LogGroupClass};
use estiva_schema::Request;

use super::table::LogGroupRow;
use crate::LogsService;
use crate::error::{invalid, invalid_token};
use crate::reference::{Scope, is_group_name};

/// The largest page, and the one of a caller who says nothing.
const PAGE_MAX: usize = 50;

/// DescribeLogGroups: in order of name. A token is the name of the last group of the page before.
pub(crate) async fn describe(
    service: &LogsService,
    request: Request<DescribeLogGroupsRequest>,
) -> Result<DescribeLogGroupsResponse, Error> {
    let (input, scope) = (&request.input, Scope::of(&request.caller));
    if input.log_group_name_prefix.is_some() && input.log_group_name_pattern.is_some() {
        return Err(invalid("LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters."));
    }
    let limit = input.limit.map_or(PAGE_MAX, |limit| usize::try_from(limit).unwrap_or(1)).clamp(1, PAGE_MAX);
    let mut rows = matching(service, &scope, input)?;
    let next_token = (rows.len() > limit).then(|| rows[limit - 1].name.clone());
    rows.truncate(limit);
    let ids: Vec<_> = rows.iter().map(|row| row.id()).collect();
    let bytes =
        service.blocking(move |engine| ids.into_iter().map(|id| engine.bytes(id)).collect::<Result<Vec<_>, _>>());
    let bytes = bytes.await?;
    // A search by pattern is answered in short.
    let short = input.log_group_name_pattern.is_some();
    let groups = rows.iter().zip(bytes).map(|(row, bytes)| if short { in_short(row) } else { in_full(row, bytes) });
    Ok(DescribeLogGroupsResponse { log_groups: Some(groups.collect()), next_token })
}

/// The groups that are asked for, one more than a page at most.
fn matching(
    service: &LogsService,
    scope: &Scope,
    input: &DescribeLogGroupsRequest,
) -> Result<Vec<Arc<LogGroupRow>>, Error> {
    let view = service.store.view();
    let prefix = scope.prefix();
    let after = match input.next_token.as_deref() {
        None => String::new(),
        Some(token) if is_group_name(token) => format!("{prefix}{token}"),
        Some(_) => return Err(invalid_token()),
    };
    let identifiers = input.log_group_identifiers.iter().flatten().map(|identifier| scope.group_name(identifier));
    let identifiers = identifiers.collect::<Result<Vec<_>, _>>()?;
    let named = |row: &LogGroupRow| input.log_group_identifiers.is_none() || identifiers.contains(&row.name);
    let pattern = input.log_group_name_pattern.as_deref().unwrap_or_default();
    let class = input.log_group_class.map(LogGroupClass::as_str);
    let prefix = prefix + input.log_group_name_prefix.as_deref().unwrap_or_default();
    let rows = view
        .scan_from::<LogGroupRow>(&prefix, &after)
        .filter(|row| named(row) && row.name.contains(pattern) && class.is_none_or(|class| row.class == class));
    Ok(rows.take(PAGE_MAX + 1).collect())
}

fn in_short(row: &LogGroupRow) -> LogGroup {
    let arn = row.scope().group_arn(&row.name);
    LogGroup {
        arn: Some(format!("{arn}:*")),
        creation_time: Some(row.created.as_millis()),
        log_group_arn: Some(arn),
        log_group_name: Some(row.name.clone()),
        ..LogGroup::default()
    }
}

fn in_full(row: &LogGroupRow, bytes: u64) -> LogGroup {
    LogGroup {
        deletion_protection_enabled: Some(row.deletion_protection),
        log_group_class: LogGroupClass::parse(&row.class),
        metric_filter_count: Some(0),
        retention_in_days: row.retention_days,
        stored_bytes: Some(i64::try_from(bytes).unwrap_or(i64::MAX)),
        ..in_short(row)
    }
}
