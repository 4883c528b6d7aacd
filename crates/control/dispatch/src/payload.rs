//! From a task's rows to the task as nodes read it: overrides merged in, the rest as Docker's Config and HostConfig.
//!
//! What tasks are refused for here (`task_definition/unsupported.rs`) has no translation.

mod docker;
mod log;
mod node;
mod volume;

use std::collections::BTreeMap;

use estiva_agent_protocol::task::{
    AsmAuthData, Container, ContainerDependency, Credentials, DockerConfig, ElasticNetworkInterface,
    FirelensConfiguration, Ipv4Assignment, PortMapping, RegistryAuthentication, RestartPolicy, Task,
};
use estiva_api_ecs::types as api;
use estiva_ecs::account_setting;
use estiva_ecs::service::table::GROUP_PREFIX;
use estiva_ecs::task::session;
use estiva_ecs::task::table::{NetworkInterface, TaskRow};
use estiva_ecs::task_definition::table::{TaskDefinitionRow, revision_key};
use estiva_planning::lifecycle::DesiredStatus;
use estiva_store::Snapshot;
use serde::Serialize;

use crate::feeds::Feeds;
pub(crate) use node::Node;

/// The Docker Engine API's version whose names the texts use.
const DOCKER_API_VERSION: &str = "1.24";

/// Where an SDK finds the APIs, for a task that has credentials for them.
const ENDPOINT: &str = "AWS_ENDPOINT_URL";
/// In which words AWS's agent wants to hear that the lines of a container go out as the execution role.
const AS_EXECUTION_ROLE: &str = "ExecutionRole";

/// What a payload depends on besides the task's rows.
struct Context<'a> {
    node: &'a Node,
    /// The account's default.
    log_mode: &'a str,
    /// Gives credentials of a role out, under an id.
    issue: &'a dyn Fn(&str, &str) -> Option<Credentials>,
}

/// The task as its node reads it; `None` if its definition is gone.
pub(crate) fn task(view: &Snapshot, row: &TaskRow, desired: DesiredStatus, node: &Node, feeds: &Feeds) -> Option<Task> {
    let key = revision_key(&row.scope, &row.family, row.revision);
    let definition = &view.get::<TaskDefinitionRow>(&key)?.definition;
    let log_mode = account_setting::of_account(view, &row.scope, api::SettingName::DefaultLogDriverMode);
    // A task that is to end needs none.
    let running = desired == DesiredStatus::Running;
    let issue = |id: &str, role: &str| running.then(|| feeds.credentials(row, id, role)).flatten();
    Some(of_definition(row, definition, desired, &Context { node, log_mode: &log_mode, issue: &issue }))
}

/// A role whose credentials a task's node has.
pub(crate) struct TaskRole {
    /// As the node protocol calls it.
    pub kind: &'static str,
    /// The role's ARN.
    pub arn: String,
    /// Names the credentials on the node.
    pub credentials_id: String,
}

/// The roles whose credentials the task's node has.
pub(crate) fn roles(view: &Snapshot, row: &TaskRow, node: &Node) -> Vec<TaskRole> {
    let key = revision_key(&row.scope, &row.family, row.revision);
    let Some(definition) = view.get::<TaskDefinitionRow>(&key) else { return Vec::new() };
    let definition = &definition.definition;
    task_role(row, definition).into_iter().chain(execution_role(row, definition, node)).collect()
}

/// The role of the task's own, if it has one.
fn task_role(row: &TaskRow, definition: &api::TaskDefinition) -> Option<TaskRole> {
    let arn = session::task_role(row, definition)?.to_owned();
    Some(TaskRole { kind: "TaskApplication", arn, credentials_id: row.credentials_id.clone() })
}

/// The role as which the node does things for the task, if there is something to do.
fn execution_role(row: &TaskRow, definition: &api::TaskDefinition, node: &Node) -> Option<TaskRole> {
    let needed = node.logs_as_execution_role && definition.container_definitions.iter().flatten().any(is_awslogs);
    let arn = session::execution_role(row, definition).filter(|_| needed)?.to_owned();
    // A task of an earlier version has no id for it.
    let credentials_id = Some(row.execution_credentials_id.clone()).filter(|id| !id.is_empty())?;
    Some(TaskRole { kind: "TaskExecution", arn, credentials_id })
}

