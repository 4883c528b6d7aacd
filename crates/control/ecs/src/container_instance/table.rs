//! The container instances' rows: the registration, the connection, and what is reserved on each.

use estiva_api_ecs::types as api;
use estiva_model::Timestamp;
use estiva_planning::placement::Resources;
use estiva_store::Row;
use serde::{Deserialize, Serialize};

use crate::scope::Scope;
use crate::tag::Tags;

/// A container instance as its agent registered it and its owner changed it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ContainerInstanceRow {
    /// Whose.
    pub scope: Scope,
    /// The cluster's name.
    pub cluster: String,
    /// 32 hexadecimal digits.
    pub id: String,
    /// Of the instance identity document; made up where there is none.
    pub ec2_instance_id: String,
    /// Whether it takes tasks.
    pub status: ContainerInstanceStatus,
    /// What the agent offered, as a demand: everything that tasks may take.
    pub registered: Resources,
    /// The agent's and the owner's attributes.
    pub attributes: Vec<InstanceAttribute>,
    /// Given back as it came.
    #[serde(with = "estiva_schema::json::verbatim_option", default, skip_serializing_if = "Option::is_none")]
    pub version_info: Option<api::VersionInfo>,
    /// The owner's labels.
    pub tags: Tags,
    /// When.
    pub registered_at: Timestamp,
    /// What the agent gave its first registration, so that it can ask again when it has not heard the answer.
    #[serde(default)]
    pub registration_token: Option<String>,
    /// Who registered it: only the same principal or the account's owner speaks for it.
    pub registered_by: String,
    /// When it was deregistered.
    #[serde(default)]
    pub inactive_since: Option<Timestamp>,
}

/// An attribute of a container instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceAttribute {
    /// Unique on the instance.
    pub name: String,
    /// Absent for one that is only there or not.
    pub value: Option<String>,
}

/// Whether a container instance takes tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ContainerInstanceStatus {
    /// Takes tasks.
    #[serde(rename = "ACTIVE")]
    Active,
    /// Takes no new tasks.
    #[serde(rename = "DRAINING")]
    Draining,
    /// Deregistered.
    #[serde(rename = "INACTIVE")]
    Inactive,
}

impl ContainerInstanceStatus {
    /// As ECS writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::Draining => "DRAINING",
            Self::Inactive => "INACTIVE",
        }
    }
}

/// All container instances of a cluster in a status.
pub const BY_CLUSTER_STATUS: &str = "cluster_status";
/// An instance that is not deregistered, by the token of its first registration.
pub const BY_REGISTRATION_TOKEN: &str = "registration_token";
/// The instances of all clusters that are deregistered; the value is empty.
pub const BY_INACTIVE: &str = "inactive";
/// The instances that also serve as Fargate capacity of their scope.
pub const BY_FARGATE: &str = "fargate";

/// Estiva's own agent registers it. AWS's agent has none of what Estiva adds to the node protocol: programs in containers, images
/// pulled ahead, an endpoint for SDKs, measurements of an interval.
pub const OWN_AGENT_ATTRIBUTE: &str = "estiva.agent";
/// With this attribute an agent offers its node to tasks of launch type FARGATE, of any cluster.
pub const FARGATE_ATTRIBUTE: &str = "estiva.capability.fargate";
/// Marks a node that is the owner's own machine: tasks of launch type EXTERNAL go there and no others.
pub const EXTERNAL_ATTRIBUTE: &str = "ecs.capability.external";
/// The addresses of the node that are for network interfaces of tasks, as `address/prefix length`.
pub const ENI_RANGE_ATTRIBUTE: &str = "estiva.eni-range";
/// The gateway of the node's subnet, as `address/prefix length`.
pub const ENI_GATEWAY_ATTRIBUTE: &str = "estiva.eni-gateway";
/// The resource in which an agent names its GPUs, as AWS's agent does.
pub const GPUS: &str = "GPU";
/// The resource in which an agent says how many tasks it takes; without it, as many as fit.
pub const TASK_SLOTS: &str = "ESTIVA_TASK_SLOTS";
/// Where the node stands.
pub const ZONE_ATTRIBUTE: &str = "ecs.availability-zone";

