//! What a task needs before its containers can start: images, network, files and directories.

use std::collections::BTreeMap;
use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use estiva_agent_protocol::task::docker::HostConfig;
use estiva_agent_protocol::task::{Container, PortMapping, RegistryAuthentication, Task};
use estiva_image::{Image, Silent};
use estiva_network::{Binding, Eni, Protocol};
use estiva_planning::lifecycle::NetworkBinding;
use estiva_shim::spec::{BindMount, ContainerSpec, Resources, Rootfs};
use serde::{Deserialize, Serialize};

use super::failure::{StartFailure, with_sources};
use super::host::Host;
use super::record::{TaskRecord, id_of};
use super::remove::remove_tree;
use super::translate::{self, Surroundings, docker_config};
use super::volume::{self, VolumeError};
use super::{firelens, links, open_files, registry_auth, storage};
use crate::aside::aside;
use crate::fail_point;
use crate::logs;

/// A task whose containers can be created.
pub(super) struct Prepared {
    /// In the order of the task definition.
    pub containers: Vec<ContainerSpec>,
    /// Containers that cannot be made as the task definition and their image have them.
    pub failures: Vec<StartFailure>,
}

/// The images of a task's containers.
pub(super) struct Images {
    /// In the order of the task definition; `None` for a container that never starts.
    pub found: Vec<Option<Image>>,
    /// Images that cannot be had, of containers that the task does without.
    pub failures: Vec<StartFailure>,
}

/// A task's network as the record keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PreparedNetwork {
    /// `None` is the host's network.
    namespace: Option<PathBuf>,
    ip: Option<Ipv4Addr>,
    published: Vec<Binding>,
    /// Where they answer.
    #[serde(default = "loopback")]
    published_at: Ipv4Addr,
    /// Network mode host: every port is the host's own.
    host: bool,
}

/// Of records before nodes had addresses.
fn loopback() -> Ipv4Addr {
    Ipv4Addr::LOCALHOST
}

impl PreparedNetwork {
    /// The container's ports as they are published.
    pub fn bindings_of(&self, ports: &[PortMapping]) -> Vec<NetworkBinding> {
        let binding = |port: &PortMapping| {
            let host_port = if self.host {
                Some(port.container_port)
            } else {
                let wanted = protocol(port);
                let mut published = self.published.iter();
                published
                    .find(|it| it.container_port == port.container_port && it.protocol == wanted)
                    .map(|it| it.host_port)
            };
            host_port.map(|host_port| NetworkBinding {
                bind_ip: if self.host { Ipv4Addr::UNSPECIFIED } else { self.published_at }.to_string(),
                container_port: port.container_port,
                host_port,
                protocol: protocol(port).to_string(),
            })
        };
        ports.iter().filter_map(binding).collect()
    }
}

/// The images of the task's containers, in their order, unpacked and held for the task. A task does without the image of a
/// container that is not essential, as with AWS's agent; on Fargate the task fails.
pub(super) async fn images(host: &Arc<Host>, record: &TaskRecord) -> Result<Images, StartFailure> {
    let task = &record.task;
    let is_fargate = task.launch_type.as_deref() == Some("FARGATE");
    // Containers of one image and with one secret need to ask once.
    let key = |container: &Container| (container.image.clone(), container.registry_authentication.clone());
    let mut known: Vec<((String, Option<RegistryAuthentication>), Image)> = Vec::new();
    let mut images = Images { found: Vec::with_capacity(task.containers.len()), failures: Vec::new() };
    for container in &task.containers {
        if record.known.has_failed(&container.name) {
            images.found.push(None);
            continue;
        }
        if let Some((_, image)) = known.iter().find(|(known, _)| *known == key(container)) {
            images.found.push(Some(image.clone()));
            continue;
        }
        match pull(host, task, container).await {
            Ok(image) => {
                known.push((key(container), image.clone()));
                images.found.push(Some(image));
            }
            Err(failure) if container.essential || is_fargate => return Err(failure),
            Err(failure) => {
                images.failures.push(failure);
                images.found.push(None);
            }
        }
    }
    Ok(images)
}