fn of_definition(
    row: &TaskRow,
    definition: &api::TaskDefinition,
    desired: DesiredStatus,
    context: &Context<'_>,
) -> Task {
    let issue = |role: TaskRole| (context.issue)(&role.credentials_id, &role.arn);
    let execution_role_credentials = execution_role(row, definition, context.node).and_then(issue);
    let logs_auth_strategy = execution_role_credentials.as_ref().map(|_| AS_EXECUTION_ROLE);
    let endpoint = task_role(row, definition).and_then(|_| context.node.endpoint_for_tasks());
    let network_mode = definition.network_mode.unwrap_or(api::NetworkMode::Bridge).as_str();
    let number = |overridden: &Option<String>, defined: &Option<String>| -> Option<i64> {
        overridden.as_ref().or(defined.as_ref())?.parse().ok()
    };
    let cpu_units = number(&row.overrides.cpu, &definition.cpu).and_then(|units| i32::try_from(units).ok());
    let containers = definition.container_definitions.iter().flatten().enumerate();
    Task {
        arn: row.arn(),
        task_cluster_arn: row.scope.arn(format!("cluster/{}", row.cluster)),
        family: row.family.clone(),
        version: row.revision.to_string(),
        desired_status: desired.as_str().to_owned(),
        containers: containers
            .map(|(place, it)| Container {
                logs_auth_strategy: logs_auth_strategy.filter(|_| is_awslogs(it)).map(str::to_owned),
                ..container(row, place, it, network_mode, endpoint, context)
            })
            .collect(),
        volumes: definition.volumes.iter().flatten().map(volume::volume).collect(),
        cpu: cpu_units.map(|units| f64::from(units) / 1024.0),
        memory: number(&row.overrides.memory, &definition.memory),
        network_mode: Some(network_mode.to_owned()),
        pid_mode: definition.pid_mode.map(|mode| mode.as_str().to_owned()),
        ipc_mode: definition.ipc_mode.map(|mode| mode.as_str().to_owned()),
        ephemeral_storage: ephemeral_storage(row, definition),
        zone: Some(row.availability_zone.clone()),
        elastic_network_interfaces: row.network_interface.iter().map(|it| interface(row, it)).collect(),
        role_credentials: task_role(row, definition).and_then(issue),
        execution_role_credentials,
        launch_type: Some(row.launch_type.clone()),
        group: Some(row.group.clone()),
        service_name: row.group.strip_prefix(GROUP_PREFIX).map(str::to_owned),
    }
}

fn container(
    row: &TaskRow,
    place: usize,
    definition: &api::ContainerDefinition,
    network_mode: &str,
    endpoint: Option<&str>,
    context: &Context<'_>,
) -> Container {
    let name = definition.name.clone().unwrap_or_default();
    let own = row.override_of(&name);
    let size = |overridden: fn(&api::ContainerOverride) -> Option<i32>, defined: Option<i32>| {
        i64::from(own.and_then(overridden).or(defined).unwrap_or(0))
    };
    let overridden_command = own.and_then(|it| it.command.clone()).filter(|command| !command.is_empty());
    let mut environment: BTreeMap<_, _> =
        endpoint.map(|url| (ENDPOINT.to_owned(), url.to_owned())).into_iter().collect();
    environment.extend(pairs(definition.environment.as_ref()));
    environment.extend(pairs(own.and_then(|it| it.environment.as_ref())));
    let host_config = docker::host_config(
        definition,
        size(|it| it.memory, definition.memory),
        size(|it| it.memory_reservation, definition.memory_reservation),
        network_mode,
        definition.log_configuration.as_ref().map(|log| log::config(row, &name, log, context)),
    );
    Container {
        image: image(row, &name, definition),
        cpu: size(|it| it.cpu, definition.cpu),
        memory: size(|it| it.memory, definition.memory),
        essential: definition.essential.unwrap_or(true),
        command: overridden_command.or_else(|| definition.command.clone()).unwrap_or_default(),
        entry_point: definition.entry_point.clone().unwrap_or_default(),
        environment,
        port_mappings: definition.port_mappings.iter().flatten().map(port_mapping).collect(),
        mount_points: definition.mount_points.iter().flatten().map(volume::mount_point).collect(),
        volumes_from: definition.volumes_from.iter().flatten().map(volume::volumes_from).collect(),
        links: definition.links.clone().unwrap_or_default(),
        depends_on: definition.depends_on.iter().flatten().map(dependency).collect(),
        health_check_type: definition.health_check.as_ref().map(|_| "docker".to_owned()),
        restart_policy: definition.restart_policy.as_ref().map(restart_policy),
        firelens_configuration: definition.firelens_configuration.as_ref().map(firelens),
        registry_authentication: definition.repository_credentials.as_ref().map(|it| registry_authentication(row, it)),
        start_timeout: definition.start_timeout.and_then(|seconds| u32::try_from(seconds).ok()),
        stop_timeout: definition.stop_timeout.and_then(|seconds| u32::try_from(seconds).ok()),
        container_arn: row.container_arn(place),
        docker_config: DockerConfig {
            config: Some(json(&docker::config(row, definition, &name))),
            host_config: Some(json(&host_config)),
            version: Some(DOCKER_API_VERSION.to_owned()),
        },
        name,
        ..Container::default()
    }
}

