//! From a container as the control plane sends it, and its image's configuration, to what the shim runs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use estiva_agent_protocol::task::docker::{Config, DeviceMapping, HostConfig};
use estiva_agent_protocol::task::{Container, Task};
use estiva_image::ImageConfig;
use estiva_shim::spec::{
    BindMount, ContainerSpec, Device, LogSink, NamespaceMode, Resources, Rootfs, Tmpfs, Ulimit, User,
};

/// What surrounds a container on this node.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// The runtime's id of the container.
    pub runtime_id: String,
    /// The overlay.
    pub rootfs: Rootfs,
    /// `None` is the host's network.
    pub network_namespace: Option<PathBuf>,
    /// Of the task: `host`, or absent.
    pub pid_mode: Option<String>,
    /// Of the task: `host`, `none`, or absent.
    pub ipc_mode: Option<String>,
    /// The UTS host name.
    pub hostname: String,
    /// The task's volumes, as this container mounts them.
    pub volumes: Vec<BindMount>,
    /// Files of the node's that appear inside: hosts, resolv.conf, hostname.
    pub files: Vec<BindMount>,
    /// Variables of the platform.
    pub environment: BTreeMap<String, String>,
    /// Where the output goes.
    pub log: LogSink,
}

/// Why a container cannot be run as asked.
#[derive(Debug, thiserror::Error)]
pub enum TranslateError {
    /// The control plane sent what is not Docker's JSON.
    #[error("dockerConfig of container {container} is malformed")]
    DockerConfig {
        /// Which container.
        container: String,
        /// What serde found.
        source: serde_json::Error,
    },
    /// Neither the task definition nor the image says what to run.
    #[error("no command specified: neither the task definition nor the image has an entry point or a command")]
    NoCommand,
    /// The task definition asks for what this node has not.
    #[error("the security option '{0}' is not supported on this node")]
    SecurityOption(String),
    /// Containers of a task do not share namespaces of this kind here.
    #[error("{field} '{mode}' is not supported on this node")]
    NamespaceMode {
        /// pidMode or ipcMode.
        field: &'static str,
        /// What was asked for.
        mode: String,
    },
    /// The image names a signal that does not exist.
    #[error("the image's stop signal '{0}' is not known")]
    StopSignal(String),
}

/// Docker's Config and HostConfig of a container.
pub fn docker_config(container: &Container) -> Result<(Config, HostConfig), TranslateError> {
    let malformed = |source| TranslateError::DockerConfig { container: container.name.clone(), source };
    let parse = |text: &Option<String>| text.clone().unwrap_or_else(|| "{}".to_owned());
    let config = serde_json::from_str(&parse(&container.docker_config.config)).map_err(malformed)?;
    let host = serde_json::from_str(&parse(&container.docker_config.host_config)).map_err(malformed)?;
    Ok((config, host))
}

/// What AWS's agent calls a container in Docker: family, revision, name, and something that nobody else has.
pub fn docker_name(task: &Task, container: &str, runtime_id: &str) -> String {
    format!("ecs-{}-{}-{container}-{}", task.family, task.version, runtime_id.get(..20).unwrap_or_default())
}

/// The container as the shim runs it.
pub fn container_spec(
    container: &Container,
    image: &ImageConfig,
    around: Surroundings,
) -> Result<ContainerSpec, TranslateError> {
    let (config, host) = docker_config(container)?;
    let args = command_line(container, image);
    if args.is_empty() {
        return Err(TranslateError::NoCommand);
    }
    let security = Security::of(&host.security_opt)?;
    let user = if config.user.is_empty() { image.user.clone() } else { config.user.clone() };
    let cwd = [&config.working_dir, &image.working_dir].into_iter().find(|dir| !dir.is_empty());
    Ok(ContainerSpec {
        name: container.name.clone(),
        id: around.runtime_id,
        rootfs: around.rootfs,
        args,
        env: environment(container, image, around.environment),
        cwd: absolute(cwd.map_or("/", String::as_str)),
        user: User::Named(user),
        host_uts: around.network_namespace.is_none() && !config.network_disabled,
        hostname: (around.network_namespace.is_some() || config.network_disabled).then_some(around.hostname),
        network_disabled: config.network_disabled,
        network_namespace: around.network_namespace,
        pid_mode: namespace_mode("pidMode", around.pid_mode.as_deref())?,
        ipc_mode: namespace_mode("ipcMode", around.ipc_mode.as_deref())?,
        readonly_rootfs: host.readonly_rootfs,
        tty: config.tty,
        stdin_open: config.open_stdin,
        resources: resources(container, &host),
        ulimits: host.ulimits.iter().map(ulimit).collect(),
        sysctls: host.sysctls,
        devices: host.devices.iter().map(device).collect(),
        tmpfs: host.tmpfs.iter().map(|(path, options)| tmpfs(path, options)).collect(),
        shm_size_bytes: u64::try_from(host.shm_size).ok().filter(|size| *size > 0),
        cap_add: host.cap_add,
        cap_drop: host.cap_drop,
        privileged: host.privileged,
        no_new_privileges: security.no_new_privileges,
        seccomp_unconfined: security.seccomp_unconfined,
        mounts: mounts(around.volumes, around.files),
        stop_signal: stop_signal(&image.stop_signal)?,
        init: host.init == Some(true),
        restartable: container.restart_policy.as_ref().is_some_and(|policy| policy.enabled),
        log: around.log,
    })
}

