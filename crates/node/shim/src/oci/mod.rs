//! From our container spec to the OCI runtime configuration that libcontainer reads, with the isolation that Docker
//! users expect wherever the spec says nothing.
//!
//! It is written as the JSON document that the OCI specification defines; libcontainer parses and validates it.

mod capability;
mod devices;
mod mounts;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

pub(crate) use self::{
    capability::{Capability, granted},
    devices::withheld,
};
use crate::{
    rootfs::Identity,
    spec::{ContainerSpec, InvalidSpec, NamespaceMode, Resources, Ulimit},
};

const PATH_DEFAULT: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Kernel interfaces that show or change the host rather than the container.
#[rustfmt::skip]
const MASKED_PATHS: &[&str] = &[
    "/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
    "/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/devices/virtual/powercap",
    "/sys/firmware",
];
const READONLY_PATHS: &[&str] = &["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Its groups below are read-only by their own mounts.
const CGROUPS_V1: &str = "/sys/fs/cgroup";

/// What a container's configuration depends on besides its spec.
pub(crate) struct Context<'a> {
    /// Who it runs as, resolved.
    pub identity: &'a Identity,
    /// Its cgroup, absolute.
    pub cgroup: &'a str,
    /// The machine has the v2 tree only.
    pub unified: bool,
    /// Otherwise the directory of its cgroup in each v1 hierarchy, by the hierarchy's name and aliases.
    pub cgroups_v1: Vec<(String, PathBuf)>,
    /// Where its `/dev/shm` comes from.
    pub shm: &'a Path,
    /// The PID namespace to join.
    pub pid_namespace: Option<PathBuf>,
    /// The IPC namespace to join.
    pub ipc_namespace: Option<PathBuf>,
}

/// The OCI configuration.
///
/// # Errors
/// The spec names a device, limit or option that does not exist.
pub(crate) fn configuration(spec: &ContainerSpec, context: &Context<'_>) -> Result<Value, InvalidSpec> {
    let mut document = json!({
        "ociVersion": "1.2.0",
        "root": { "path": spec.rootfs.target, "readonly": spec.readonly_rootfs },
        "process": process(spec, context.identity)?,
        "mounts": mounts::mounts(spec, context)?,
        "linux": linux(spec, context)?,
    });
    if !spec.host_uts {
        document["hostname"] = json!(hostname(spec));
    }
    Ok(document)
}

fn hostname(spec: &ContainerSpec) -> &str {
    spec.hostname.as_deref().unwrap_or(&spec.id)
}

fn process(spec: &ContainerSpec, identity: &Identity) -> Result<Value, InvalidSpec> {
    let mut process = json!({
        "terminal": spec.tty,
        "user": { "uid": identity.uid, "gid": identity.gid, "additionalGids": identity.additional_gids },
        "args": spec.args,
        "env": environment(spec, Some(&identity.home)),
        "cwd": spec.cwd,
        "rlimits": spec.ulimits.iter().map(rlimit).collect::<Result<Vec<_>, _>>()?,
        // No capabilities here: see `executor`, which drops them after it has installed the filter.
    });
    // libcontainer takes any value as a wish, so absence says no.
    if spec.no_new_privileges {
        process["noNewPrivileges"] = json!(true);
    }
    Ok(process)
}

/// The variables of a container; `home` is its user's directory.
pub(crate) fn environment(spec: &ContainerSpec, home: Option<&str>) -> Vec<String> {
    let has = |key: &str| spec.env.iter().any(|entry| entry.split_once('=').is_some_and(|(name, _)| name == key));
    let mut env = Vec::with_capacity(spec.env.len() + 4);
    if !has("PATH") {
        env.push(PATH_DEFAULT.to_owned());
    }
    if !has("HOSTNAME") && !spec.host_uts {
        env.push(format!("HOSTNAME={}", hostname(spec)));
    }
    if let Some(home) = home.filter(|_| !has("HOME")) {
        env.push(format!("HOME={home}"));
    }
    if spec.tty && !has("TERM") {
        env.push("TERM=xterm".to_owned());
    }
    env.extend_from_slice(&spec.env);
    env
}

