//! The OCI image format's documents, as far as a node needs them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// An image has at most so many layers; overlayfs takes 500 in one mount.
pub(crate) const LAYERS_MAX: usize = 128;
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
    /// Absolute paths whose content is to be kept apart from the container's files.
    #[serde(default)]
    pub volumes: Vec<String>,
}

/// An index: manifests for several platforms. Docker's manifest list has the same form.
#[derive(Debug, Deserialize)]
pub(crate) struct Index {
    pub manifests: Vec<Descriptor>,
}

/// A manifest: a configuration and layers. Docker's schema 2 has the same form.
#[derive(Debug)]
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

/// An index or a manifest: which it is, its members tell. One that has those of both means one thing to us and another
/// to whoever checked it, and is refused (CVE-2021-41190).
#[derive(Debug, Deserialize)]
#[serde(try_from = "RawDocument")]
pub(crate) enum Document {
    Index(Index),
    Manifest(Manifest),
}

#[derive(Debug, Deserialize)]
struct RawDocument {
    manifests: Option<Vec<Descriptor>>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
}

impl TryFrom<RawDocument> for Document {
    type Error = &'static str;

    fn try_from(raw: RawDocument) -> Result<Self, Self::Error> {
        match raw {
            RawDocument { manifests: Some(manifests), config: None, layers: None } => {
                Ok(Self::Index(Index { manifests }))
            }
            RawDocument { manifests: None, config: Some(config), layers: Some(layers) } => {
                Ok(Self::Manifest(Manifest { config, layers }))
            }
            RawDocument { manifests: None, .. } => Err("it is no manifest of OCI's or of Docker's schema 2"),
            RawDocument { .. } => Err("it is both a manifest and an index"),
        }
    }
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
    volumes: Option<BTreeMap<String, serde_json::Value>>,
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
            volumes: raw.volumes.iter().flatten().map(|(path, _)| path.clone()).collect(),
        }
    }
}

impl Index {
    /// The manifest for this machine; one that names no platform is for every one.
    pub fn for_this_machine(&self) -> Option<&Descriptor> {
        let fits = |descriptor: &&Descriptor| descriptor.platform.as_ref().is_some_and(Platform::is_this_machine);
        let unnamed = |descriptor: &&Descriptor| descriptor.platform.is_none();
        self.manifests.iter().find(fits).or_else(|| self.manifests.iter().find(unnamed))
    }
}

impl Platform {
    pub fn is_this_machine(&self) -> bool {
        self.os == "linux" && self.architecture == architecture()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_an_index_or_a_manifest_and_not_both() {
        let document = |json: &str| serde_json::from_str::<Document>(json);
        let some = format!(r#"{{"digest":"{}","size":2}}"#, Digest::of(b"{}"));
        assert!(matches!(document(r#"{"manifests":[]}"#), Ok(Document::Index(_))));
        let manifest = document(&format!(r#"{{"config":{some},"layers":[{some}]}}"#));
        assert!(matches!(manifest, Ok(Document::Manifest(manifest)) if manifest.layers.len() == 1));
        for refused in [
            format!(r#"{{"manifests":[{some}],"config":{some},"layers":[]}}"#),
            format!(r#"{{"manifests":[{some}],"layers":[]}}"#),
            r#"{"schemaVersion":1,"fsLayers":[]}"#.to_owned(),
            "[]".to_owned(),
        ] {
            assert!(document(&refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn the_manifest_for_this_machine_is_chosen() {
        let digests = [b"0", b"1", b"2"].map(|bytes| Digest::of(bytes).to_string());
        let entry = |digest: &str, os: &str, architecture: &str| {
            format!(r#"{{"digest":"{digest}","size":1,"platform":{{"os":"{os}","architecture":"{architecture}"}}}}"#)
        };
        let others = [entry(&digests[0], "windows", architecture()), entry(&digests[1], "linux", "vax")].join(",");
        let chosen = |list: &str| {
            let index: Index = serde_json::from_str(&format!(r#"{{"manifests":[{list}]}}"#)).unwrap();
            index.for_this_machine().map(|descriptor| descriptor.digest.to_string())
        };
        assert_eq!(chosen(&others), None);
        let ours = format!("{others},{}", entry(&digests[2], "linux", architecture()));
        assert_eq!(chosen(&ours).as_ref(), Some(&digests[2]));
        let unnamed = format!(r#"{others},{{"digest":"{}","size":1}}"#, digests[2]);
        assert_eq!(chosen(&unnamed).as_ref(), Some(&digests[2]));
    }
}