/// Where a volume is mounted at the place of one of the node's files, the volume is what is seen.
fn mounts(volumes: Vec<BindMount>, files: Vec<BindMount>) -> Vec<BindMount> {
    let is_free = |file: &BindMount| !volumes.iter().any(|volume| volume.destination == file.destination);
    let files: Vec<BindMount> = files.into_iter().filter(is_free).collect();
    volumes.into_iter().chain(files).collect()
}

/// As Docker does: an entry point in the task definition also takes the place of the image's command.
fn command_line(container: &Container, image: &ImageConfig) -> Vec<String> {
    let (entry_point, image_command) = if container.entry_point.is_empty() {
        (&image.entrypoint, image.cmd.as_slice())
    } else {
        (&container.entry_point, [].as_slice())
    };
    let command = if container.command.is_empty() { image_command } else { &container.command };
    entry_point.iter().chain(command).cloned().collect()
}

/// The image's variables, then the platform's, then the task definition's: a later one wins.
fn environment(container: &Container, image: &ImageConfig, platform: BTreeMap<String, String>) -> Vec<String> {
    let split = |entry: &String| {
        let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
        (name.to_owned(), value.to_owned())
    };
    let mut variables: BTreeMap<String, String> = image.env.iter().map(split).collect();
    variables.extend(platform);
    variables.extend(container.environment.clone());
    variables.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
}

fn absolute(dir: &str) -> PathBuf {
    Path::new("/").join(dir)
}

const MIB: i64 = 1 << 20;
/// What the kernel takes at least; ECS gives it to a container that asks for none.
const CPU_SHARES_MIN: u64 = 2;

fn resources(container: &Container, host: &HostConfig) -> Resources {
    let positive = |value: i64| (value > 0).then_some(value);
    Resources {
        cpu_shares: Some(u64::try_from(container.cpu).unwrap_or(0).max(CPU_SHARES_MIN)),
        memory_limit_bytes: positive(container.memory).map(|mib| mib.saturating_mul(MIB)),
        memory_reservation_bytes: positive(host.memory_reservation),
        memory_swap_bytes: positive(host.memory_swap),
        memory_swappiness: host.memory_swappiness.and_then(|value| u64::try_from(value).ok()),
        ..Resources::default()
    }
}

fn namespace_mode(field: &'static str, mode: Option<&str>) -> Result<NamespaceMode, TranslateError> {
    match mode.unwrap_or_default() {
        "" | "none" => Ok(NamespaceMode::Private),
        "host" => Ok(NamespaceMode::Host),
        "task" => Ok(NamespaceMode::Task),
        other => Err(TranslateError::NamespaceMode { field, mode: other.to_owned() }),
    }
}

fn device(device: &DeviceMapping) -> Device {
    Device {
        host_path: absolute(&device.path_on_host),
        container_path: absolute(&device.path_in_container),
        permissions: device.cgroup_permissions.clone(),
    }
}

/// Docker's `--security-opt`.
#[derive(Debug, Default, PartialEq, Eq)]
struct Security {
    no_new_privileges: bool,
    seccomp_unconfined: bool,
}

impl Security {
    fn of(options: &[String]) -> Result<Self, TranslateError> {
        let mut security = Self::default();
        for option in options {
            match option.replace('=', ":").as_str() {
                "no-new-privileges" | "no-new-privileges:true" => security.no_new_privileges = true,
                "no-new-privileges:false" => security.no_new_privileges = false,
                "seccomp:unconfined" => security.seccomp_unconfined = true,
                // There is no such module here that would confine it.
                "apparmor:unconfined" | "label:disable" => {}
                _ => return Err(TranslateError::SecurityOption(option.clone())),
            }
        }
        Ok(security)
    }
}

fn ulimit(limit: &estiva_agent_protocol::task::docker::Ulimit) -> Ulimit {
    // -1 is Docker's word for no limit; so is RLIM_INFINITY, the largest number.
    let value = |number: i64| u64::try_from(number).unwrap_or(u64::MAX);
    Ulimit { name: limit.name.clone(), soft: value(limit.soft), hard: value(limit.hard) }
}

