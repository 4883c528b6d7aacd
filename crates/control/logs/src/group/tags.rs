//! Tags of log groups, under their new names (by ARN) and their old ones (by group name).

use std::collections::BTreeMap;

use estiva_api_logs::Error;
use estiva_api_logs::types::{
    ListTagsForResourceRequest, ListTagsForResourceResponse, ListTagsLogGroupRequest, ListTagsLogGroupResponse,
    TagLogGroupRequest, TagResourceRequest, TooManyTagsException, UntagLogGroupRequest, UntagResourceRequest,
};
use estiva_schema::Request;

use super::table::{find, find_in};
use crate::LogsService;
use crate::error::{self, invalid};
use crate::reference::Scope;

/// How many tags a group has at most.
const TAGS_MAX: usize = 50;

type Tags = BTreeMap<String, String>;

/// TagResource.
pub(crate) async fn tag_resource(service: &LogsService, request: Request<TagResourceRequest>) -> Result<(), Error> {
    let scope = Scope::of(&request.caller);
    let name = group_of(&scope, &request.input.resource_arn)?;
    let arn = request.input.resource_arn;
    let too_many = || {
        let message = Some(format!("The resource cannot have more than {TAGS_MAX} tags."));
        Error::TooManyTagsException(TooManyTagsException { message, resource_name: Some(arn) })
    };
    add(service, &scope, &name, request.input.tags, too_many).await
}

/// TagLogGroup.
pub(crate) async fn tag_log_group(service: &LogsService, request: Request<TagLogGroupRequest>) -> Result<(), Error> {
    let scope = Scope::of(&request.caller);
    let too_many = || invalid(format!("The log group cannot have more than {TAGS_MAX} tags."));
    add(service, &scope, &request.input.log_group_name, request.input.tags, too_many).await
}

/// UntagResource.
pub(crate) async fn untag_resource(service: &LogsService, request: Request<UntagResourceRequest>) -> Result<(), Error> {
    let scope = Scope::of(&request.caller);
    let name = group_of(&scope, &request.input.resource_arn)?;
    remove(service, &scope, &name, &request.input.tag_keys).await
}

/// UntagLogGroup.
pub(crate) async fn untag_log_group(
    service: &LogsService,
    request: Request<UntagLogGroupRequest>,
) -> Result<(), Error> {
    let scope = Scope::of(&request.caller);
    remove(service, &scope, &request.input.log_group_name, &request.input.tags).await
}

/// ListTagsForResource.
pub(crate) fn list_tags_for_resource(
    service: &LogsService,
    request: &Request<ListTagsForResourceRequest>,
) -> Result<ListTagsForResourceResponse, Error> {
    let scope = Scope::of(&request.caller);
    let row = find(&service.store.view(), &scope, &group_of(&scope, &request.input.resource_arn)?)?;
    Ok(ListTagsForResourceResponse { tags: Some(row.tags.clone()) })
}

/// ListTagsLogGroup.
pub(crate) fn list_tags_log_group(
    service: &LogsService,
    request: &Request<ListTagsLogGroupRequest>,
) -> Result<ListTagsLogGroupResponse, Error> {
    let row = find(&service.store.view(), &Scope::of(&request.caller), &request.input.log_group_name)?;
    Ok(ListTagsLogGroupResponse { tags: Some(row.tags.clone()) })
}

/// What every set of tags that a caller gives must be.
pub(crate) fn check(tags: &Tags) -> Result<(), Error> {
    if tags.len() > TAGS_MAX {
        return Err(invalid(format!("The log group cannot have more than {TAGS_MAX} tags.")));
    }
    match tags.keys().find(|key| key.to_ascii_lowercase().starts_with("aws:")) {
        Some(key) => Err(invalid(format!("Tag keys cannot start with 'aws:', which is reserved: {key}"))),
        None => Ok(()),
    }
}

fn group_of(scope: &Scope, arn: &str) -> Result<String, Error> {
    if !arn.starts_with("arn:") {
        return Err(invalid(format!("'{arn}' is not an ARN.")));
    }
    scope.group_name(arn)
}

async fn add(
    service: &LogsService,
    scope: &Scope,
    name: &str,
    tags: Tags,
    too_many: impl FnOnce() -> Error,
) -> Result<(), Error> {
    check(&tags)?;
    let added = service.store.update(|tx| {
        let mut row = find_in(tx, scope, name)?;
        row.tags.extend(tags);
        if row.tags.len() > TAGS_MAX {
            return Err(too_many());
        }
        tx.put(row);
        Ok(())
    });
    added.await.map_err(error::update)
}

async fn remove(service: &LogsService, scope: &Scope, name: &str, keys: &[String]) -> Result<(), Error> {
    let removed = service.store.update(|tx| {
        let mut row = find_in(tx, scope, name)?;
        row.tags.retain(|key, _| !keys.contains(key));
        tx.put(row);
        Ok(())
    });
    removed.await.map_err(error::update)
}