async fn pull(host: &Arc<Host>, task: &Task, container: &Container) -> Result<Image, StartFailure> {
    let refused = |error: &dyn std::error::Error| StartFailure::Pull {
        container: container.name.clone(),
        reason: with_sources(error),
    };
    let credentials = registry_auth::credentials(host.control_plane.as_ref(), container).await;
    let credentials = credentials.map_err(|error| refused(&error))?;
    let pulled = host.images.ensure(&container.image, host.pull_policy, credentials.as_ref(), &Silent).await;
    let image = pulled.map_err(|error| refused(&error))?;
    aside(|| host.images.lease(&image, id_of(&task.arn))).map_err(|error| refused(&error))?;
    Ok(image)
}

/// The task's network.
pub(super) async fn network(host: &Host, record: &TaskRecord) -> Result<PreparedNetwork, StartFailure> {
    let task = &record.task;
    let id = id_of(&task.arn);
    // What a former agent made before it could note it down.
    host.network.delete(id).await.map_err(StartFailure::network)?;
    let made = match task.network_mode.as_deref().unwrap_or("bridge") {
        "host" => {
            let published_at = host.published_at;
            return Ok(PreparedNetwork { namespace: None, ip: None, published: Vec::new(), published_at, host: true });
        }
        "none" => host.network.create_none(id).await,
        "awsvpc" => host.network.create_awsvpc(id, interface(task)?).await,
        _ => {
            let mappings = task.containers.iter().flat_map(|container| &container.port_mappings);
            let mappings: Vec<_> = mappings.map(mapping).collect();
            host.network.create_bridge(id, &mappings).await
        }
    };
    let network = made.map_err(StartFailure::network)?;
    // Who has no role has no signature: the control plane is out of its reach, not merely closed to it.
    if record.credentials_id.is_some() {
        host.network.make_client(id).await.map_err(StartFailure::network)?;
    }
    Ok(PreparedNetwork {
        namespace: Some(network.netns_path),
        ip: network.ip,
        published: network.bindings,
        published_at: host.published_at,
        host: false,
    })
}

fn mapping(port: &PortMapping) -> estiva_network::PortMapping {
    estiva_network::PortMapping {
        container_port: port.container_port,
        host_port: Some(port.host_port),
        protocol: protocol(port),
    }
}

fn protocol(port: &PortMapping) -> Protocol {
    if port.protocol == "udp" { Protocol::Udp } else { Protocol::Tcp }
}

fn interface(task: &Task) -> Result<Eni, StartFailure> {
    let malformed = |what: &str| StartFailure::Network(format!("the task's network interface has {what}"));
    let eni = task.elastic_network_interfaces.first().ok_or_else(|| malformed("not arrived"))?;
    let address = eni.ipv4_addresses.iter().find(|address| address.primary).or(eni.ipv4_addresses.first());
    let ip = address.and_then(|address| address.private_address.parse().ok()).ok_or_else(|| malformed("no address"))?;
    let gateway = eni.subnet_gateway_ipv4_address.split_once('/');
    let (gateway, prefix) = gateway.ok_or_else(|| malformed("no gateway"))?;
    Ok(Eni {
        ip,
        prefix_len: prefix.parse().map_err(|_| malformed("a prefix length that is no number"))?,
        mac: eni.mac_address.parse().map_err(|_| malformed("no MAC address"))?,
        gateway: gateway.parse().map_err(|_| malformed("a gateway that is no address"))?,
    })
}

