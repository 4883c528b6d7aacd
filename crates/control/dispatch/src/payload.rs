//! From a task's rows to the task as nodes read it: overrides merged in, the rest as Docker's Config and HostConfig.
//!
//! What ECS refuses to register here (volumes, secrets, health checks, …) has no translation; credentials come with roles.

use std::collections::BTreeMap;

use estiva_agent_protocol::task::docker::{Config, DeviceMapping, HostConfig, LogConfig, Ulimit};
use estiva_agent_protocol::task::{
    Container, DockerConfig, ElasticNetworkInterface, Ipv4Assignment, PortMapping, Task,
};
use estiva_api_ecs::types as api;
use estiva_ecs::account_setting;
use estiva_ecs::task::table::{NetworkInterface, TaskRow};
use estiva_ecs::task_definition::table::{TaskDefinitionRow, revision_key};
use estiva_planning::lifecycle::DesiredStatus;
use estiva_store::Snapshot;
use serde::Serialize;

/// The Docker Engine API's version whose names the texts use.
const DOCKER_API_VERSION: &str = "1.24";
const MIB: i64 = 1 << 20;

/// The task as its node reads it; `None` if its definition is gone.
pub(crate) fn task(view: &Snapshot, row: &TaskRow, desired: DesiredStatus) -> Option<Task> {
    let key = revision_key(&row.scope, &row.family, row.revision);
    let definition = &view.get::<TaskDefinitionRow>(&key)?.definition;
    let log_mode = account_setting::of_account(view, &row.scope, api::SettingName::DefaultLogDriverMode);
    Some(of_definition(row, definition, desired, &log_mode))
}

fn of_definition(row: &TaskRow, definition: &api::TaskDefinition, desired: DesiredStatus, log_mode: &str) -> Task {
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
        containers: containers.map(|(place, it)| container(row, place, it, network_mode, log_mode)).collect(),
        cpu: cpu_units.map(|units| f64::from(units) / 1024.0),
        memory: number(&row.overrides.memory, &definition.memory),
        network_mode: Some(network_mode.to_owned()),
        pid_mode: definition.pid_mode.map(|mode| mode.as_str().to_owned()),
        ipc_mode: definition.ipc_mode.map(|mode| mode.as_str().to_owned()),
        elastic_network_interfaces: row.network_interface.iter().map(|it| interface(row, it)).collect(),
        launch_type: Some(row.launch_type.clone()),
        group: Some(row.group.clone()),
        ..Task::default()
    }
}

fn container(
    row: &TaskRow,
    place: usize,
    definition: &api::ContainerDefinition,
    network_mode: &str,
    log_mode: &str,
) -> Container {
    let name = definition.name.clone().unwrap_or_default();
    let own = row.override_of(&name);
    let size = |overridden: fn(&api::ContainerOverride) -> Option<i32>, defined: Option<i32>| {
        i64::from(own.and_then(overridden).or(defined).unwrap_or(0))
    };
    let overridden_command = own.and_then(|it| it.command.clone()).filter(|command| !command.is_empty());
    let mut environment = pairs(definition.environment.as_ref());
    environment.extend(pairs(own.and_then(|it| it.environment.as_ref())));
    let host_config = host_config(
        definition,
        size(|it| it.memory_reservation, definition.memory_reservation),
        network_mode,
        log_mode,
    );
    Container {
        image: definition.image.clone().unwrap_or_default(),
        cpu: size(|it| it.cpu, definition.cpu),
        memory: size(|it| it.memory, definition.memory),
        essential: definition.essential.unwrap_or(true),
        command: overridden_command.or_else(|| definition.command.clone()).unwrap_or_default(),
        entry_point: definition.entry_point.clone().unwrap_or_default(),
        environment,
        port_mappings: definition.port_mappings.iter().flatten().map(port_mapping).collect(),
        stop_timeout: definition.stop_timeout.and_then(|seconds| u32::try_from(seconds).ok()),
        container_arn: row.container_arn(place),
        docker_config: DockerConfig {
            config: Some(json(&config(row, definition, &name))),
            host_config: Some(json(&host_config)),
            version: Some(DOCKER_API_VERSION.to_owned()),
        },
        name,
        ..Container::default()
    }
}

fn config(row: &TaskRow, definition: &api::ContainerDefinition, name: &str) -> Config {
    let mut labels = definition.docker_labels.clone().unwrap_or_default();
    labels.extend([
        ("com.amazonaws.ecs.cluster".to_owned(), row.scope.arn(format!("cluster/{}", row.cluster))),
        ("com.amazonaws.ecs.container-name".to_owned(), name.to_owned()),
        ("com.amazonaws.ecs.task-arn".to_owned(), row.arn()),
        ("com.amazonaws.ecs.task-definition-family".to_owned(), row.family.clone()),
        ("com.amazonaws.ecs.task-definition-version".to_owned(), row.revision.to_string()),
    ]);
    Config {
        user: definition.user.clone().unwrap_or_default(),
        working_dir: definition.working_directory.clone().unwrap_or_default(),
        hostname: definition.hostname.clone().unwrap_or_default(),
        open_stdin: definition.interactive.unwrap_or(false),
        tty: definition.pseudo_terminal.unwrap_or(false),
        network_disabled: definition.disable_networking.unwrap_or(false),
        labels,
    }
}

