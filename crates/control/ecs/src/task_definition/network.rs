//! Ports, names and addresses of containers, by network mode.

use std::collections::BTreeSet;

use estiva_api_ecs::Error;
use estiva_api_ecs::types as api;

use super::field_error::field_error;

/// Ports of one range.
const RANGE_PORTS_MAX: i32 = 100;

/// Checks what the container at `place` asks of the network.
pub(super) fn check(place: usize, container: &api::ContainerDefinition, mode: api::NetworkMode) -> Result<(), Error> {
    for mapping in container.port_mappings.iter().flatten() {
        check_port(mapping, mode).map_err(|text| field_error(place, "portMappings", text))?;
    }
    let awsvpc = mode == api::NetworkMode::Awsvpc;
    let host = mode == api::NetworkMode::Host;
    let some = |list: Option<usize>| list.is_some_and(|count| count > 0);
    for (field, given, refused) in [
        ("hostname", container.hostname.as_ref().is_some_and(|name| !name.is_empty()), awsvpc || host),
        ("links", some(container.links.as_ref().map(Vec::len)), mode != api::NetworkMode::Bridge),
        ("dnsServers", some(container.dns_servers.as_ref().map(Vec::len)), awsvpc),
        ("dnsSearchDomains", some(container.dns_search_domains.as_ref().map(Vec::len)), awsvpc),
        ("extraHosts", some(container.extra_hosts.as_ref().map(Vec::len)), awsvpc),
        ("disableNetworking", container.disable_networking == Some(true), awsvpc || host),
    ] {
        if given && refused {
            return Err(field_error(place, field, format!("is not supported in network mode {}", mode.as_str())));
        }
    }
    Ok(())
}

fn check_port(mapping: &api::PortMapping, mode: api::NetworkMode) -> Result<(), String> {
    let port = |port: Option<i32>, least: i32| port.is_none_or(|port| (least..=65_535).contains(&port));
    match (&mapping.container_port, &mapping.container_port_range) {
        (Some(_), Some(_)) => return Err("containerPort and containerPortRange exclude each other".to_owned()),
        (None, Some(range)) => return check_range(range, mapping, mode),
        (None, None) => return Err("containerPort must be from 1 to 65535".to_owned()),
        (Some(_), None) => {}
    }
    if !port(mapping.container_port, 1) {
        return Err("containerPort must be from 1 to 65535".to_owned());
    }
    if !port(mapping.host_port, 0) {
        return Err("hostPort must be from 0 to 65535".to_owned());
    }
    if mapping.app_protocol.is_some() && mapping.protocol == Some(api::TransportProtocol::Udp) {
        return Err("appProtocol is for the protocol tcp".to_owned());
    }
    let same = mapping.host_port.is_none_or(|host| host == 0 || Some(host) == mapping.container_port);
    match mode {
        api::NetworkMode::None => Err("are not allowed in networkMode none".to_owned()),
        api::NetworkMode::Awsvpc | api::NetworkMode::Host if !same => Err(format!(
            "When networkMode={}, the host ports and container ports in port mappings must match.",
            mode.as_str()
        )),
        _ => Ok(()),
    }
}

fn check_range(range: &str, mapping: &api::PortMapping, mode: api::NetworkMode) -> Result<(), String> {
    if !matches!(mode, api::NetworkMode::Bridge | api::NetworkMode::Awsvpc) {
        return Err("containerPortRange is for the network modes bridge and awsvpc".to_owned());
    }
    if mapping.host_port.is_some() {
        return Err("hostPort is not allowed with containerPortRange".to_owned());
    }
    let ports = range.split_once('-').and_then(|(from, to)| Some((from.parse::<i32>().ok()?, to.parse::<i32>().ok()?)));
    match ports {
        Some((from, to)) if 1 <= from && from <= to && to <= 65_535 && to - from < RANGE_PORTS_MAX => Ok(()),
        _ => Err(format!("containerPortRange must be FROM-TO, of at most {RANGE_PORTS_MAX} ports")),
    }
}

/// In one task a host port, in a shared namespace a container port, and a port's name can be there only once.
pub(super) fn check_host_ports(containers: &[api::ContainerDefinition], mode: api::NetworkMode) -> Result<(), Error> {
    let (mut taken, mut names) = (BTreeSet::new(), BTreeSet::new());
    for (place, container) in containers.iter().enumerate() {
        for mapping in container.port_mappings.iter().flatten() {
            let shared = mode != api::NetworkMode::Bridge;
            let port = if shared { mapping.container_port } else { mapping.host_port.filter(|port| *port != 0) };
            let udp = mapping.protocol == Some(api::TransportProtocol::Udp);
            if let Some(port) = port
                && !taken.insert((port, udp))
            {
                return Err(field_error(place, "portMappings", format!("host port {port} is mapped twice")));
            }
            if let Some(name) = &mapping.name
                && !names.insert(name)
            {
                return Err(field_error(place, "portMappings", format!("the name {name} is given twice")));
            }
        }
    }
    Ok(())
}