/// What the task as a whole may use.
pub(super) fn task_resources(task: &Task, pids: i64) -> Resources {
    const PERIOD_US: u32 = 100_000;
    #[allow(clippy::cast_possible_truncation, reason = "float casts saturate, and no machine has so many cores")]
    let quota = |cpus: f64| (cpus * f64::from(PERIOD_US)) as i64;
    Resources {
        cpu_quota_us: task.cpu.filter(|cpus| *cpus > 0.0).map(quota),
        cpu_period_us: task.cpu.map(|_| PERIOD_US.into()),
        memory_limit_bytes: task.memory.filter(|mib| *mib > 0).map(|mib| mib.saturating_mul(1 << 20)),
        pids_limit: Some(pids),
        ..Resources::default()
    }
}

/// The task's own file system, if it is to have one.
pub(super) async fn storage(task: &Task, dir: &Path) -> Result<(), StartFailure> {
    match task.ephemeral_storage {
        Some(gib) => storage::mount(dir, gib).await.map_err(|error| StartFailure::Storage(error.to_string())),
        None => Ok(()),
    }
}

/// The task's containers as the shim runs them, and the directories and files that they need.
pub(super) fn containers(
    host: &Host,
    record: &TaskRecord,
    dir: &Path,
    images: &[Option<Image>],
) -> Result<Prepared, StartFailure> {
    let volume_failure = |error: VolumeError| StartFailure::Volume(error.to_string());
    let root = storage::root(dir).map_err(|error| StartFailure::Storage(error.to_string()))?;
    let places = volume::prepare(&record.task, &root, &host.volumes_dir).map_err(volume_failure)?;
    let spec = |(container, image): (&Container, &Image)| {
        let mut volumes = volume::mounts(&record.task, images, container, &places, &root).map_err(volume_failure)?;
        let router = firelens::prepare(&record.task, container, dir, &host.run_dir);
        volumes.extend(router.map_err(|error| StartFailure::firelens(&container.name, &error))?);
        spec(host, record, &root, dir, container, image, volumes)
    };
    let mut prepared = Prepared { containers: Vec::new(), failures: Vec::new() };
    let startable = record.task.containers.iter().zip(images).filter_map(|(it, image)| Some((it, image.as_ref()?)));
    for specified in startable.map(spec) {
        match specified {
            Ok(spec) => prepared.containers.push(spec),
            Err(failure) if failure.container_name().is_some() => prepared.failures.push(failure),
            Err(failure) => return Err(failure),
        }
    }
    Ok(prepared)
}

fn spec(
    host: &Host,
    record: &TaskRecord,
    root: &Path,
    dir: &Path,
    container: &Container,
    image: &Image,
    volumes: Vec<BindMount>,
) -> Result<ContainerSpec, StartFailure> {
    let refused = |error: &dyn std::error::Error| StartFailure::Create {
        container: container.name.clone(),
        reason: with_sources(error),
    };
    let (config, host_config) =
        docker_config(container).map_err(|error| StartFailure::translate(&container.name, &error))?;
    let network = record.network.as_ref();
    let known = record.known.containers.iter().find(|it| it.name == container.name);
    let runtime_id = known.map(|it| it.runtime_id.clone()).unwrap_or_default();
    let root = root.join("rootfs").join(&container.name);
    let directory = |name: &str| {
        let path = root.join(name);
        make_dir(&path).map(|()| path)
    };
    let rootfs = Rootfs {
        lower: image.layers.clone(),
        upper: directory("upper").map_err(|error| refused(&error))?,
        work: directory("work").map_err(|error| refused(&error))?,
        target: directory("merged").map_err(|error| refused(&error))?,
    };
    let default = || runtime_id.chars().take(12).collect::<String>();
    let hostname = if config.hostname.is_empty() { default() } else { config.hostname.clone() };
    let aliases = links::aliases(container);
    let files = files(&root, network, &hostname, &aliases, &host_config).map_err(|error| refused(&error))?;
    let around = Surroundings {
        runtime_id,
        rootfs,
        network_namespace: network.and_then(|network| network.namespace.clone()),
        pid_mode: record.task.pid_mode.clone(),
        ipc_mode: record.task.ipc_mode.clone(),
        hostname,
        volumes,
        files,
        environment: environment(host, record, container),
        log: logs::sink(host_config.log_config.as_ref(), &dir.join("logs").join(&container.name)),
    };
    let mut spec = translate::container_spec(container, &image.config, around)
        .map_err(|error| StartFailure::translate(&container.name, &error))?;
    if record.task.launch_type.as_deref() == Some("FARGATE") {
        open_files::limit(&mut spec.ulimits);
    }
    Ok(spec)
}

