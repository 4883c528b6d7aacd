//! DescribeTasks, and a task as every operation shows it.

use estiva_api_ecs::Error;
use estiva_api_ecs::types as api;
use estiva_model::Timestamp;
use estiva_planning::lifecycle::{self, ContainerState, ContainerStatus, HealthStatus, TaskState, TaskStatus};
use estiva_schema::Request;
use estiva_store::{Row, Snapshot};

use super::node_report::shown_reason;
use super::reference;
use super::table::{NetworkInterface, TaskRow, TaskStatusRow};
use crate::EcsService;
use crate::cluster;
use crate::container_instance::table::ConnectionRow;
use crate::error::invalid;
use crate::exec_session;
use crate::failure::missing;
use crate::scope::Scope;
use crate::task_definition::table::{self as task_definition, TaskDefinitionRow};

/// DescribeTasks takes so many at a time.
const TASKS_MAX: usize = 100;
/// The platform version of Fargate that the newest features of the API belong to.
const PLATFORM_VERSION: &str = "1.4.0";
/// What a Fargate task has of ephemeral storage unless it asks for more, in GiB.
const EPHEMERAL_STORAGE_GIB: i32 = 20;

pub(crate) fn describe(
    service: &EcsService,
    request: &Request<api::DescribeTasksRequest>,
) -> Result<api::DescribeTasksResponse, Error> {
    let Request { input, caller, .. } = request;
    let scope = Scope::of(caller);
    let view = service.store.view();
    reference::authorise(service, caller, "ecs:DescribeTasks", input.cluster.as_deref(), &input.tasks)?;
    let cluster = cluster::active(&view, &scope, input.cluster.as_deref())?;
    match input.tasks.len() {
        0 => return Err(invalid("Tasks cannot be empty.")),
        count if count > TASKS_MAX => {
            return Err(invalid(format!("Tasks cannot have more than {TASKS_MAX} elements.")));
        }
        _ => {}
    }
    let with_tags = input.include.iter().flatten().any(|field| *field == api::TaskField::Tags);
    let (mut tasks, mut failures) = (Vec::new(), Vec::new());
    for text in &input.tasks {
        if let Some(row) = reference::find(&view, &scope, &cluster.name, text)? {
            tasks.push(to_api(&view, &row, with_tags));
            continue;
        }
        failures.push(missing(reference::arn(&scope, &cluster.name, reference::id(&scope, text)?)));
    }
    Ok(api::DescribeTasksResponse { tasks: Some(tasks), failures: Some(failures) })
}

/// A task as ECS shows it.
pub(super) fn to_api(view: &Snapshot, row: &TaskRow, with_tags: bool) -> api::Task {
    let scope = &row.scope;
    let status = view.get::<TaskStatusRow>(&row.key());
    let definition = view.get::<TaskDefinitionRow>(&task_definition::revision_key(scope, &row.family, row.revision));
    let definition = definition.as_ref().map(|row| &row.definition);
    let fargate = row.launch_type == "FARGATE";
    let instance =
        scope.arn(format!("container-instance/{}/{}", row.container_instance_cluster, row.container_instance));
    let state = status.as_ref().map(|row| &row.state);
    let last_status = state.map_or(TaskStatus::Provisioning, |state| state.last_status);
    let containers = state.iter().flat_map(|state| state.containers.iter().enumerate());
    let show = |(place, of_container): (usize, &ContainerState)| {
        let wanted = state.filter(|_| row.enable_execute_command);
        let started_at = wanted.and_then(|state| running_since(state, &of_container.name));
        container(view, row, definition, place, of_container, started_at)
    };
    let architecture = api::Attribute {
        name: "ecs.cpu-architecture".to_owned(),
        value: Some(if std::env::consts::ARCH == "aarch64" { "arm64" } else { "x86_64" }.to_owned()),
        ..api::Attribute::default()
    };
    let sizes = row.sizes(definition);
    let storage = ephemeral_storage(row, definition, fargate);
    let pull_started_at = state.and_then(|state| state.pull_started_at);
    // AWS's agent says when it pulls only if it does.
    let taken_at = pull_started_at.or(state.and_then(|state| state.started_at));
    let connection = connection(view, row, last_status, taken_at);
    api::Task {
        attachments: Some(row.network_interface.iter().map(|it| attachment(it, last_status)).collect()),
        attributes: Some(vec![architecture]),
        availability_zone: Some(row.availability_zone.clone()),
        capacity_provider_name: row.capacity_provider.clone(),
        cluster_arn: Some(scope.arn(format!("cluster/{}", row.cluster))),
        connectivity: connection.as_ref().map(|(connectivity, _)| *connectivity),
        connectivity_at: connection.map(|(_, at)| at),
        container_instance_arn: (!fargate).then_some(instance),
        containers: Some(containers.map(show).collect()),
        cpu: sizes.0.map(|cpu| cpu.to_string()),
        created_at: Some(row.created_at),
        desired_status: Some(row.desired_status.as_str().to_owned()),
        enable_execute_command: Some(row.enable_execute_command),
        ephemeral_storage: storage.clone(),
        fargate_ephemeral_storage: storage
            .filter(|_| fargate)
            .map(|storage| api::TaskEphemeralStorage { size_in_gi_b: Some(storage.size_in_gi_b), kms_key_id: None }),
        execution_stopped_at: state.and_then(|state| state.execution_stopped_at),
        group: Some(row.group.clone()),
        health_status: health(task_health(definition, state)),
        last_status: Some(last_status.as_str().to_owned()),
        launch_type: api::LaunchType::parse(&row.launch_type),
        memory: sizes.1.map(|memory| memory.to_string()),
        overrides: Some(overrides(&row.overrides, definition)),
        platform_family: fargate.then(|| "Linux".to_owned()),
        platform_version: fargate.then(|| PLATFORM_VERSION.to_owned()),
        pull_started_at,
        pull_stopped_at: state.and_then(|state| state.pull_stopped_at),
        started_at: state.and_then(|state| state.started_at),
        started_by: row.started_by.clone(),
        stop_code: row.stop_code.and_then(|code| api::TaskStopCode::parse(code.as_str())),
        stopped_at: state.and_then(|state| state.stopped_at),
        stopped_reason: row.stopped_reason.as_deref().map(shown_reason),
        stopping_at: state.and_then(|state| state.stopping_at),
        tags: Some(if with_tags { row.tags.to_api() } else { Vec::new() }),
        task_arn: Some(row.arn()),
        task_definition_arn: Some(task_definition::arn(scope, &row.family, row.revision)),
        version: state.map(|state| state.version),
        ..api::Task::default()
    }
}

