//! What the node serves to the containers on it: credentials, task metadata, task protection.
//!
//! It listens on the host's loopback. Tasks with a network of their own reach it as 169.254.170.2, by the firewall, which lets no
//! task use another's address: who asks is known by where the question comes from. Tasks with the host's network ask at the
//! loopback address itself; they prove themselves by what only they know.

mod limit;
mod metadata;
mod protection;
mod routes;
mod server;
mod stats;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};

pub(crate) use server::Endpoint;
pub use server::listen_for_containers;

/// Where AWS's agent has its credentials, and its metadata.
const TASK_ADDRESS: Ipv4Addr = Ipv4Addr::new(169, 254, 170, 2);

/// Where containers find their node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EndpointAddress {
    /// On the host's loopback.
    pub local: SocketAddrV4,
    /// Estiva's own APIs, as a URL, for tasks with a network of their own and for those with the host's.
    pub apis: Option<(String, String)>,
}

impl EndpointAddress {
    /// The variables that lead a container there. `credentials` is their id, and what a task with the host's network shows.
    pub fn variables(
        &self,
        network_mode: &str,
        endpoint_id: &str,
        credentials: Option<(&str, &str)>,
    ) -> BTreeMap<String, String> {
        if network_mode == "none" {
            return BTreeMap::new();
        }
        let of_host = network_mode == "host";
        let base = if of_host { format!("http://{}", self.local) } else { format!("http://{TASK_ADDRESS}") };
        let mut variables = BTreeMap::from([
            ("ECS_CONTAINER_METADATA_URI".to_owned(), format!("{base}/v3/{endpoint_id}")),
            ("ECS_CONTAINER_METADATA_URI_V4".to_owned(), format!("{base}/v4/{endpoint_id}")),
            ("ECS_AGENT_URI".to_owned(), format!("{base}/api/{endpoint_id}")),
        ]);
        if let Some((id, authorization)) = credentials {
            let path = format!("/v2/credentials/{id}");
            if of_host {
                variables.insert("AWS_CONTAINER_CREDENTIALS_FULL_URI".to_owned(), format!("{base}{path}"));
                variables.insert("AWS_CONTAINER_AUTHORIZATION_TOKEN".to_owned(), authorization.to_owned());
            } else {
                variables.insert("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI".to_owned(), path);
            }
            if let Some((of_tasks, of_this_host)) = &self.apis {
                let url = if of_host { of_this_host } else { of_tasks };
                variables.insert("AWS_ENDPOINT_URL".to_owned(), url.clone());
            }
        }
        variables
    }
}
