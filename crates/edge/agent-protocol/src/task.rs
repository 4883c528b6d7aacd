//! A task as it travels to a node.
//!
//! What has no field of its own on a container travels as JSON texts of the Docker Engine API's `Config` and
//! `HostConfig`, because AWS's agent hands them to Docker: [`docker`] has the part of them that ECS uses.

pub mod docker;
mod volume;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

pub use volume::{DockerVolume, HostVolume, Volume};

/// A task to run or to stop.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Task {
    /// Identifies the task: the same ARN again is the same task.
    pub arn: String,
    /// The cluster that the task belongs to; not the node's own for a task on Fargate capacity.
    pub task_cluster_arn: String,
    /// The task definition's family.
    pub family: String,
    /// The task definition's revision.
    pub version: String,
    /// RUNNING or STOPPED.
    pub desired_status: String,
    /// The task's containers, in the order of the task definition.
    pub containers: Vec<Container>,
    /// Volumes that containers mount.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<Volume>,
    /// The task's own CPU limit, in vCPUs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<f64>,
    /// The task's own memory limit, in MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<i64>,
    /// bridge, host, none or awsvpc.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_mode: Option<String>,
    /// The interface of a task in network mode awsvpc.
    #[serde(
        rename = "ElasticNetworkInterfaces",
        alias = "elasticNetworkInterfaces",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub elastic_network_interfaces: Vec<ElasticNetworkInterface>,
    /// The task role's credentials.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role_credentials: Option<Credentials>,
    /// The execution role's credentials.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub execution_role_credentials: Option<Credentials>,
    /// EC2, FARGATE or EXTERNAL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub launch_type: Option<String>,
    /// The task's group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The service that the task belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_name: Option<String>,
    /// host or task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid_mode: Option<String>,
    /// host, task or none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ipc_mode: Option<String>,
    /// GiB of disk for the task's containers and volumes; Estiva's own field.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ephemeral_storage: Option<u64>,
    /// The availability zone; Estiva's own field.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
}

/// One container of a task. Overrides are merged in before it is sent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Container {
    /// Unique in the task.
    pub name: String,
    /// What to pull.
    pub image: String,
    /// CPU units: 1024 are a core.
    pub cpu: i64,
    /// The hard limit, in MiB; 0 is none.
    pub memory: i64,
    /// Whether the task ends when this container does.
    pub essential: bool,
    /// Replaces the image's Cmd.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// Replaces the image's Entrypoint.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub entry_point: Vec<String>,
    /// Variables that go on top of the image's.
    pub environment: BTreeMap<String, String>,
    /// Ports to publish.
    pub port_mappings: Vec<PortMapping>,
    /// Volumes to mount.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mount_points: Vec<MountPoint>,
    /// Which containers must be how far before this one starts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<ContainerDependency>,
    /// Seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_timeout: Option<u32>,
    /// When it is started again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart_policy: Option<RestartPolicy>,
    /// Other containers' mounts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub volumes_from: Vec<VolumesFrom>,
    /// `container` or `container:alias`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<String>,
    /// `docker` when [`docker::Config`] has a health check.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health_check_type: Option<String>,
    /// Of a log router.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub firelens_configuration: Option<FirelensConfiguration>,
    /// For a private registry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registry_authentication: Option<RegistryAuthentication>,
    /// Seconds from SIGTERM to SIGKILL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_timeout: Option<u32>,
    /// Whose credentials the log driver uses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logs_auth_strategy: Option<String>,
    /// The container's ARN.
    pub container_arn: String,
    /// JSON text; may hold `command` alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overrides: Option<String>,
    /// What has no field of its own.
    pub docker_config: DockerConfig,
}

/// Docker's Config and HostConfig, each as JSON text.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DockerConfig {
    /// [`docker::Config`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<String>,
    /// [`docker::HostConfig`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_config: Option<String>,
    /// The Docker Engine API's version that the texts are of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// A port to publish.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PortMapping {
    /// In the container.
    pub container_port: u16,
    /// On the node; 0 is any free one.
    pub host_port: u16,
    /// tcp or udp.
    pub protocol: String,
}

/// A volume mounted in a container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MountPoint {
    /// The volume's name.
    pub source_volume: String,
    /// Where in the container.
    pub container_path: String,
    /// Whether writing is refused.
    pub read_only: bool,
}

/// What a container waits for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerDependency {
    /// Which container.
    pub container_name: String,
    /// START, COMPLETE, SUCCESS or HEALTHY.
    pub condition: String,
}

/// Another container whose mounts a container gets too.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VolumesFrom {
    /// Which container.
    pub source_container: String,
    /// Whether writing is refused.
    pub read_only: bool,
}

/// When a container that has ended is started again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RestartPolicy {
    /// Whether at all.
    pub enabled: bool,
    /// Exit codes that end it for good.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ignored_exit_codes: Vec<i32>,
    /// Seconds that it must have run; 0 is ECS's default.
    pub restart_attempt_period: u32,
}

/// The container routes the logs of the task's others.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FirelensConfiguration {
    /// fluentbit or fluentd.
    #[serde(rename = "type")]
    pub kind: String,
    /// enable-ecs-log-metadata, config-file-type, config-file-value.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
}

/// How a private registry is convinced.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RegistryAuthentication {
    /// asm or ecr.
    #[serde(rename = "type")]
    pub kind: String,
    /// Of type asm.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asm_auth_data: Option<AsmAuthData>,
}

/// A secret that holds `{"username": …, "password": …}`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AsmAuthData {
    /// The secret's ARN.
    pub credentials_parameter: String,
    /// Where the secret is.
    pub region: String,
}

/// A network interface of a task's own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ElasticNetworkInterface {
    /// `eni-` and 17 hexadecimal digits.
    pub ec2_id: String,
    /// The attachment that [`AttachmentStateChange`](https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_AttachmentStateChange.html) reports on.
    pub attachment_arn: String,
    /// Colon-separated.
    pub mac_address: String,
    /// One of them is primary.
    pub ipv4_addresses: Vec<Ipv4Assignment>,
    /// `address/prefix length`.
    pub subnet_gateway_ipv4_address: String,
    /// For the containers' resolv.conf.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub domain_name_servers: Vec<String>,
    /// The host name inside the VPC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub private_dns_name: Option<String>,
}

/// An address of a network interface.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Ipv4Assignment {
    /// Dotted decimal.
    pub private_address: String,
    /// The one that the default route uses.
    pub primary: bool,
}

/// Temporary credentials of a role.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Credentials {
    /// Names them in the node's credentials endpoint.
    pub credentials_id: String,
    /// The role.
    pub role_arn: String,
    /// The public half.
    pub access_key_id: String,
    /// Never logged.
    pub secret_access_key: Zeroizing<String>,
    /// Never logged.
    pub session_token: Zeroizing<String>,
    /// ISO 8601.
    pub expiration: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Credentials")
            .field("credentials_id", &self.credentials_id)
            .field("role_arn", &self.role_arn)
            .field("access_key_id", &self.access_key_id)
            .field("expiration", &self.expiration)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_do_not_reach_a_debug_text() {
        let credentials = Credentials {
            secret_access_key: "very-secret".to_owned().into(),
            session_token: "token-text".to_owned().into(),
            ..Credentials::default()
        };
        let text = format!("{credentials:?}");
        assert!(!text.contains("very-secret") && !text.contains("token-text"));
    }
}
