//! ExecuteCommand.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use estiva_api_ecs::Error;
use estiva_api_ecs::types as api;
use estiva_model::hex_id;
use estiva_planning::lifecycle::{ContainerStatus, DesiredStatus, Moment, TaskStatus};
use estiva_schema::Request;
use estiva_store::{Row, Snapshot};
use rand::RngExt;
use zeroize::Zeroizing;

use super::table::ExecSessionRow;
use super::{hash, is_possible};
use crate::EcsService;
use crate::cluster::{self, table::ClusterRow};
use crate::container_instance::table::ConnectionRow;
use crate::error::{self, invalid};
use crate::scope::Scope;
use crate::task::table::{TaskRow, TaskStatusRow};
use crate::task::{end, reference};
use crate::task_definition::table::{TaskDefinitionRow, revision_key};

/// ECS takes no more of a command.
const COMMAND_BYTES_MAX: usize = 4096;

pub(crate) async fn execute(
    service: &EcsService,
    request: Request<api::ExecuteCommandRequest>,
) -> Result<api::ExecuteCommandResponse, Error> {
    let Request { input, caller, .. } = request;
    let scope = Scope::of(&caller);
    if !input.interactive {
        return Err(invalid("Interactive is the only mode supported currently."));
    }
    if input.command.trim().is_empty() || input.command.len() > COMMAND_BYTES_MAX {
        return Err(invalid(format!("command: 1 to {COMMAND_BYTES_MAX} bytes are allowed.")));
    }
    let random: [u8; 32] = service.ambient.rng().random();
    let token = Zeroizing::new(URL_SAFE_NO_PAD.encode(random));
    let id = format!("ecs-execute-command-{}", hex_id(&mut service.ambient.rng(), 17));
    let update = service.store.update(|tx| {
        let cluster = cluster::active(tx, &scope, input.cluster.as_deref())?;
        let task = reference::find(tx, &scope, &cluster.name, &input.task)?;
        let task = task.ok_or_else(|| invalid("The referenced task was not found."))?;
        let (place, container) = target(tx, &task, input.container.as_deref())?;
        let row = ExecSessionRow {
            scope: scope.clone(),
            id: id.clone(),
            task_arn: task.arn(),
            container_instance_key: task.container_instance_key(),
            container: container.clone(),
            command: input.command.clone(),
            token_sha256: hash(&token),
            opened: false,
            log_group: log_group(tx, &cluster, &task, &container),
            created_at: service.ambient.now(),
        };
        tx.put(row);
        let reason = format!("{} by {}, session {id}", input.command, caller.arn());
        let moment = Moment {
            at: service.ambient.now(),
            container: Some(container.clone()),
            status: "EXECUTE_COMMAND".to_owned(),
            exit_code: None,
            reason: Some(reason),
        };
        end::note(tx, &task, moment);
        Ok::<_, Error>((cluster.name.clone(), task.arn(), task.container_arn(place), container))
    });
    let (cluster, task_arn, container_arn, container) = update.await.map_err(error::update)?;
    tracing::info!(task = task_arn, container, session = id, caller = caller.arn(), "a session was asked for");
    let websocket = service.options.endpoint.replacen("http", "ws", 1);
    Ok(api::ExecuteCommandResponse {
        cluster_arn: Some(scope.arn(format!("cluster/{cluster}"))),
        container_arn: Some(container_arn),
        container_name: Some(container),
        interactive: Some(true),
        session: Some(api::Session {
            stream_url: Some(format!("{websocket}/v1/data-channel/{id}?role=publish_subscribe")),
            session_id: Some(id),
            token_value: Some((*token).clone()),
        }),
        task_arn: Some(task_arn),
    })
}

/// The place and name of the container that is meant, if a program can be run in it.
fn target(view: &Snapshot, task: &TaskRow, name: Option<&str>) -> Result<(usize, String), Error> {
    let status = view.get::<TaskStatusRow>(&task.key());
    let state = status.as_ref().map(|row| &row.state);
    let running = state.is_some_and(|state| state.last_status != TaskStatus::Stopped);
    if !running || task.desired_status == DesiredStatus::Stopped {
        return Err(invalid("The specified task is not running."));
    }
    if !task.enable_execute_command || !is_possible(view, task) {
        return Err(invalid(
            "The execute command failed because execute command was not enabled when the task was run or the execute \
             command agent isn\u{2019}t running. Wait and try again or run a new task with execute command enabled and try again.",
        ));
    }
    let containers = state.map(|state| state.containers.as_slice()).unwrap_or_default();
    let place = match (name.filter(|name| !name.is_empty()), containers) {
        (Some(name), _) => containers.iter().position(|it| it.name == name),
        (None, [_]) => Some(0),
        (None, _) => return Err(invalid("container: must be given for a task with several containers.")),
    };
    let found = place.and_then(|place| Some((place, containers.get(place)?)));
    let (place, container) = found.ok_or_else(|| invalid("The referenced container was not found in the task."))?;
    let connection = view.get::<ConnectionRow>(&task.container_instance_key());
    if container.last_status != ContainerStatus::Running || connection.is_none_or(|connection| !connection.connected) {
        return Err(Error::target_not_connected_exception(
            "The execute command failed due to an internal error: the container does not run, or its node is not connected. \
             Try again later.",
        ));
    }
    Ok((place, container.name.clone()))
}

/// Where the output goes besides to the caller: what the cluster says, or else the container's own awslogs group.
fn log_group(view: &Snapshot, cluster: &ClusterRow, task: &TaskRow, container: &str) -> Option<String> {
    let configuration = cluster.configuration.as_ref().and_then(|it| it.execute_command_configuration.as_ref());
    match configuration.and_then(|it| it.logging).unwrap_or(api::ExecuteCommandLogging::Default) {
        api::ExecuteCommandLogging::None => None,
        api::ExecuteCommandLogging::Override => {
            configuration?.log_configuration.as_ref()?.cloud_watch_log_group_name.clone()
        }
        api::ExecuteCommandLogging::Default => {
            let row = view.get::<TaskDefinitionRow>(&revision_key(&task.scope, &task.family, task.revision))?;
            let mut containers = row.definition.container_definitions.iter().flatten();
            let definition = containers.find(|it| it.name.as_deref() == Some(container))?;
            let log = definition.log_configuration.as_ref()?;
            (log.log_driver == api::LogDriver::Awslogs).then(|| log.options.as_ref()?.get("awslogs-group").cloned())?
        }
    }
}
