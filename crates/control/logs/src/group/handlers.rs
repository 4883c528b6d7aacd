//! Creating, changing and deleting log groups.

use estiva_api_logs::Error;
use estiva_api_logs::types::{
    CreateLogGroupRequest, DeleteLogGroupRequest, DeleteRetentionPolicyRequest, LogGroupClass,
    PutLogGroupDeletionProtectionRequest, PutRetentionPolicyRequest,
};
use estiva_schema::{ApiError, Request};
use estiva_store::Row;

use super::table::{LogGroupRow, find_in};
use super::tags;
use crate::LogsService;
use crate::error::{self, invalid};
use crate::reference::{Scope, illegal, is_group_name};
use crate::stream::LogStreamRow;

/// The numbers of days that PutRetentionPolicy takes.
const RETENTION_DAYS: [i32; 22] =
    [1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653];

/// How many groups there are at most: AWS's quota for one account and region.
const GROUPS_MAX: usize = 1_000_000;

/// With so many groups a task makes no more: the rest are its owner's to make.
const GROUPS_MAX_FOR_TASKS: usize = 10_000;

/// CreateLogGroup.
pub(crate) async fn create(service: &LogsService, request: Request<CreateLogGroupRequest>) -> Result<(), Error> {
    let Request { input, caller, .. } = request;
    if !is_group_name(&input.log_group_name) {
        return Err(illegal(&input.log_group_name, "logGroupName", "[\\.\\-_/#A-Za-z0-9]+"));
    }
    service.authorise_group(&caller, "logs:CreateLogGroup", &input.log_group_name)?;
    if input.kms_key_id.is_some() {
        let message = "Estiva does not implement log groups encrypted with a key of KMS yet.";
        return Err(Error::Other(ApiError::new("NotImplemented", message, 501)));
    }
    let scope = Scope::of(&caller);
    let tags = input.tags.unwrap_or_default();
    tags::check(&tags)?;
    let now = service.now();
    if !service.budgets.group(&caller, now) {
        return Err(error::throttled());
    }
    let groups_max = if caller.principal.is_task() { GROUPS_MAX_FOR_TASKS } else { GROUPS_MAX };
    let created = service.store.update(|tx| {
        let row = LogGroupRow {
            account: scope.account,
            region: scope.region,
            name: input.log_group_name,
            created_revision: tx.revision(),
            created: now,
            retention_days: None,
            class: input.log_group_class.unwrap_or(LogGroupClass::Standard).as_str().to_owned(),
            deletion_protection: input.deletion_protection_enabled.unwrap_or(false),
            tags,
        };
        if tx.contains::<LogGroupRow>(&row.key()) {
            return Err(Error::resource_already_exists_exception("The specified log group already exists"));
        }
        if tx.count::<LogGroupRow>() >= groups_max {
            return Err(Error::limit_exceeded_exception("Resource limit exceeded."));
        }
        tx.put(row);
        Ok(())
    });
    created.await.map_err(error::update)
}

/// DeleteLogGroup: its streams and their events go with it.
pub(crate) async fn delete(service: &LogsService, request: Request<DeleteLogGroupRequest>) -> Result<(), Error> {
    let scope = Scope::of(&request.caller);
    let deleted = service.store.update(|tx| {
        let row = find_in(tx, &scope, &request.input.log_group_name)?;
        if row.deletion_protection {
            let message = "The log group cannot be deleted because deletion protection is enabled for it.";
            return Err(Error::validation_exception(message));
        }
        for stream in tx.clone_snapshot().scan::<LogStreamRow>(&LogStreamRow::prefix(row.id())) {
            tx.delete::<LogStreamRow>(&stream.key());
        }
        tx.delete::<LogGroupRow>(&row.key());
        Ok(row.id())
    });
    let id = deleted.await.map_err(error::update)?;
    service.blocking(move |engine| engine.delete_group(id)).await
}

/// PutRetentionPolicy.
pub(crate) async fn put_retention(
    service: &LogsService,
    request: Request<PutRetentionPolicyRequest>,
) -> Result<(), Error> {
    let days = request.input.retention_in_days;
    if !RETENTION_DAYS.contains(&days) {
        let valid = RETENTION_DAYS.map(|days| days.to_string()).join(", ");
        return Err(invalid(format!("Invalid retention value. Valid values are: [{valid}]")));
    }
    let scope = Scope::of(&request.caller);
    change(service, &scope, &request.input.log_group_name, |row| row.retention_days = Some(days)).await
}

/// DeleteRetentionPolicy.
pub(crate) async fn delete_retention(
    service: &LogsService,
    request: Request<DeleteRetentionPolicyRequest>,
) -> Result<(), Error> {
    let scope = Scope::of(&request.caller);
    change(service, &scope, &request.input.log_group_name, |row| row.retention_days = None).await
}

/// PutLogGroupDeletionProtection.
pub(crate) async fn put_deletion_protection(
    service: &LogsService,
    request: Request<PutLogGroupDeletionProtectionRequest>,
) -> Result<(), Error> {
    let scope = Scope::of(&request.caller);
    let name = scope.group_name(&request.input.log_group_identifier)?;
    let enabled = request.input.deletion_protection_enabled;
    change(service, &scope, &name, |row| row.deletion_protection = enabled).await
}

async fn change(
    service: &LogsService,
    scope: &Scope,
    name: &str,
    change: impl FnOnce(&mut LogGroupRow),
) -> Result<(), Error> {
    let changed = service.store.update(|tx| {
        let mut row = find_in(tx, scope, name)?;
        change(&mut row);
        tx.put(row);
        Ok(())
    });
    changed.await.map_err(error::update)
}
