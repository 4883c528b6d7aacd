//! The operations on task definitions.

use std::sync::Arc;

use estiva_api_ecs::Error;
use estiva_api_ecs::types as api;
use estiva_model::Timestamp;
use estiva_schema::Request;
use estiva_store::{Row, Tx};

use super::reference::find;
use super::table::{
    BY_FAMILY_STATUS, BY_STATUS, FamilyRow, TaskDefinitionRow, TaskDefinitionStatus, family_status_value, status_value,
};
use crate::EcsService;
use crate::error::{self, invalid};
use crate::failure::failure;
use crate::name::{self, Revision};
use crate::page::Page;
use crate::scope::Scope;
use crate::task::table::{BY_TASK_DEFINITION, TaskRow};

pub(crate) use super::register::register;

/// DeleteTaskDefinitions takes so many at a time.
const DELETED_MAX: usize = 10;

pub(crate) fn describe(
    service: &EcsService,
    request: &Request<api::DescribeTaskDefinitionRequest>,
) -> Result<api::DescribeTaskDefinitionResponse, Error> {
    let Request { input, caller, .. } = request;
    let view = service.store.view();
    let scope = Scope::of(caller);
    let row = find(&view, &scope, &input.task_definition)?;
    let named = || scope.name_in("task-definition", &input.task_definition).unwrap_or_default();
    let resource = row.as_ref().map_or_else(|| scope.arn(format!("task-definition/{}", named())), |row| row.arn());
    service.access.authorize_on(caller, "ecs:DescribeTaskDefinition", &resource)?;
    let row = row.ok_or_else(unknown)?;
    let with_tags = input.include.iter().flatten().any(|field| *field == api::TaskDefinitionField::Tags);
    let tags = if with_tags { row.tags.to_api() } else { Vec::new() };
    Ok(api::DescribeTaskDefinitionResponse { task_definition: Some(to_api(&row)), tags: Some(tags) })
}

pub(crate) async fn deregister(
    service: &EcsService,
    request: Request<api::DeregisterTaskDefinitionRequest>,
) -> Result<api::DeregisterTaskDefinitionResponse, Error> {
    let Request { input, caller, .. } = request;
    let scope = Scope::of(&caller);
    let with_revision = Revision::parse(scope.name_in("task-definition", &input.task_definition).unwrap_or_default())?;
    if with_revision.revision.is_none() {
        return Err(invalid("Revision is missing."));
    }
    let update = service.store.update(|tx| {
        let row = find(tx, &scope, &input.task_definition)?.ok_or_else(unknown)?;
        if row.status != TaskDefinitionStatus::Active {
            return Ok::<_, Error>(row);
        }
        let mut row = (*row).clone();
        row.status = TaskDefinitionStatus::Inactive;
        row.deregistered_at = Some(service.ambient.now());
        if let Some(family) = tx.get::<FamilyRow>(&scope.key(&[&row.family])) {
            let mut family = (*family).clone();
            family.active_revisions = family.active_revisions.saturating_sub(1);
            tx.put(family);
        }
        Ok(tx.put(row))
    });
    let row = update.await.map_err(error::update)?;
    Ok(api::DeregisterTaskDefinitionResponse { task_definition: Some(to_api(&row)) })
}

pub(crate) async fn delete(
    service: &EcsService,
    request: Request<api::DeleteTaskDefinitionsRequest>,
) -> Result<api::DeleteTaskDefinitionsResponse, Error> {
    let Request { input, caller, .. } = request;
    let scope = Scope::of(&caller);
    match input.task_definitions.len() {
        0 => return Err(invalid("Task definitions cannot be empty.")),
        count if count > DELETED_MAX => {
            return Err(invalid(format!("Task definitions cannot have more than {DELETED_MAX} elements.")));
        }
        _ => {}
    }
    let update = service.store.update(|tx| {
        let (mut rows, mut failures) = (Vec::new(), Vec::new());
        for text in &input.task_definitions {
            match delete_one(tx, &scope, text, service.ambient.now()) {
                Ok(row) => rows.push(row),
                Err(reason) => {
                    let name = scope.name_in("task-definition", text).unwrap_or(text);
                    failures.push(failure(scope.arn(format!("task-definition/{name}")), reason));
                }
            }
        }
        Ok::<_, Error>((rows, failures))
    });
    let (rows, failures) = update.await.map_err(error::update)?;
    let definitions = rows.iter().map(|row| to_api(row)).collect();
    Ok(api::DeleteTaskDefinitionsResponse { task_definitions: Some(definitions), failures: Some(failures) })
}