fn is_awslogs(definition: &api::ContainerDefinition) -> bool {
    definition.log_configuration.as_ref().is_some_and(|log| log.log_driver == api::LogDriver::Awslogs)
}

/// The image by its digest, once the task's deployment knows it.
fn image(row: &TaskRow, name: &str, definition: &api::ContainerDefinition) -> String {
    let image = definition.image.clone().unwrap_or_default();
    match row.image_digests.get(name).filter(|_| !image.contains('@')) {
        Some(digest) => format!("{image}@{digest}"),
        None => image,
    }
}

/// GiB; an override comes before the task definition. A task on Fargate that says nothing gets what it has of the node.
fn ephemeral_storage(row: &TaskRow, definition: &api::TaskDefinition) -> Option<u64> {
    let storage = row.overrides.ephemeral_storage.as_ref().or(definition.ephemeral_storage.as_ref())?;
    u64::try_from(storage.size_in_gi_b).ok()
}

fn dependency(dependency: &api::ContainerDependency) -> ContainerDependency {
    ContainerDependency {
        container_name: dependency.container_name.clone(),
        condition: dependency.condition.as_str().to_owned(),
    }
}

fn restart_policy(policy: &api::ContainerRestartPolicy) -> RestartPolicy {
    RestartPolicy {
        enabled: policy.enabled,
        ignored_exit_codes: policy.ignored_exit_codes.clone().unwrap_or_default(),
        restart_attempt_period: policy.restart_attempt_period.and_then(|it| u32::try_from(it).ok()).unwrap_or(0),
    }
}

fn firelens(firelens: &api::FirelensConfiguration) -> FirelensConfiguration {
    FirelensConfiguration {
        kind: firelens.r#type.as_str().to_owned(),
        options: firelens.options.clone().unwrap_or_default(),
    }
}

fn registry_authentication(row: &TaskRow, credentials: &api::RepositoryCredentials) -> RegistryAuthentication {
    let secret = &credentials.credentials_parameter;
    let region = secret.split(':').nth(3).filter(|region| !region.is_empty()).unwrap_or(row.scope.region.as_str());
    RegistryAuthentication {
        kind: "asm".to_owned(),
        asm_auth_data: Some(AsmAuthData { credentials_parameter: secret.clone(), region: region.to_owned() }),
    }
}

fn port_mapping(mapping: &api::PortMapping) -> PortMapping {
    let port = |port: Option<i32>| port.and_then(|port| u16::try_from(port).ok()).unwrap_or(0);
    PortMapping {
        container_port: port(mapping.container_port),
        host_port: port(mapping.host_port),
        protocol: mapping.protocol.unwrap_or(api::TransportProtocol::Tcp).as_str().to_owned(),
    }
}

fn interface(row: &TaskRow, interface: &NetworkInterface) -> ElasticNetworkInterface {
    ElasticNetworkInterface {
        ec2_id: interface.id.clone(),
        attachment_arn: row.scope.arn(format!("attachment/{}", interface.attachment_id)),
        mac_address: interface.mac_address.clone(),
        ipv4_addresses: vec![Ipv4Assignment { private_address: interface.private_ipv4_address.clone(), primary: true }],
        subnet_gateway_ipv4_address: interface.gateway.clone(),
        ..ElasticNetworkInterface::default()
    }
}

fn pairs(pairs: Option<&Vec<api::KeyValuePair>>) -> BTreeMap<String, String> {
    let pair = |pair: &api::KeyValuePair| Some((pair.name.clone()?, pair.value.clone().unwrap_or_default()));
    pairs.into_iter().flatten().filter_map(pair).collect()
}

/// These types always encode: maps have string keys, numbers are finite.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

#[cfg(test)]
mod tests;