/// Whether the task's agent is there, and since when; nothing before the agent has taken the task. Of a task that has ended it
/// is as it was.
fn connection(
    view: &Snapshot,
    row: &TaskRow,
    last_status: TaskStatus,
    taken_at: Option<Timestamp>,
) -> Option<(api::Connectivity, Timestamp)> {
    let taken_at = taken_at?;
    let connection = view.get::<ConnectionRow>(&row.container_instance_key());
    match connection.filter(|_| last_status != TaskStatus::Stopped) {
        Some(connection) if !connection.connected => Some((api::Connectivity::Disconnected, connection.changed_at)),
        Some(connection) => Some((api::Connectivity::Connected, taken_at.max(connection.changed_at))),
        None => Some((api::Connectivity::Connected, taken_at)),
    }
}

/// The overrides as ECS shows them: an entry for each container, by its name alone if nothing of it is overridden.
fn overrides(overrides: &api::TaskOverride, definition: Option<&api::TaskDefinition>) -> api::TaskOverride {
    let mut shown = overrides.clone();
    shown.inference_accelerator_overrides.get_or_insert_default();
    let of_containers = shown.container_overrides.get_or_insert_default();
    for container in definition.into_iter().flat_map(|it| it.container_definitions.iter().flatten()) {
        if !of_containers.iter().any(|known| known.name == container.name) {
            let name = container.name.clone();
            of_containers.push(api::ContainerOverride { name, ..api::ContainerOverride::default() });
        }
    }
    shown
}

/// Since when a container runs, as far as the task's timeline tells.
fn running_since(state: &TaskState, container: &str) -> Option<Timestamp> {
    let running = ContainerStatus::Running.as_str();
    let mut moments = state.timeline.iter();
    let found = moments.find(|it| it.container.as_deref() == Some(container) && it.status == running);
    found.map(|moment| moment.at)
}