/// The account decides on the mode where the task definition does not.
fn log_config(log: &api::LogConfiguration, log_mode: &str) -> LogConfig {
    let mut config = log.options.clone().unwrap_or_default();
    if log.log_driver == api::LogDriver::Awslogs {
        config.entry("mode".to_owned()).or_insert_with(|| log_mode.to_owned());
    }
    LogConfig { driver: log.log_driver.as_str().to_owned(), config }
}

fn host_config(
    definition: &api::ContainerDefinition,
    memory_reservation: i64,
    network_mode: &str,
    log_mode: &str,
) -> HostConfig {
    let linux = definition.linux_parameters.as_ref();
    let capabilities = linux.and_then(|linux| linux.capabilities.as_ref());
    let log = definition.log_configuration.as_ref();
    let ulimit = |limit: &api::Ulimit| Ulimit {
        name: limit.name.as_str().to_owned(),
        soft: limit.soft_limit.into(),
        hard: limit.hard_limit.into(),
    };
    let sysctl = |control: &api::SystemControl| Some((control.namespace.clone()?, control.value.clone()?));
    HostConfig {
        network_mode: if network_mode == "awsvpc" { String::new() } else { network_mode.to_owned() },
        log_config: log.map(|log| log_config(log, log_mode)),
        memory_reservation: memory_reservation.saturating_mul(MIB),
        readonly_rootfs: definition.readonly_root_filesystem.unwrap_or(false),
        privileged: definition.privileged.unwrap_or(false),
        cap_add: capabilities.and_then(|it| it.add.clone()).unwrap_or_default(),
        cap_drop: capabilities.and_then(|it| it.drop.clone()).unwrap_or_default(),
        ulimits: definition.ulimits.iter().flatten().map(ulimit).collect(),
        extra_hosts: definition
            .extra_hosts
            .iter()
            .flatten()
            .map(|it| format!("{}:{}", it.hostname, it.ip_address))
            .collect(),
        dns: definition.dns_servers.clone().unwrap_or_default(),
        dns_search: definition.dns_search_domains.clone().unwrap_or_default(),
        sysctls: definition.system_controls.iter().flatten().filter_map(sysctl).collect(),
        tmpfs: linux.into_iter().flat_map(|linux| linux.tmpfs.iter().flatten()).map(tmpfs).collect(),
        shm_size: i64::from(linux.and_then(|linux| linux.shared_memory_size).unwrap_or(0)).saturating_mul(MIB),
        devices: linux.into_iter().flat_map(|linux| linux.devices.iter().flatten()).map(device).collect(),
        security_opt: definition.docker_security_options.clone().unwrap_or_default(),
        memory_swap: memory_swap(definition).unwrap_or(0),
        memory_swappiness: linux.and_then(|linux| linux.swappiness).map(i64::from),
        init: linux.and_then(|linux| linux.init_process_enabled),
    }
}

/// `maxSwap` is on top of the memory, in MiB; Docker counts both together.
fn memory_swap(definition: &api::ContainerDefinition) -> Option<i64> {
    let swap = definition.linux_parameters.as_ref()?.max_swap?;
    Some((i64::from(definition.memory?) + i64::from(swap)).saturating_mul(MIB))
}

/// Docker's default: all three permissions, and the same path inside.
fn device(device: &api::Device) -> DeviceMapping {
    let letter = |permission: &api::DeviceCgroupPermission| match permission {
        api::DeviceCgroupPermission::Read => 'r',
        api::DeviceCgroupPermission::Write => 'w',
        api::DeviceCgroupPermission::Mknod => 'm',
    };
    let permissions = device.permissions.as_deref().filter(|permissions| !permissions.is_empty());
    let inside = device.container_path.as_deref().filter(|path| !path.is_empty()).unwrap_or(&device.host_path);
    DeviceMapping {
        path_on_host: device.host_path.clone(),
        path_in_container: inside.to_owned(),
        cgroup_permissions: permissions.map_or_else(|| "rwm".to_owned(), |list| list.iter().map(letter).collect()),
    }
}

fn tmpfs(tmpfs: &api::Tmpfs) -> (String, String) {
    let mut options = tmpfs.mount_options.clone().unwrap_or_default();
    options.push(format!("size={}m", tmpfs.size));
    (tmpfs.container_path.clone(), options.join(","))
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