/// A definition that no task uses goes at once; another with its last task.
fn delete_one(
    tx: &mut Tx<'_>,
    scope: &Scope,
    text: &str,
    now: Timestamp,
) -> Result<Arc<TaskDefinitionRow>, &'static str> {
    let name = scope.name_in("task-definition", text).ok_or("The specified task definition identifier is invalid.")?;
    let reference = Revision::parse(name).map_err(|_| "The specified task definition identifier is invalid.")?;
    if reference.revision.is_none() {
        return Err("The specified task definition identifier is invalid. Specify a valid name or ARN and try again.");
    }
    let missing =
        "The specified task definition does not exist. Specify a valid account, family, revision and try again.";
    let row = find(tx, scope, text).ok().flatten().ok_or(missing)?;
    if row.status == TaskDefinitionStatus::Active {
        return Err(
            "The specified task definition is still in ACTIVE status. Please deregister the target and try again.",
        );
    }
    let mut row = (*row).clone();
    row.status = TaskDefinitionStatus::DeleteInProgress;
    row.delete_requested_at.get_or_insert(now);
    let key = row.key();
    let row = tx.put(row);
    if tx.index_count::<TaskRow>(BY_TASK_DEFINITION, &key) == 0 {
        tx.delete::<TaskDefinitionRow>(&key);
    }
    Ok(row)
}

pub(crate) fn list(
    service: &EcsService,
    request: &Request<api::ListTaskDefinitionsRequest>,
) -> Result<api::ListTaskDefinitionsResponse, Error> {
    let Request { input, caller, .. } = request;
    let scope = Scope::of(caller);
    let view = service.store.view();
    let page = Page::new(service.tokens.of(request), input.next_token.as_deref(), input.max_results)?;
    let status = match input.status.map(api::TaskDefinitionStatus::as_str) {
        Some("INACTIVE") => TaskDefinitionStatus::Inactive,
        Some("DELETE_IN_PROGRESS") => TaskDefinitionStatus::DeleteInProgress,
        _ => TaskDefinitionStatus::Active,
    };
    // In spite of its name the prefix is a whole family's name.
    let (index, value) = match input.family_prefix.as_ref().filter(|family| !family.is_empty()) {
        Some(family) => (BY_FAMILY_STATUS, family_status_value(&scope, family, status)),
        None => (BY_STATUS, status_value(&scope, status)),
    };
    let key = |row: &Arc<TaskDefinitionRow>| row.key();
    let (rows, next_token) = if input.sort == Some(api::SortOrder::Desc) {
        let mut rows: Vec<_> = view.index::<TaskDefinitionRow>(index, &value).collect();
        rows.reverse();
        page.cut(rows.into_iter().filter(|row| page.after.is_empty() || row.key() < page.after), key)
    } else {
        page.cut(view.index_from::<TaskDefinitionRow>(index, &value, &page.after), key)
    };
    let arns = rows.iter().map(|row| row.arn()).collect();
    Ok(api::ListTaskDefinitionsResponse { task_definition_arns: Some(arns), next_token })
}

pub(crate) fn list_families(
    service: &EcsService,
    request: &Request<api::ListTaskDefinitionFamiliesRequest>,
) -> Result<api::ListTaskDefinitionFamiliesResponse, Error> {
    let Request { input, caller, .. } = request;
    let scope = Scope::of(caller);
    let view = service.store.view();
    let page = Page::new(service.tokens.of(request), input.next_token.as_deref(), input.max_results)?;
    let prefix = input.family_prefix.as_deref().unwrap_or_default();
    if !prefix.is_empty() && !name::is_legal(prefix) {
        return Err(invalid(format!("Invalid familyPrefix: {prefix}")));
    }
    let status = input.status.map_or("ACTIVE", |status| status.as_str());
    let wanted = |row: &Arc<FamilyRow>| match status {
        "ALL" => true,
        "INACTIVE" => row.active_revisions == 0,
        _ => row.active_revisions > 0,
    };
    let rows = view.scan_from::<FamilyRow>(&scope.key(&[prefix]), &page.after).filter(wanted);
    let (rows, next_token) = page.cut(rows, |row| row.key());
    let families = rows.iter().map(|row| row.family.clone()).collect();
    Ok(api::ListTaskDefinitionFamiliesResponse { families: Some(families), next_token })
}

/// A task definition as ECS shows it.
pub(super) fn to_api(row: &TaskDefinitionRow) -> api::TaskDefinition {
    api::TaskDefinition {
        task_definition_arn: Some(row.arn()),
        family: Some(row.family.clone()),
        revision: i32::try_from(row.revision).ok(),
        status: api::TaskDefinitionStatus::parse(row.status.as_str()),
        registered_at: Some(row.registered_at),
        registered_by: Some(row.registered_by.clone()),
        deregistered_at: row.deregistered_at,
        delete_requested_at: row.delete_requested_at,
        ..row.definition.clone()
    }
}

fn unknown() -> Error {
    Error::client_exception("Unable to describe task definition.")
}