/// What AWS's agent tells every container, and where Estiva's own APIs are.
fn environment(host: &Host, record: &TaskRecord, container: &Container) -> BTreeMap<String, String> {
    let launch_type = record.task.launch_type.as_deref().unwrap_or("EC2");
    let mut variables = BTreeMap::from([("AWS_EXECUTION_ENV".to_owned(), format!("AWS_ECS_{launch_type}"))]);
    if let Some(control_plane) = &host.control_plane {
        for name in ["AWS_REGION", "AWS_DEFAULT_REGION"] {
            variables.insert(name.to_owned(), control_plane.region.as_str().to_owned());
        }
    }
    let network_mode = record.task.network_mode.as_deref().unwrap_or("bridge");
    let known = record.known.containers.iter().find(|it| it.name == container.name);
    if let (Some(endpoint), Some(known)) = (host.endpoint.get(), known) {
        let credentials = record.credentials_id.as_deref().map(|id| (id, record.authorization.as_str()));
        variables.extend(endpoint.variables(network_mode, &known.endpoint_id, credentials));
    }
    variables.extend(firelens::variables(&record.task));
    variables.extend(links::variables(&record.task, container, record.network.as_ref().and_then(|it| it.ip)));
    variables
}

/// /etc/hosts, /etc/hostname and /etc/resolv.conf: the container's own, or those of the host with its network.
fn files(
    root: &Path,
    network: Option<&PreparedNetwork>,
    hostname: &str,
    aliases: &[String],
    config: &HostConfig,
) -> std::io::Result<Vec<BindMount>> {
    let of_host = network.is_some_and(|network| network.host);
    let mut hosts = if of_host {
        fs::read_to_string("/etc/hosts").unwrap_or_default()
    } else {
        let own = network.and_then(|network| network.ip).map(|ip| format!("{ip}\t{hostname}\n")).unwrap_or_default();
        format!("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n{own}")
    };
    let linked = network.and_then(|network| network.ip).unwrap_or(Ipv4Addr::LOCALHOST).to_string();
    for alias in aliases {
        hosts.extend([&linked, "\t", alias, "\n"]);
    }
    for entry in &config.extra_hosts {
        if let Some((name, address)) = entry.split_once(':') {
            hosts.extend([address, "\t", name, "\n"]);
        }
    }
    let resolv_conf = resolv_conf(&fs::read_to_string("/etc/resolv.conf").unwrap_or_default(), config, of_host);
    let mut files = vec![("hosts", hosts), ("resolv.conf", resolv_conf)];
    if !of_host {
        files.push(("hostname", format!("{hostname}\n")));
    }
    let mount = |(name, content): (&str, String)| {
        let source = root.join(name);
        fs::write(&source, content)?;
        Ok(BindMount {
            source,
            destination: Path::new("/etc").join(name),
            read_only: config.readonly_rootfs,
            populate: false,
        })
    };
    files.into_iter().map(mount).collect()
}

/// The host's resolver, unless the task definition names others. A name server on the host's loopback cannot be
/// reached from a namespace of the task's own.
fn resolv_conf(of_host: &str, config: &HostConfig, same_network: bool) -> String {
    let mut lines: Vec<String> = Vec::new();
    if config.dns.is_empty() {
        let loopback = |line: &str| {
            line.strip_prefix("nameserver").is_some_and(|it| it.trim().starts_with("127.") || it.trim() == "::1")
        };
        let kept = of_host.lines().filter(|line| same_network || !loopback(line));
        let kept = kept.filter(|line| config.dns_search.is_empty() || !line.starts_with("search"));
        lines.extend(kept.map(str::to_owned));
    }
    lines.extend(config.dns.iter().map(|server| format!("nameserver {server}")));
    if !config.dns_search.is_empty() {
        lines.push(format!("search {}", config.dns_search.join(" ")));
    }
    lines.push(String::new());
    lines.join("\n")
}