impl Row for ContainerInstanceRow {
    const TABLE: &'static str = "container_instances";

    fn key(&self) -> String {
        key(&self.scope, &self.cluster, &self.id)
    }

    fn indexes(&self) -> Vec<(&'static str, String)> {
        let mut indexes = vec![(BY_CLUSTER_STATUS, self.scope.key(&[&self.cluster, self.status.as_str()]))];
        if self.status == ContainerInstanceStatus::Active && self.attribute(FARGATE_ATTRIBUTE).is_some() {
            indexes.push((BY_FARGATE, self.scope.key(&[])));
        }
        if self.status == ContainerInstanceStatus::Inactive {
            indexes.push((BY_INACTIVE, String::new()));
        } else if let Some(token) = &self.registration_token {
            indexes.push((BY_REGISTRATION_TOKEN, self.scope.key(&[&self.cluster, token])));
        }
        indexes
    }
}

/// The key of a container instance in its three tables.
pub fn key(scope: &Scope, cluster: &str, id: &str) -> String {
    scope.key(&[cluster, id])
}

/// `arn:aws:ecs:region:account:container-instance/cluster/id`
pub fn arn(scope: &Scope, cluster: &str, id: &str) -> String {
    scope.arn(format!("container-instance/{cluster}/{id}"))
}

impl ContainerInstanceRow {
    /// Its ARN.
    pub fn arn(&self) -> String {
        arn(&self.scope, &self.cluster, &self.id)
    }

    /// The attribute of that name; an attribute without a value gives an empty text.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        let attribute = self.attributes.iter().find(|attribute| attribute.name == name)?;
        Some(attribute.value.as_deref().unwrap_or(""))
    }

    /// Whether the node runs Estiva's own agent. One that registered with an earlier version shows it by its addresses.
    pub fn has_own_agent(&self) -> bool {
        [OWN_AGENT_ATTRIBUTE, ENI_RANGE_ATTRIBUTE].into_iter().any(|name| self.attribute(name).is_some())
    }

    /// Where it stands.
    pub fn availability_zone(&self) -> String {
        self.attribute(ZONE_ATTRIBUTE).map_or_else(|| format!("{}a", self.scope.region), str::to_owned)
    }
}

/// Whether the agent is connected. Written by the server's end of the node protocol alone.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ConnectionRow {
    /// The container instance's key.
    pub instance: String,
    /// Whether an ACS session is open.
    pub connected: bool,
    /// Since when.
    pub changed_at: Timestamp,
}

impl Row for ConnectionRow {
    const TABLE: &'static str = "container_instance_connections";

    fn key(&self) -> String {
        self.instance.clone()
    }
}

/// What tasks have reserved on a container instance. Written by [`super::reservation`] alone, in the transaction that
/// places or stops the task: a scheduler never has to add up tasks.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReservationRow {
    /// The container instance's key.
    pub instance: String,
    /// What no task has taken.
    pub remaining: Resources,
    /// Tasks in RUNNING.
    pub running_tasks: i64,
    /// Tasks before RUNNING.
    pub pending_tasks: i64,
}

impl Row for ReservationRow {
    const TABLE: &'static str = "container_instance_reservations";

    fn key(&self) -> String {
        self.instance.clone()
    }
}

/// An address that a task's network interface holds on a node.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AddressRow {
    /// The container instance's key.
    pub instance: String,
    /// Dotted decimal.
    pub address: String,
    /// The key of the task that holds it.
    pub task: String,
}

/// The addresses of a container instance that tasks hold.
pub const BY_NODE: &str = "node";

impl Row for AddressRow {
    const TABLE: &'static str = "network_addresses";

    fn key(&self) -> String {
        address_key(&self.instance, &self.address)
    }

    fn indexes(&self) -> Vec<(&'static str, String)> {
        vec![(BY_NODE, self.instance.clone())]
    }
}

/// The key of an address of a node.
pub fn address_key(instance: &str, address: &str) -> String {
    format!("{instance}/{address}")
}