fn container(
    view: &Snapshot,
    row: &TaskRow,
    definition: Option<&api::TaskDefinition>,
    place: usize,
    state: &ContainerState,
    started_at: Option<Timestamp>,
) -> api::Container {
    let definitions = definition.and_then(|definition| definition.container_definitions.as_ref());
    let definition = definitions.into_iter().flatten().find(|it| it.name.as_deref() == Some(&state.name));
    let interface = |interface: &NetworkInterface| api::NetworkInterface {
        attachment_id: Some(interface.attachment_id.clone()),
        private_ipv4_address: Some(interface.private_ipv4_address.clone()),
        ipv6_address: None,
    };
    let text = |number: Option<i32>| number.map(|number| number.to_string());
    let size = |own: fn(&api::ContainerOverride) -> Option<i32>,
                defined: fn(&api::ContainerDefinition) -> Option<i32>| {
        row.override_of(&state.name).and_then(own).or_else(|| definition.and_then(defined))
    };
    let binding = |it: &estiva_planning::lifecycle::NetworkBinding| api::NetworkBinding {
        bind_ip: Some(it.bind_ip.clone()),
        container_port: Some(it.container_port.into()),
        host_port: Some(it.host_port.into()),
        protocol: api::TransportProtocol::parse(&it.protocol),
        ..api::NetworkBinding::default()
    };
    api::Container {
        container_arn: Some(row.container_arn(place)),
        task_arn: Some(row.arn()),
        name: Some(state.name.clone()),
        image: definition.and_then(|it| it.image.clone()),
        image_digest: state.image_digest.clone(),
        runtime_id: state.runtime_id.clone(),
        last_status: Some(state.last_status.as_str().to_owned()),
        exit_code: state.exit_code,
        reason: state.reason.as_deref().map(shown_reason),
        network_bindings: Some(state.network_bindings.iter().map(binding).collect()),
        network_interfaces: Some(row.network_interface.iter().map(interface).collect()),
        health_status: health(state.health),
        managed_agents: row.enable_execute_command.then(|| vec![execute_command_agent(view, row, state, started_at)]),
        cpu: Some(size(|it| it.cpu, |it| it.cpu).unwrap_or(0).to_string()),
        memory: text(size(|it| it.memory, |it| it.memory)),
        memory_reservation: text(size(|it| it.memory_reservation, |it| it.memory_reservation)),
        ..api::Container::default()
    }
}

/// There is no agent in the container: its node's shim runs what ExecuteCommand asks for, as soon as the container runs. A node
/// with AWS's agent has no such shim.
fn execute_command_agent(
    view: &Snapshot,
    row: &TaskRow,
    state: &ContainerState,
    started_at: Option<Timestamp>,
) -> api::ManagedAgent {
    let name = Some(api::ManagedAgentName::ExecuteCommandAgent);
    if !exec_session::is_possible(view, row) {
        let (last_status, reason) = (Some("STOPPED".to_owned()), Some(exec_session::IMPOSSIBLE.to_owned()));
        return api::ManagedAgent { name, last_status, reason, ..api::ManagedAgent::default() };
    }
    let last_status = Some(state.last_status.as_str().to_owned());
    api::ManagedAgent { name, last_status, last_started_at: started_at, ..api::ManagedAgent::default() }
}

fn health(health: HealthStatus) -> Option<api::HealthStatus> {
    api::HealthStatus::parse(health.as_str())
}

/// Whether an essential container has a health check.
pub(crate) fn is_checked(definition: &api::TaskDefinition) -> bool {
    let mut containers = definition.container_definitions.iter().flatten();
    containers.any(|it| it.essential.unwrap_or(true) && it.health_check.is_some())
}

pub(crate) fn task_health(definition: Option<&api::TaskDefinition>, state: Option<&TaskState>) -> HealthStatus {
    let containers = definition.into_iter().flat_map(|it| it.container_definitions.iter().flatten());
    let counts = containers.filter(|it| it.essential.unwrap_or(true) && it.health_check.is_some());
    let of = |definition: &api::ContainerDefinition| {
        let mut containers = state.into_iter().flat_map(|state| &state.containers);
        containers.find(|it| definition.name.as_ref() == Some(&it.name)).map_or(HealthStatus::Unknown, |it| it.health)
    };
    lifecycle::task_health(counts.map(of))
}

fn ephemeral_storage(
    row: &TaskRow,
    definition: Option<&api::TaskDefinition>,
    fargate: bool,
) -> Option<api::EphemeralStorage> {
    let asked = row.overrides.ephemeral_storage.as_ref();
    let asked = asked.or_else(|| definition.and_then(|it| it.ephemeral_storage.as_ref())).cloned();
    asked.or_else(|| fargate.then_some(api::EphemeralStorage { size_in_gi_b: EPHEMERAL_STORAGE_GIB }))
}

fn attachment(interface: &NetworkInterface, status: TaskStatus) -> api::Attachment {
    let detail =
        |name: &str, value: &str| api::KeyValuePair { name: Some(name.to_owned()), value: Some(value.to_owned()) };
    let status = match status {
        TaskStatus::Provisioning => "PRECREATED",
        TaskStatus::Stopped => "DELETED",
        _ => "ATTACHED",
    };
    let dns = format!("ip-{}.ec2.internal", interface.private_ipv4_address.replace('.', "-"));
    api::Attachment {
        id: Some(interface.attachment_id.clone()),
        r#type: Some("ElasticNetworkInterface".to_owned()),
        status: Some(status.to_owned()),
        details: Some(vec![
            detail("subnetId", &interface.subnet),
            detail("networkInterfaceId", &interface.id),
            detail("macAddress", &interface.mac_address),
            detail("privateDnsName", &dns),
            detail("privateIPv4Address", &interface.private_ipv4_address),
        ]),
    }
}