fn rlimit(limit: &Ulimit) -> Result<Value, InvalidSpec> {
    #[rustfmt::skip]
    const NAMES: &[&str] = &[
        "as", "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss",
        "rtprio", "rttime", "sigpending", "stack",
    ];
    if !NAMES.contains(&limit.name.as_str()) || limit.soft > limit.hard {
        let reason = format!("{} {}:{} is no limit", limit.name, limit.soft, limit.hard);
        return Err(InvalidSpec { field: "ulimits", reason });
    }
    let name = format!("RLIMIT_{}", limit.name.to_ascii_uppercase());
    Ok(json!({ "type": name, "soft": limit.soft, "hard": limit.hard }))
}

fn linux(spec: &ContainerSpec, context: &Context<'_>) -> Result<Value, InvalidSpec> {
    let devices = devices::devices(spec, context.unified)?;
    let mut resources = resources(&spec.resources, Some(Resources::PIDS_LIMIT_DEFAULT), context.unified);
    resources.insert("devices".to_owned(), devices::rules(spec, &devices));
    let mut linux = json!({
        "cgroupsPath": context.cgroup,
        "namespaces": namespaces(spec, context),
        "resources": resources,
        "sysctl": spec.sysctls,
        "devices": devices,
    });
    if !spec.privileged {
        linux["maskedPaths"] = json!(MASKED_PATHS);
        let cgroups: &[&str] = if context.cgroups_v1.is_empty() { &[] } else { &[CGROUPS_V1] };
        linux["readonlyPaths"] = json!([READONLY_PATHS, cgroups].concat());
    }
    Ok(linux)
}

fn namespaces(spec: &ContainerSpec, context: &Context<'_>) -> Vec<Value> {
    let mut namespaces = vec![json!({ "type": "mount" })];
    if !spec.host_uts {
        namespaces.push(json!({ "type": "uts" }));
    }
    let shared = [("pid", &spec.pid_mode, &context.pid_namespace), ("ipc", &spec.ipc_mode, &context.ipc_namespace)];
    for (kind, mode, path) in shared {
        match mode {
            NamespaceMode::Private => namespaces.push(json!({ "type": kind })),
            NamespaceMode::Host => {}
            NamespaceMode::Task => namespaces.push(json!({ "type": kind, "path": path })),
        }
    }
    if spec.network_disabled {
        namespaces.push(json!({ "type": "network" }));
    } else if let Some(path) = &spec.network_namespace {
        namespaces.push(json!({ "type": "network", "path": path }));
    }
    // As Docker: on v2 a container sees its own cgroup as the root; on v1 its own ones are bound read-only.
    if context.unified && !spec.privileged {
        namespaces.push(json!({ "type": "cgroup" }));
    }
    namespaces
}

/// The `resources` object for a cgroup, without devices.
pub(crate) fn resources(resources: &Resources, pids_default: Option<i64>, unified: bool) -> Map<String, Value> {
    let mut object = Map::new();
    let Resources { cpu_shares, cpu_quota_us, cpu_period_us, .. } = resources;
    if cpu_shares.is_some() || cpu_quota_us.is_some() || cpu_period_us.is_some() {
        object.insert(
            "cpu".into(),
            present(&[
                ("shares", cpu_shares.map(Value::from)),
                ("quota", cpu_quota_us.map(Value::from)),
                ("period", cpu_period_us.map(Value::from)),
            ]),
        );
    }
    let Resources { memory_limit_bytes: limit, memory_reservation_bytes: reservation, .. } = resources;
    if limit.is_some() || reservation.is_some() || resources.memory_swappiness.is_some() {
        object.insert(
            "memory".into(),
            present(&[
                ("limit", limit.map(Value::from)),
                ("reservation", reservation.map(Value::from)),
                ("swap", resources.memory_swap_bytes.or(*limit).map(Value::from)),
                ("swappiness", resources.memory_swappiness.map(Value::from)),
            ]),
        );
    }
    // libcgroups takes a limit of no swap at all for none.
    if unified && limit.is_some() && resources.memory_swap_bytes.or(*limit) == *limit {
        object.insert("unified".into(), json!({ "memory.swap.max": "0" }));
    }
    if let Some(pids) = resources.pids_limit.or(pids_default) {
        object.insert("pids".into(), json!({ "limit": pids }));
    }
    object
}

fn present(fields: &[(&str, Option<Value>)]) -> Value {
    fields.iter().filter_map(|(name, value)| Some(((*name).to_owned(), value.clone()?))).collect()
}
