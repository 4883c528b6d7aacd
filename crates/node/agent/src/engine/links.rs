//! Links between a task's containers. They share one network, so a linked container is reached at the task's own address.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use estiva_agent_protocol::task::{Container, Task};

/// `container` or `container:alias`.
fn parts(link: &str) -> (&str, &str) {
    link.split_once(':').unwrap_or((link, link))
}

/// Names of /etc/hosts: each linked container's, and its alias.
pub(super) fn aliases(container: &Container) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for link in &container.links {
        let (name, alias) = parts(link);
        for name in [alias, name] {
            if !names.iter().any(|known| known == name) {
                names.push(name.to_owned());
            }
        }
    }
    names
}

/// The variables that Docker sets for links: `ALIAS_NAME`, and for each port of the other container `ALIAS_PORT_80_TCP` and
/// its parts; `ALIAS_PORT` is the lowest port.
pub(super) fn variables(task: &Task, container: &Container, ip: Option<Ipv4Addr>) -> BTreeMap<String, String> {
    let ip = ip.unwrap_or(Ipv4Addr::LOCALHOST);
    let mut variables = BTreeMap::new();
    for link in &container.links {
        let (name, alias) = parts(link);
        let prefix = alias.to_ascii_uppercase().replace('-', "_");
        variables.insert(format!("{prefix}_NAME"), format!("/{}/{alias}", container.name));
        let Some(other) = task.containers.iter().find(|it| it.name == name) else { continue };
        let mut ports: Vec<_> =
            other.port_mappings.iter().map(|it| (it.container_port, it.protocol.as_str())).collect();
        ports.sort_unstable();
        for (index, (port, protocol)) in ports.into_iter().enumerate() {
            let key = format!("{prefix}_PORT_{port}_{}", protocol.to_ascii_uppercase());
            let url = format!("{protocol}://{ip}:{port}");
            if index == 0 {
                variables.insert(format!("{prefix}_PORT"), url.clone());
            }
            variables.insert(format!("{key}_ADDR"), ip.to_string());
            variables.insert(format!("{key}_PORT"), port.to_string());
            variables.insert(format!("{key}_PROTO"), protocol.to_owned());
            variables.insert(key, url);
        }
    }
    variables
}

#[cfg(test)]
mod tests {
    use estiva_agent_protocol::task::PortMapping;

    use super::*;

    #[test]
    fn a_linked_container_is_found_by_name_and_by_variable() {
        let port = PortMapping { container_port: 6379, host_port: 0, protocol: "tcp".into() };
        let cache = Container { name: "cache".into(), port_mappings: vec![port], ..Container::default() };
        let web = Container { name: "web".into(), links: vec!["cache:my-redis".into()], ..Container::default() };
        assert_eq!(aliases(&web), ["my-redis", "cache"]);
        let task = Task { containers: vec![cache, web.clone()], ..Task::default() };
        let variables = variables(&task, &web, Some([10, 0, 0, 2].into()));
        assert_eq!(variables["MY_REDIS_PORT"], "tcp://10.0.0.2:6379");
        assert_eq!(variables["MY_REDIS_PORT_6379_TCP_ADDR"], "10.0.0.2");
        assert_eq!(variables["MY_REDIS_NAME"], "/web/my-redis");
    }
}
