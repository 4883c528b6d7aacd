//! What has no field of its own on a container: Docker's Config and HostConfig.

use std::time::Duration;

use estiva_agent_protocol::task::docker::{Config, DeviceMapping, Healthcheck, HostConfig, LogConfig, Ulimit};
use estiva_api_ecs::types as api;
use estiva_ecs::task::table::TaskRow;

const MIB: i64 = 1 << 20;
/// The defaults of the API reference, HealthCheck.
const HEALTH_INTERVAL_DEFAULT: i32 = 30;
const HEALTH_TIMEOUT_DEFAULT: i32 = 5;
const HEALTH_RETRIES_DEFAULT: i32 = 3;

pub(super) fn config(row: &TaskRow, definition: &api::ContainerDefinition, name: &str) -> Config {
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
        healthcheck: definition.health_check.as_ref().map(healthcheck),
        labels,
    }
}

fn healthcheck(check: &api::HealthCheck) -> Healthcheck {
    let nanoseconds = |seconds: i32| {
        let duration = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
        i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
    };
    // A command without its kind is a program with its arguments.
    let is_kind = |word: &String| word == "CMD" || word == "CMD-SHELL";
    let kind = if check.command.first().is_some_and(is_kind) { None } else { Some("CMD".to_owned()) };
    Healthcheck {
        test: kind.into_iter().chain(check.command.iter().cloned()).collect(),
        interval: nanoseconds(check.interval.unwrap_or(HEALTH_INTERVAL_DEFAULT)),
        timeout: nanoseconds(check.timeout.unwrap_or(HEALTH_TIMEOUT_DEFAULT)),
        start_period: nanoseconds(check.start_period.unwrap_or(0)),
        retries: check.retries.unwrap_or(HEALTH_RETRIES_DEFAULT).into(),
    }
}

pub(super) fn host_config(
    definition: &api::ContainerDefinition,
    memory: i64,
    memory_reservation: i64,
    network_mode: &str,
    log_config: Option<LogConfig>,
) -> HostConfig {
    let linux = definition.linux_parameters.as_ref();
    let capabilities = linux.and_then(|linux| linux.capabilities.as_ref());
    let ulimit = |limit: &api::Ulimit| Ulimit {
        name: limit.name.as_str().to_owned(),
        soft: limit.soft_limit.into(),
        hard: limit.hard_limit.into(),
    };
    let sysctl = |control: &api::SystemControl| Some((control.namespace.clone()?, control.value.clone()?));
    HostConfig {
        network_mode: if network_mode == "awsvpc" { String::new() } else { network_mode.to_owned() },
        log_config,
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
        memory_swap: memory_swap(definition, memory).unwrap_or(0),
        memory_swappiness: linux.and_then(|linux| linux.swappiness).map(i64::from),
        init: linux.and_then(|linux| linux.init_process_enabled),
    }
}

/// `maxSwap` is on top of the memory, in MiB; Docker counts both together.
fn memory_swap(definition: &api::ContainerDefinition, memory: i64) -> Option<i64> {
    let swap = definition.linux_parameters.as_ref()?.max_swap?;
    (memory > 0).then(|| (memory + i64::from(swap)).saturating_mul(MIB))
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
