//! Task definitions as callers refer to them.

use std::sync::Arc;

use estiva_api_ecs::Error;
use estiva_store::Snapshot;

use super::table::{
    BY_FAMILY_STATUS, FamilyRow, TaskDefinitionRow, TaskDefinitionStatus, family_status_value, revision_key,
};
use crate::name::Revision;
use crate::scope::Scope;

/// The task definition that a family, `family:revision` or ARN means; of a family the newest ACTIVE revision.
pub(crate) fn find(view: &Snapshot, scope: &Scope, text: &str) -> Result<Option<Arc<TaskDefinitionRow>>, Error> {
    let invalid = || Error::client_exception(format!("Invalid task definition: {text}"));
    let Revision { family, revision } = Revision::parse(scope.name_in("task-definition", text).ok_or_else(invalid)?)?;
    if let Some(revision) = revision {
        return Ok(view.get::<TaskDefinitionRow>(&revision_key(scope, &family, revision)));
    }
    // Almost always the newest revision is ACTIVE.
    let latest = view.get::<FamilyRow>(&scope.key(&[&family])).map_or(0, |row| row.latest_revision);
    let newest = view.get::<TaskDefinitionRow>(&revision_key(scope, &family, latest));
    if newest.as_ref().is_some_and(|row| row.status == TaskDefinitionStatus::Active) {
        return Ok(newest);
    }
    let value = family_status_value(scope, &family, TaskDefinitionStatus::Active);
    Ok(view.index::<TaskDefinitionRow>(BY_FAMILY_STATUS, &value).max_by_key(|row| row.revision))
}

/// The task definition that new tasks are to be made from.
pub(crate) fn active(view: &Snapshot, scope: &Scope, text: &str) -> Result<Arc<TaskDefinitionRow>, Error> {
    let row = find(view, scope, text)?.ok_or_else(|| Error::client_exception("TaskDefinition not found."))?;
    if row.status != TaskDefinitionStatus::Active {
        return Err(Error::client_exception("TaskDefinition is inactive"));
    }
    Ok(row)
}