/// Gives back the network, the images and the files; the record and the log spools stay. Harmless when repeated.
pub(super) async fn release(host: &Host, task: &Task, dir: &Path) -> Result<(), StartFailure> {
    let id = id_of(&task.arn);
    host.network.delete(id).await.map_err(StartFailure::network)?;
    fail_point::reach("network-released");
    aside(|| host.images.release(id)).map_err(|error| StartFailure::Shim(with_sources(&error)))?;
    let (dir, sockets) = (dir.to_owned(), firelens::socket_dir(&host.run_dir, id));
    let removed = tokio::task::spawn_blocking(move || {
        fail_point::reach("images-released");
        volume::release(&storage::root(&dir)?)?;
        fail_point::reach("volumes-released");
        storage::unmount(&dir)?;
        for left in [dir.join("rootfs"), sockets] {
            match remove_tree(&left) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    });
    match removed.await {
        Ok(Err(error)) => Err(StartFailure::Shim(format!("cannot remove the containers' files: {error}"))),
        // The runtime is going down: the next agent does it again.
        Ok(Ok(())) | Err(_) => Ok(()),
    }
}

fn make_dir(path: &Path) -> std::io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o755).create(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(container_port: u16, protocol: &str) -> PortMapping {
        PortMapping { container_port, host_port: 0, protocol: protocol.to_owned() }
    }

    #[test]
    fn a_port_is_bound_by_number_and_protocol() {
        let binding = |host_port, protocol| Binding { container_port: 53, host_port, protocol };
        let published = vec![binding(50_000, Protocol::Tcp), binding(50_001, Protocol::Udp)];
        let published_at = Ipv4Addr::new(10, 0, 0, 6);
        let network = PreparedNetwork { namespace: None, ip: None, published, published_at, host: false };
        let bound = network.bindings_of(&[port(53, "udp"), port(80, "tcp")]);
        assert_eq!(bound.len(), 1);
        assert_eq!((bound[0].host_port, bound[0].protocol.as_str()), (50_001, "udp"));
        assert_eq!(bound[0].bind_ip, "10.0.0.6");
    }

    #[test]
    fn ports_in_network_mode_host_are_the_hosts() {
        let network =
            PreparedNetwork { namespace: None, ip: None, published: vec![], published_at: loopback(), host: true };
        let bound = network.bindings_of(&[port(80, "tcp")]);
        assert_eq!((bound[0].host_port, bound[0].bind_ip.as_str()), (80, "0.0.0.0"));
    }

    #[test]
    fn name_servers_on_the_hosts_loopback_are_left_out() {
        let host = "search a.example\nnameserver 127.0.0.53\nnameserver 192.0.2.1\n";
        let default = HostConfig::default();
        assert_eq!(resolv_conf(host, &default, false), "search a.example\nnameserver 192.0.2.1\n");
        assert!(resolv_conf(host, &default, true).contains("127.0.0.53"));
        let own = HostConfig { dns: vec!["192.0.2.9".into()], dns_search: vec!["b".into()], ..HostConfig::default() };
        assert_eq!(resolv_conf(host, &own, false), "nameserver 192.0.2.9\nsearch b\n");
    }

    #[test]
    fn a_tasks_limits_are_its_cgroups() {
        let task = Task { cpu: Some(0.25), memory: Some(512), ..Task::default() };
        let resources = task_resources(&task, 100);
        assert_eq!((resources.cpu_quota_us, resources.memory_limit_bytes), (Some(25_000), Some(512 << 20)));
        assert_eq!(task_resources(&Task::default(), 100).memory_limit_bytes, None);
    }
}