fn tmpfs(path: &str, options: &str) -> Tmpfs {
    Tmpfs {
        destination: absolute(path),
        size_bytes: None,
        options: options.split(',').filter(|option| !option.is_empty()).map(str::to_owned).collect(),
    }
}

/// Signals that an image may name in STOPSIGNAL, by name; Linux's numbers.
const SIGNALS: [(&str, i32); 13] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ABRT", 6),
    ("KILL", 9),
    ("USR1", 10),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("CONT", 18),
    ("WINCH", 28),
    ("PWR", 30),
];
const REALTIME_MIN: i32 = 34;
const REALTIME_MAX: i32 = 64;

fn stop_signal(text: &str) -> Result<i32, TranslateError> {
    if text.is_empty() {
        return Ok(15);
    }
    if let Ok(number) = text.parse::<i32>() {
        return if (1..=REALTIME_MAX).contains(&number) {
            Ok(number)
        } else {
            Err(TranslateError::StopSignal(text.into()))
        };
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some(offset) = name.strip_prefix("RTMIN+").and_then(|offset| offset.parse::<i32>().ok())
        && (0..=REALTIME_MAX - REALTIME_MIN).contains(&offset)
    {
        return Ok(REALTIME_MIN + offset);
    }
    let known = SIGNALS.iter().find(|(known, _)| *known == name);
    known.map(|(_, number)| *number).ok_or_else(|| TranslateError::StopSignal(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn around() -> Surroundings {
        Surroundings {
            runtime_id: "id".into(),
            rootfs: Rootfs { lower: vec![], upper: "/u".into(), work: "/w".into(), target: "/t".into() },
            pid_mode: None,
            ipc_mode: None,
            network_namespace: Some("/run/ns".into()),
            hostname: "host".into(),
            volumes: vec![],
            files: vec![],
            environment: BTreeMap::from([("AWS_REGION".into(), "us-east-1".into())]),
            log: LogSink::None,
        }
    }

    fn image() -> ImageConfig {
        ImageConfig {
            env: vec!["PATH=/bin".into(), "A=image".into()],
            entrypoint: vec!["/entry".into()],
            cmd: vec!["default".into()],
            working_dir: "work".into(),
            user: "app".into(),
            stop_signal: "SIGQUIT".into(),
            ..ImageConfig::default()
        }
    }

    #[test]
    fn the_image_gives_what_the_task_definition_leaves_open() {
        let spec = container_spec(&Container::default(), &image(), around()).unwrap();
        assert_eq!(spec.args, ["/entry", "default"]);
        assert_eq!(spec.env, ["A=image", "AWS_REGION=us-east-1", "PATH=/bin"]);
        assert_eq!((spec.cwd, spec.user, spec.stop_signal), ("/work".into(), User::Named("app".into()), 3));
        assert_eq!(spec.resources.cpu_shares, Some(2));
    }

    #[test]
    fn the_task_definition_wins_over_the_image() {
        let container = Container {
            command: vec!["mine".into()],
            environment: BTreeMap::from([("A".into(), "task".into())]),
            memory: 16,
            cpu: 512,
            docker_config: estiva_agent_protocol::task::DockerConfig {
                config: Some(r#"{"User":"0","WorkingDir":"/srv"}"#.into()),
                ..Default::default()
            },
            ..Container::default()
        };
        let spec = container_spec(&container, &image(), around()).unwrap();
        assert_eq!(spec.args, ["/entry", "mine"]);
        assert!(spec.env.contains(&"A=task".to_owned()));
        assert_eq!((spec.cwd, spec.user), ("/srv".into(), User::Named("0".into())));
        assert_eq!(spec.resources.memory_limit_bytes, Some(16 << 20));
    }

    #[test]
    fn an_entry_point_takes_the_place_of_the_images_command_too() {
        let container = Container { entry_point: vec!["/mine".into()], ..Container::default() };
        assert_eq!(container_spec(&container, &image(), around()).unwrap().args, ["/mine"]);
    }

    #[test]
    fn what_cannot_run_is_said() {
        let nothing = container_spec(&Container::default(), &ImageConfig::default(), around());
        assert!(matches!(nothing, Err(TranslateError::NoCommand)));
        let broken = Container {
            docker_config: estiva_agent_protocol::task::DockerConfig { config: Some("{".into()), ..Default::default() },
            ..Container::default()
        };
        assert!(matches!(docker_config(&broken), Err(TranslateError::DockerConfig { .. })));
        assert!(stop_signal("SIGNOTHING").is_err() && stop_signal("65").is_err() && stop_signal("RTMIN+31").is_err());
        assert_eq!(stop_signal("SIGRTMIN+3").unwrap(), 37);
    }
}
