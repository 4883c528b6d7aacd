//! Volumes of a task.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A volume of the task.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Volume {
    /// Unique in the task.
    pub name: String,
    /// host, docker, efs, …
    #[serde(rename = "type")]
    pub kind: String,
    /// Of a volume of type host; never absent for one, AWS's agent demands it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<HostVolume>,
    /// Of a volume of type docker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub docker_volume_configuration: Option<DockerVolume>,
}

/// A directory of the node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HostVolume {
    /// Absent: an empty directory of the task's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_path: Option<String>,
}

/// A volume of a Docker volume driver.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DockerVolume {
    /// task or shared.
    pub scope: String,
    /// Of a shared one: whether it is made when it is not there.
    pub autoprovision: bool,
    /// `local` alone is known here.
    pub driver: String,
    /// Of the driver local: type, device, o, as mount(8) takes them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub driver_opts: BTreeMap<String, String>,
    /// The user's own.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}
