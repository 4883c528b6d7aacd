//! Task metadata, versions 2, 3 and 4, in the shape of AWS's agent.

use estiva_agent_protocol::task::Container;
use estiva_model::Timestamp;
use estiva_network::TaskNetwork;
use estiva_planning::lifecycle::{ContainerStatus, HealthStatus};
use serde_json::{Map, Value, json};

use crate::engine::{KnownContainer, TaskView, docker_config, docker_name};

/// Which shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    V2,
    V3,
    V4,
}

/// What surrounds a task.
pub(super) struct Around<'a> {
    /// The cluster, by ARN.
    pub network: Option<&'a TaskNetwork>,
    /// Prefix length and gateway of the node's subnet.
    pub subnet: (String, String),
    /// Bytes of the task's own file system: used, and in all.
    pub ephemeral_storage: Option<(u64, u64)>,
}

/// A task, with its containers.
pub(super) fn task(view: &TaskView, around: &Around<'_>, version: Version) -> Value {
    let task = &view.task;
    let known = &view.known;
    let mut limits = Map::new();
    if let Some(cpu) = task.cpu {
        limits.insert("CPU".to_owned(), json!(cpu));
    }
    if let Some(memory) = task.memory {
        limits.insert("Memory".to_owned(), json!(memory));
    }
    let containers: Vec<Value> = known.containers.iter().map(|it| container(view, it, around, version)).collect();
    let mut value = json!({
        "Cluster": task.task_cluster_arn,
        "TaskARN": task.arn,
        "Family": task.family,
        "Revision": task.version,
        "DesiredStatus": view.desired.as_str(),
        "KnownStatus": known.status.as_str(),
        "Containers": containers,
    });
    if !limits.is_empty() {
        value["Limits"] = Value::Object(limits);
    }
    for (name, at) in [
        ("PullStartedAt", known.pull_started_at),
        ("PullStoppedAt", known.pull_stopped_at),
        ("ExecutionStoppedAt", known.execution_stopped_at),
    ] {
        insert_time(&mut value, name, at);
    }
    if let Some(zone) = &task.zone {
        value["AvailabilityZone"] = json!(zone);
    }
    if version == Version::V4 {
        value["LaunchType"] = json!(task.launch_type.as_deref().unwrap_or("EC2"));
        value["VPCID"] = json!("");
        if let Some(service) = &task.service_name {
            value["ServiceName"] = json!(service);
        }
        if let Some((utilized, reserved)) = around.ephemeral_storage {
            value["EphemeralStorageMetrics"] = json!({ "Utilized": utilized >> 20, "Reserved": reserved >> 20 });
        }
        value["FaultInjectionEnabled"] = json!(false);
    }
    value
}

/// One container.
pub(super) fn container(view: &TaskView, known: &KnownContainer, around: &Around<'_>, version: Version) -> Value {
    let none = Container::default();
    let definition = view.task.containers.iter().find(|it| it.name == known.name).unwrap_or(&none);
    let (config, host_config) = docker_config(definition).unwrap_or_default();
    let task = &view.task;
    let mut value = json!({
        "DockerId": known.runtime_id,
        "Name": known.name,
        "DockerName": docker_name(task, &known.name, &known.runtime_id),
        "Image": definition.image,
        "ImageID": known.image_digest.as_deref().unwrap_or_default(),
        "Labels": config.labels,
        "DesiredStatus": view.desired.as_str(),
        "KnownStatus": known.status.as_str(),
        "Limits": { "CPU": definition.cpu, "Memory": definition.memory },
        "Type": "NORMAL",
        "Networks": [network(view, around, version)],
    });
    if !known.network_bindings.is_empty() {
        let port = |it: &estiva_planning::lifecycle::NetworkBinding| {
            let mut port =
                json!({ "ContainerPort": it.container_port, "Protocol": it.protocol, "HostPort": it.host_port });
            if version == Version::V4 {
                port["HostIp"] = json!(it.bind_ip);
            }
            port
        };
        value["Ports"] = known.network_bindings.iter().map(port).collect();
    }
    insert_time(&mut value, "CreatedAt", known.started_at);
    insert_time(&mut value, "StartedAt", known.started_at);
    insert_time(&mut value, "FinishedAt", known.finished_at);
    if let Some(code) = known.exit_code.filter(|_| known.status == ContainerStatus::Stopped) {
        value["ExitCode"] = json!(code);
    }
    if config.healthcheck.is_some() {
        value["Health"] = json!({ "status": health(known.health) });
        insert_time(&mut value["Health"], "statusSince", known.health_since);
    }
    if version == Version::V4 {
        value["ContainerARN"] = json!(definition.container_arn);
        if let Some(log) = host_config.log_config {
            value["LogDriver"] = json!(log.driver);
            value["LogOptions"] = log.config.into_iter().filter(|(name, _)| !is_secret(name)).collect();
        }
        if definition.restart_policy.as_ref().is_some_and(|policy| policy.enabled) {
            value["RestartCount"] = json!(known.restarts);
        }
    }
    value
}

fn network(view: &TaskView, around: &Around<'_>, version: Version) -> Value {
    let mode = view.task.network_mode.as_deref().unwrap_or("bridge");
    let addresses: Vec<String> =
        around.network.and_then(|network| network.ip).iter().map(ToString::to_string).collect();
    let mut value = json!({ "NetworkMode": mode });
    if mode != "host" {
        value["IPv4Addresses"] = json!(addresses);
    }
    if version == Version::V4
        && let Some(eni) = view.task.elastic_network_interfaces.first()
    {
        let (prefix, gateway) = &around.subnet;
        value["AttachmentIndex"] = json!(0);
        value["MACAddress"] = json!(eni.mac_address);
        value["IPv4SubnetCIDRBlock"] = json!(prefix);
        value["SubnetGatewayIpv4Address"] = json!(gateway);
    }
    value
}

fn insert_time(value: &mut Value, name: &str, at: Option<Timestamp>) {
    if let Some(at) = at {
        value[name] = json!(at.to_rfc3339());
    }
}

fn health(health: HealthStatus) -> &'static str {
    health.as_str()
}

/// Options of log drivers that would let their reader in elsewhere.
fn is_secret(option: &str) -> bool {
    ["token", "password", "secret", "key"].iter().any(|word| option.contains(word))
}
