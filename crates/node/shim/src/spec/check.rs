//! What a spec must keep, checked by both ends: the agent gets the reason early, the shim trusts nobody.

use std::path::{Component, Path};

use super::{ContainerSpec, ExecSpec, LogSink, TaskSpec, User};

/// Longest container name or id: they become file and cgroup names.
pub const NAME_BYTES_MAX: usize = 255;
/// `sun_path` holds 108 bytes with its terminator.
pub const SOCKET_PATH_BYTES_MAX: usize = 107;
const ENTRIES_MAX: usize = 10_000;
const SIGNAL_MAX: i32 = 64;

/// Why a spec is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct InvalidSpec {
    /// The field, as it is called in the spec.
    pub field: &'static str,
    /// What is wrong with it.
    pub reason: String,
}

/// Checks a task's file.
///
/// # Errors
/// The first field that breaks a rule.
pub fn validate_task(task: &TaskSpec) -> Result<(), InvalidSpec> {
    absolute("socket", &task.socket)?;
    let socket_bytes = task.socket.as_os_str().len();
    ensure(socket_bytes <= SOCKET_PATH_BYTES_MAX, "socket", || {
        format!("{socket_bytes} bytes, a Unix socket's path has at most {SOCKET_PATH_BYTES_MAX}")
    })?;
    absolute("runtime_dir", &task.runtime_dir)?;
    absolute("cgroup", Path::new(&task.cgroup))?;
    ensure(task.cgroup.len() > 1, "cgroup", || "the root of the hierarchy cannot be a task's".into())
}

/// Checks a container's spec.
///
/// # Errors
/// The first field that breaks a rule.
pub fn validate_container(spec: &ContainerSpec) -> Result<(), InvalidSpec> {
    name("name", &spec.name)?;
    name("id", &spec.id)?;
    paths(spec)?;
    program(&spec.args, &spec.env)?;
    ensure(spec.mounts.len() <= ENTRIES_MAX, "mounts", || format!("more than {ENTRIES_MAX}"))?;
    ensure((1..=SIGNAL_MAX).contains(&spec.stop_signal), "stop_signal", || format!("no signal {}", spec.stop_signal))?;
    if let User::Named(user) = &spec.user {
        ensure(user.len() <= NAME_BYTES_MAX, "user", || "too long".into())?;
    }
    log(&spec.log)
}

/// Checks a further program's spec.
///
/// # Errors
/// The first field that breaks a rule.
pub fn validate_exec(spec: &ExecSpec) -> Result<(), InvalidSpec> {
    name("id", &spec.id)?;
    program(&spec.args, &spec.env)?;
    spec.cwd.as_deref().map_or(Ok(()), |cwd| absolute("cwd", cwd))
}

fn program(args: &[String], env: &[String]) -> Result<(), InvalidSpec> {
    ensure(args.first().is_some_and(|program| !program.is_empty()), "args", || "no program".into())?;
    ensure(args.len() + env.len() <= ENTRIES_MAX, "args", || {
        format!("more than {ENTRIES_MAX} arguments and variables")
    })?;
    for text in args.iter().chain(env) {
        ensure(!text.contains('\0'), "args", || format!("a NUL byte in {text:?}"))?;
    }
    for entry in env {
        let named = entry.split_once('=').is_some_and(|(key, _)| !key.is_empty());
        ensure(named, "env", || format!("{entry:?} is not KEY=value"))?;
    }
    Ok(())
}

fn paths(spec: &ContainerSpec) -> Result<(), InvalidSpec> {
    absolute("rootfs.target", &spec.rootfs.target)?;
    for layer in &spec.rootfs.lower {
        absolute("rootfs.lower", layer)?;
    }
    if !spec.rootfs.lower.is_empty() {
        absolute("rootfs.upper", &spec.rootfs.upper)?;
        absolute("rootfs.work", &spec.rootfs.work)?;
    }
    absolute("cwd", &spec.cwd)?;
    if let Some(namespace) = &spec.network_namespace {
        absolute("network_namespace", namespace)?;
    }
    for mount in &spec.mounts {
        absolute("mounts.source", &mount.source)?;
        absolute("mounts.destination", &mount.destination)?;
        outside_proc("mounts.destination", &mount.destination)?;
    }
    for tmpfs in &spec.tmpfs {
        absolute("tmpfs.destination", &tmpfs.destination)?;
        outside_proc("tmpfs.destination", &tmpfs.destination)?;
    }
    for device in &spec.devices {
        absolute("devices.host_path", &device.host_path)?;
        absolute("devices.container_path", &device.container_path)?;
        let known = !device.permissions.is_empty() && device.permissions.chars().all(|c| "rwm".contains(c));
        ensure(known, "devices.permissions", || format!("{:?} is not of the letters r, w, m", device.permissions))?;
    }
    Ok(())
}

fn log(sink: &LogSink) -> Result<(), InvalidSpec> {
    match sink {
        LogSink::None => Ok(()),
        LogSink::JsonFile { path, max_files, .. } => {
            absolute("log.path", path)?;
            ensure(*max_files >= 1, "log.max_files", || "at least one file is kept".into())
        }
        LogSink::Spool { dir, segment_bytes, max_bytes, .. } => {
            absolute("log.dir", dir)?;
            // A reader may delete only closed segments: with a single open one a full spool would never empty.
            ensure(*segment_bytes >= 1 && *segment_bytes <= max_bytes / 2, "log.segment_bytes", || {
                format!("{segment_bytes} is not between 1 and half of max_bytes ({max_bytes})")
            })
        }
    }
}

fn name(field: &'static str, value: &str) -> Result<(), InvalidSpec> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let valid = !value.is_empty() && value.len() <= NAME_BYTES_MAX && value.chars().all(allowed);
    ensure(valid, field, || format!("{value:?} is not 1 to {NAME_BYTES_MAX} letters, digits, '-' and '_'"))
}

fn absolute(field: &'static str, path: &Path) -> Result<(), InvalidSpec> {
    let plain = !path.components().any(|part| part == Component::ParentDir);
    let valid = path.is_absolute() && plain && !path.as_os_str().as_encoded_bytes().contains(&0);
    ensure(valid, field, || format!("{} is not an absolute path without '..'", path.display()))
}

/// Files in `/proc` that container runtimes let be covered (LXCFS does): they only tell of the machine.
const COVERABLE: [&str; 7] = ["cpuinfo", "diskstats", "loadavg", "meminfo", "stat", "swaps", "uptime"];

/// What is mounted over a process's directory there would deceive whoever looks at the process; runc refuses it too.
fn outside_proc(field: &'static str, path: &Path) -> Result<(), InvalidSpec> {
    let coverable =
        path.strip_prefix("/proc").is_ok_and(|inside| COVERABLE.iter().any(|name| inside == Path::new(name)));
    ensure(coverable || !path.starts_with("/proc"), field, || format!("{} is inside /proc", path.display()))
}

fn ensure(valid: bool, field: &'static str, reason: impl FnOnce() -> String) -> Result<(), InvalidSpec> {
    if valid { Ok(()) } else { Err(InvalidSpec { field, reason: reason() }) }
}
