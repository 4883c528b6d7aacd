//! The OCI image format's documents, as far as a node needs them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// An image has at most so many layers: what overlayfs takes in one mount, with room to spare.
pub(crate) const LAYERS_MAX: usize = 127;
/// Manifests and configurations are a few KiB; registries refuse more than this.
pub(crate) const DOCUMENT_BYTES_MAX: u64 = 4 << 20;

/// What an image says of the containers made from it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// `KEY=value` entries.
    pub env: Vec<String>,
    /// Comes before the command.
    pub entrypoint: Vec<String>,
    /// The command, unless the task definition has one.
    pub cmd: Vec<String>,
    /// Where the command starts.
    pub working_dir: String,
    /// `user[:group]`.
    pub user: String,
    /// A signal's name or number; empty is SIGTERM.
    pub stop_signal: String,
    /// `port/protocol` entries.
    pub exposed_ports: Vec<String>,
}

/// An index: manifests for several platforms. Docker's manifest list has the same form.
#[derive(Debug, Deserialize)]
pub(crate) struct Index {
    pub manifests: Vec<Descriptor>,
}

/// A manifest: a configuration and layers. Docker's schema 2 has the same form.
#[derive(Debug, Deserialize)]
pub(crate) struct Manifest {
    pub config: Descriptor,
    pub layers: Vec<Descriptor>,
}

/// What names content.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    pub digest: Digest,
    pub size: u64,
    #[serde(default)]
    pub platform: Option<Platform>,
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
}

/// What a manifest is for.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Platform {
    pub os: String,
    pub architecture: String,
}

/// An index or a manifest: which it is, its members tell.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Document {
    Index(Index),
    Manifest(Manifest),
}

/// An image's configuration file.
#[derive(Debug, Deserialize)]
pub(crate) struct ConfigFile {
    #[serde(default)]
    config: Option<RawConfig>,
    pub rootfs: Rootfs,
}

/// The layers, the lowest first.
#[derive(Debug, Deserialize)]
pub(crate) struct Rootfs {
    pub diff_ids: Vec<Digest>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct RawConfig {
    env: Option<Vec<String>>,
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    working_dir: Option<String>,
    user: Option<String>,
    stop_signal: Option<String>,
    exposed_ports: Option<BTreeMap<String, serde_json::Value>>,
}

impl ConfigFile {
    /// What it says of containers.
    pub fn container_config(&self) -> ImageConfig {
        let Some(raw) = &self.config else { return ImageConfig::default() };
        ImageConfig {
            env: raw.env.clone().unwrap_or_default(),
            entrypoint: raw.entrypoint.clone().unwrap_or_default(),
            cmd: raw.cmd.clone().unwrap_or_default(),
            working_dir: raw.working_dir.clone().unwrap_or_default(),
            user: raw.user.clone().unwrap_or_default(),
            stop_signal: raw.stop_signal.clone().unwrap_or_default(),
            exposed_ports: raw.exposed_ports.iter().flatten().map(|(port, _)| port.clone()).collect(),
        }
    }
}

impl Index {
    /// The manifest for this machine; one that names no platform is for every one.
    pub fn for_this_machine(&self) -> Option<&Descriptor> {
        let fits = |descriptor: &&Descriptor| {
            descriptor.platform.as_ref().is_some_and(|it| it.os == "linux" && it.architecture == architecture())
        };
        let unnamed = |descriptor: &&Descriptor| descriptor.platform.is_none();
        self.manifests.iter().find(fits).or_else(|| self.manifests.iter().find(unnamed))
    }
}

/// This machine's architecture, by Go's name for it.
pub(crate) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
