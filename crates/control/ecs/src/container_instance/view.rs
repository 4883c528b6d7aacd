//! A container instance as DescribeContainerInstances shows it.

use std::collections::BTreeSet;

use estiva_api_ecs::types as api;
use estiva_planning::placement::Resources;
use estiva_store::{Row, Snapshot};

use super::table::{ConnectionRow, ContainerInstanceRow, GPUS, ReservationRow, TASK_SLOTS};

/// What an answer has of an instance besides what it always has.
#[derive(Clone, Copy, Default)]
pub(super) struct Include {
    pub tags: bool,
    pub health: bool,
}

impl Include {
    pub const TAGS: Self = Self { tags: true, health: false };

    pub fn of(fields: Option<&[api::ContainerInstanceField]>) -> Self {
        let has = |field| fields.unwrap_or_default().contains(&field);
        Self {
            tags: has(api::ContainerInstanceField::Tags),
            health: has(api::ContainerInstanceField::ContainerInstanceHealth),
        }
    }
}

pub(super) fn to_api(view: &Snapshot, row: &ContainerInstanceRow, include: Include) -> api::ContainerInstance {
    let key = row.key();
    let reservation = view.get::<ReservationRow>(&key);
    let count = |count: i64| i32::try_from(count).unwrap_or(i32::MAX);
    let remaining = reservation.as_ref().map_or(&row.registered, |reservation| &reservation.remaining);
    let has_gpus = row.registered.gpus > 0;
    let attribute = |it: &super::table::InstanceAttribute| api::Attribute {
        name: it.name.clone(),
        value: it.value.clone(),
        ..api::Attribute::default()
    };
    let version = view.revision_of::<ContainerInstanceRow>(&key).max(view.revision_of::<ReservationRow>(&key));
    api::ContainerInstance {
        agent_connected: Some(is_connected(view, &key)),
        attachments: Some(Vec::new()),
        attributes: Some(row.attributes.iter().map(attribute).collect()),
        container_instance_arn: Some(row.arn()),
        ec2_instance_id: Some(row.ec2_instance_id.clone()),
        health_status: include.health.then(|| health(view, &key)),
        pending_tasks_count: Some(reservation.as_ref().map_or(0, |it| count(it.pending_tasks))),
        registered_at: Some(row.registered_at),
        registered_resources: Some(resources(&row.registered, has_gpus)),
        remaining_resources: Some(resources(remaining, has_gpus)),
        running_tasks_count: Some(reservation.as_ref().map_or(0, |it| count(it.running_tasks))),
        status: Some(row.status.as_str().to_owned()),
        tags: Some(if include.tags { row.tags.to_api() } else { Vec::new() }),
        version: i64::try_from(version).ok(),
        version_info: row.version_info.clone(),
        ..api::ContainerInstance::default()
    }
}

/// Whether the instance's agent has a session.
pub(super) fn is_connected(view: &Snapshot, key: &str) -> bool {
    view.get::<ConnectionRow>(key).is_some_and(|row| row.connected)
}

/// Of what ECS checks, the control plane knows one thing by itself.
fn health(view: &Snapshot, key: &str) -> api::ContainerInstanceHealthStatus {
    use api::InstanceHealthCheckState as State;
    let connection = view.get::<ConnectionRow>(key);
    let status = match &connection {
        None => State::Initializing,
        Some(connection) if connection.connected => State::Ok,
        Some(_) => State::Impaired,
    };
    let check = api::InstanceHealthCheckResult {
        last_status_change: connection.as_ref().map(|connection| connection.changed_at),
        last_updated: connection.as_ref().map(|connection| connection.changed_at),
        status: Some(status),
        status_reason: (status == State::Impaired).then(|| "The agent is not connected.".to_owned()),
        r#type: Some(api::InstanceHealthCheckType::AgentConnectivity),
    };
    api::ContainerInstanceHealthStatus { details: Some(vec![check]), overall_status: Some(status) }
}

/// GPUs are counted, not told apart, and an instance that has none says nothing of them.
fn resources(resources: &Resources, has_gpus: bool) -> Vec<api::Resource> {
    let integer = |name: &str, value: i64| api::Resource {
        name: Some(name.to_owned()),
        r#type: Some("INTEGER".to_owned()),
        integer_value: Some(i32::try_from(value).unwrap_or(i32::MAX)),
        long_value: Some(0),
        double_value: Some(0.0),
        ..api::Resource::default()
    };
    let ports = |name: &str, ports: &BTreeSet<u16>| api::Resource {
        name: Some(name.to_owned()),
        r#type: Some("STRINGSET".to_owned()),
        string_set_value: Some(ports.iter().map(u16::to_string).collect()),
        integer_value: Some(0),
        long_value: Some(0),
        double_value: Some(0.0),
    };
    let mut shown = vec![
        integer("CPU", resources.cpu),
        integer("MEMORY", resources.memory),
        ports("PORTS", &resources.tcp_ports),
        ports("PORTS_UDP", &resources.udp_ports),
    ];
    if has_gpus {
        shown.push(integer(GPUS, resources.gpus));
    }
    shown.extend(resources.task_slots.map(|slots| integer(TASK_SLOTS, slots)));
    shown
}
