//! Ports, names and addresses of containers, by network mode.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use estiva_api_ecs::Error;
use estiva_api_ecs::types as api;

use super::field_error::field_error;

/// Ports of one range.
const RANGE_PORTS_MAX: usize = 100;

/// Checks what the container at `place` asks of the network.
pub(super) fn check(place: usize, container: &api::ContainerDefinition, mode: api::NetworkMode) -> Result<(), Error> {
    for mapping in container.port_mappings.iter().flatten() {
        check_single_or_range(mapping, mode).map_err(Error::client_exception)?;
        check_port(mapping, mode).map_err(|text| field_error(place, "portMappings", text))?;
    }
    let awsvpc = mode == api::NetworkMode::Awsvpc;
    let host = mode == api::NetworkMode::Host;
    let some = |list: Option<usize>| list.is_some_and(|count| count > 0);
    let hostname = container.hostname.as_ref().is_some_and(|name| !name.is_empty());
    for (words, given, refused) in [
        ("hostname is not supported on container", hostname, awsvpc || host),
        ("Links are not supported", some(container.links.as_ref().map(Vec::len)), mode != api::NetworkMode::Bridge),
        ("DNS servers are not supported on container", some(container.dns_servers.as_ref().map(Vec::len)), awsvpc),
        (
            "DNS search domains are not supported on container",
            some(container.dns_search_domains.as_ref().map(Vec::len)),
            awsvpc,
        ),
        ("Extra hosts are not supported on container", some(container.extra_hosts.as_ref().map(Vec::len)), awsvpc),
        (
            "Disable Networking is not supported on container",
            container.disable_networking == Some(true),
            awsvpc || host,
        ),
    ] {
        if given && refused {
            return Err(Error::client_exception(format!("{words} when networkMode={}.", mode.as_str())));
        }
    }
    Ok(())
}

/// What ECS has words for.
fn check_single_or_range(mapping: &api::PortMapping, mode: api::NetworkMode) -> Result<(), String> {
    if let Some(range) = &mapping.container_port_range {
        if mapping.container_port.is_some() || mapping.host_port.is_some() {
            return Err("cannot specify both single port and port range".to_owned());
        }
        let is_range = ports(range).is_some_and(|ports| ports.len() <= RANGE_PORTS_MAX);
        return if is_range { Ok(()) } else { Err(format!("Invalid 'containerPortRange' setting: {range}")) };
    }
    let same = mapping.host_port.is_none_or(|host| host == 0 || Some(host) == mapping.container_port);
    if matches!(mode, api::NetworkMode::Awsvpc | api::NetworkMode::Host) && mapping.container_port.is_some() && !same {
        return Err(format!(
            "When networkMode={}, the host ports and container ports in port mappings must match.",
            mode.as_str()
        ));
    }
    Ok(())
}

fn check_port(mapping: &api::PortMapping, mode: api::NetworkMode) -> Result<(), String> {
    let port = |port: Option<i32>, least: i32| port.is_none_or(|port| (least..=65_535).contains(&port));
    if mode == api::NetworkMode::None {
        return Err("are not allowed in networkMode none".to_owned());
    }
    if mapping.container_port_range.is_some() {
        if mode == api::NetworkMode::Host {
            return Err("containerPortRange is for the network modes bridge and awsvpc".to_owned());
        }
    } else if mapping.container_port.is_none() || !port(mapping.container_port, 1) {
        return Err("containerPort must be from 1 to 65535".to_owned());
    }
    if !port(mapping.host_port, 0) {
        return Err("hostPort must be from 0 to 65535".to_owned());
    }
    if mapping.app_protocol.is_some() && mapping.protocol == Some(api::TransportProtocol::Udp) {
        return Err("appProtocol is for the protocol tcp".to_owned());
    }
    Ok(())
}

/// The ports of `FROM-TO`.
fn ports(range: &str) -> Option<RangeInclusive<u16>> {
    let (from, to) = range.split_once('-')?;
    let (from, to) = (from.parse::<u16>().ok()?, to.parse::<u16>().ok()?);
    (1 <= from && from <= to).then_some(from..=to)
}

/// The container ports that a mapping names.
fn container_ports(mapping: &api::PortMapping) -> impl Iterator<Item = i32> {
    let range = mapping.container_port_range.as_deref().and_then(ports);
    let range = range.map(|ports| i32::from(*ports.start())..=i32::from(*ports.end()));
    range.or(mapping.container_port.map(|port| port..=port)).into_iter().flatten()
}

/// In one task a host port, in a shared namespace a container port, and a port's name can be there only once.
pub(super) fn check_host_ports(containers: &[api::ContainerDefinition], mode: api::NetworkMode) -> Result<(), Error> {
    let (mut taken, mut names) = (BTreeSet::new(), BTreeSet::new());
    let side = if mode == api::NetworkMode::Bridge { "host" } else { "container" };
    for mapping in containers.iter().flat_map(|container| container.port_mappings.iter().flatten()) {
        let fixed = mapping.host_port.filter(|port| *port != 0);
        let ports: Vec<i32> = match mode {
            api::NetworkMode::Bridge => fixed.into_iter().collect(),
            _ => container_ports(mapping).collect(),
        };
        let protocol = mapping.protocol.unwrap_or(api::TransportProtocol::Tcp).as_str();
        for port in ports {
            if !taken.insert((port, protocol)) {
                return Err(Error::client_exception(format!(
                    "{} {side} port '{port}' is used multiple times in task when networkMode={}.",
                    protocol.to_uppercase(),
                    mode.as_str()
                )));
            }
        }
        if let Some(name) = &mapping.name
            && !names.insert(name)
        {
            return Err(Error::client_exception(format!("port mapping name is already used: {name}")));
        }
    }
    Ok(())
}

/// The first container port of a task in network mode bridge that two of its containers publish: ECS gives each container a
/// network of its own.
pub(super) fn shared_bridge_port(containers: &[api::ContainerDefinition]) -> Option<(&str, &str, i32)> {
    let mut taken = BTreeMap::new();
    for container in containers {
        let name = container.name.as_deref().unwrap_or_default();
        for mapping in container.port_mappings.iter().flatten() {
            let protocol = mapping.protocol.unwrap_or(api::TransportProtocol::Tcp).as_str();
            for port in container_ports(mapping) {
                let first = *taken.entry((port, protocol)).or_insert(name);
                if first != name {
                    return Some((first, name, port));
                }
            }
        }
    }
    None
}
