//! RegisterTaskDefinition.

use estiva_api_ecs::Error;
use estiva_api_ecs::types as api;
use estiva_schema::Request;
use estiva_store::Tx;

use super::container::{self, Surroundings};
use super::handlers::to_api;
use super::size::{cpu_units, mebibytes};
use super::table::{FamilyRow, TaskDefinitionRow, TaskDefinitionStatus};
use super::{compatibility, defaults, dependency, fargate, required_attribute, settings, volume};
use crate::EcsService;
use crate::error;
use crate::name;
use crate::scope::Scope;
use crate::tag::Tags;

/// ECS's quota.
const DEFINITION_BYTES_MAX: usize = 64 * 1024;

pub(crate) async fn register(
    service: &EcsService,
    request: Request<api::RegisterTaskDefinitionRequest>,
) -> Result<api::RegisterTaskDefinitionResponse, Error> {
    let Request { input, caller, .. } = request;
    let scope = Scope::of(&caller);
    let tags = Tags::from_request(input.tags.clone())?;
    let definition = checked(input)?;
    let family = definition.family.clone().unwrap_or_default();
    let update = service.store.update(|tx| {
        let revision = next_revision(tx, &scope, &family);
        let row = TaskDefinitionRow {
            scope: scope.clone(),
            family: family.clone(),
            revision,
            status: TaskDefinitionStatus::Active,
            definition: definition.clone(),
            tags: tags.clone(),
            registered_at: service.ambient.now(),
            registered_by: caller.arn(),
            deregistered_at: None,
            delete_requested_at: None,
        };
        Ok::<_, Error>(tx.put(row))
    });
    let row = update.await.map_err(error::update)?;
    Ok(api::RegisterTaskDefinitionResponse { task_definition: Some(to_api(&row)), tags: Some(row.tags.to_api()) })
}

fn next_revision(tx: &mut Tx<'_>, scope: &Scope, family: &str) -> u32 {
    let known = tx.get::<FamilyRow>(&scope.key(&[family]));
    let mut row = known.map_or_else(
        || FamilyRow { scope: scope.clone(), family: family.to_owned(), latest_revision: 0, active_revisions: 0 },
        |row| (*row).clone(),
    );
    row.latest_revision += 1;
    row.active_revisions += 1;
    let revision = row.latest_revision;
    tx.put(row);
    revision
}

/// The definition as it is kept, or why it cannot be one.
fn checked(request: api::RegisterTaskDefinitionRequest) -> Result<api::TaskDefinition, Error> {
    if !name::is_legal(&request.family) {
        return Err(Error::client_exception(
            "Family contains invalid characters or is longer than 255: letters, digits, hyphens and underscores are allowed.",
        ));
    }
    let size = |field: &str, text: Option<&String>, units: fn(&str) -> Option<i64>| match text
        .filter(|text| !text.is_empty())
        .map(|text| units(text))
    {
        Some(None) => Err(Error::client_exception(format!("Invalid '{field}' setting for task."))),
        other => Ok(other.flatten()),
    };
    let cpu = size("cpu", request.cpu.as_ref(), cpu_units)?;
    let memory = size("memory", request.memory.as_ref(), mebibytes)?;
    let network_mode = request.network_mode.unwrap_or(api::NetworkMode::Bridge);
    if request.requires_compatibilities.iter().flatten().any(|it| *it == api::Compatibility::Fargate) {
        fargate::check_required(network_mode, cpu, memory).map_err(Error::client_exception)?;
    }
    let has_execution_role = request.execution_role_arn.as_ref().is_some_and(|role| !role.is_empty());
    let around = Surroundings { network_mode, task_cpu: cpu, task_memory: memory, has_execution_role };
    container::check(&request.container_definitions, &around)?;
    dependency::check(&request.container_definitions)?;
    volume::check(request.volumes.as_deref().unwrap_or_default(), &request.container_definitions)?;
    settings::check(&request)?;
    let mut definition = defaults::filled_in(request, network_mode);
    definition.cpu = cpu.map(|cpu| cpu.to_string());
    definition.memory = memory.map(|memory| memory.to_string());
    definition.compatibilities = Some(compatibility::of(&definition, cpu, memory)?);
    definition.requires_attributes = Some(required_attribute::of(&definition));
    if estiva_schema::json::to_vec(&definition).len() > DEFINITION_BYTES_MAX {
        return Err(Error::client_exception(format!(
            "The task definition is larger than {DEFINITION_BYTES_MAX} bytes."
        )));
    }
    Ok(definition)
}
