//! A container instance as DescribeContainerInstances shows it.

use std::collections::BTreeSet;

use estiva_api_ecs::types as api;
use estiva_planning::placement::Resources;
use estiva_store::{Row, Snapshot};

use super::table::{ConnectionRow, ContainerInstanceRow, ReservationRow};

pub(super) fn to_api(view: &Snapshot, row: &ContainerInstanceRow, with_tags: bool) -> api::ContainerInstance {
    let key = row.key();
    let reservation = view.get::<ReservationRow>(&key);
    let count = |count: i64| i32::try_from(count).unwrap_or(i32::MAX);
    let remaining = reservation.as_ref().map_or(&row.registered, |reservation| &reservation.remaining);
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
        pending_tasks_count: Some(reservation.as_ref().map_or(0, |it| count(it.pending_tasks))),
        registered_at: Some(row.registered_at),
        registered_resources: Some(resources(&row.registered)),
        remaining_resources: Some(resources(remaining)),
        running_tasks_count: Some(reservation.as_ref().map_or(0, |it| count(it.running_tasks))),
        status: Some(row.status.as_str().to_owned()),
        tags: Some(if with_tags { row.tags.to_api() } else { Vec::new() }),
        version: i64::try_from(version).ok(),
        version_info: row.version_info.clone(),
        ..api::ContainerInstance::default()
    }
}

/// Whether the instance's agent has a session.
pub(super) fn is_connected(view: &Snapshot, key: &str) -> bool {
    view.get::<ConnectionRow>(key).is_some_and(|row| row.connected)
}

fn resources(resources: &Resources) -> Vec<api::Resource> {
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
    vec![
        integer("CPU", resources.cpu),
        integer("MEMORY", resources.memory),
        ports("PORTS", &resources.tcp_ports),
        ports("PORTS_UDP", &resources.udp_ports),
    ]
}
