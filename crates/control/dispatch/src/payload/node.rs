//! The node that reads a payload: what Estiva's own agent does by itself has to be written out for AWS's.

use std::net::IpAddr;

use estiva_ecs::container_instance::table::ContainerInstanceRow;
use estiva_store::Snapshot;
use hyper::Uri;

/// AWS's agent registers it when it can point dockerd at a task's execution role.
const EXECUTION_ROLE_LOGS: &str = "ecs.capability.execution-role-awslogs";

/// What the payloads of a node depend on.
#[derive(Debug)]
pub(crate) struct Node {
    /// Whether it runs Estiva's own agent.
    pub own: bool,
    /// Whether its containers' lines go out with the execution role's credentials. Estiva's agent sends them with its own.
    pub logs_as_execution_role: bool,
    /// The URL at which it reaches the APIs.
    pub endpoint: String,
}

impl Node {
    /// The container instance with this key. One that is gone gets no tasks.
    pub fn of(view: &Snapshot, instance: &str, endpoint: &str) -> Self {
        let row = view.get::<ContainerInstanceRow>(instance);
        let own = row.as_ref().is_none_or(|row| row.has_own_agent());
        let says = |name: &str| row.as_ref().is_some_and(|row| row.attribute(name).is_some());
        Self { own, logs_as_execution_role: !own && says(EXECUTION_ROLE_LOGS), endpoint: endpoint.to_owned() }
    }

    /// Where SDKs in containers find the APIs, unless Estiva's agent tells them. A container's loopback is not the node's.
    pub fn endpoint_for_tasks(&self) -> Option<&str> {
        (!self.own && !is_of_host(&self.endpoint)).then_some(self.endpoint.as_str())
    }
}

/// Whether a URL means the host that it is used on, or none.
fn is_of_host(url: &str) -> bool {
    let uri: Option<Uri> = url.parse().ok();
    let Some(host) = uri.as_ref().and_then(Uri::host) else { return true };
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback() || address.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loopback_address_leads_no_container_anywhere() {
        for url in [
            "http://127.0.0.1:4566",
            "http://127.9.9.9",
            "http://localhost:1",
            "http://[::1]:4566",
            "http://0.0.0.0:1",
            "",
        ] {
            assert!(is_of_host(url), "{url}");
        }
        for url in ["http://10.0.0.7:4566", "https://estiva.example", "http://[fd00::1]:4566"] {
            assert!(!is_of_host(url), "{url}");
        }
    }
}
