//! A further node as it is on disk: one file a node, written as a whole.

use std::fs;
use std::io;
use std::path::Path;

use anyhow::{Context, Result, bail};
use estiva_model::hex_id;
use estiva_network::SLOTS;
use estiva_shim::layout::write_durably;
use serde::{Deserialize, Serialize};

use crate::installation::Installation;

const FILE_NAME: &str = "node.json";
/// Written by the node's agent.
const ARN_FILE: &str = "container-instance-arn";

/// What `estiva node add` was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRecord {
    /// `i-` and seventeen hexadecimal digits: also what EC2 would call the instance.
    pub name: String,
    /// Its place in the installation's network.
    pub slot: u8,
    /// Of EC2's; without one the node offers what the machine has.
    pub instance_type: Option<String>,
    /// The availability zone; the region's first where there is none.
    pub zone: Option<String>,
    /// The cluster that it joins.
    pub cluster: String,
    /// Its agent reaches the control plane over the node's network, not at the socket in the file system.
    #[serde(default)]
    pub over_network: bool,
    /// It was deregistered, and what is left of it is to go.
    #[serde(default)]
    pub leaving: bool,
}

/// The name of a node whose file is broken, and what is wrong with it.
pub type Broken = (String, anyhow::Error);

impl NodeRecord {
    /// A new node, in a slot that none of `known` has.
    pub fn new(known: &[Self], instance_type: Option<String>, zone: Option<String>, cluster: String) -> Result<Self> {
        let free = SLOTS.into_iter().find(|slot| !known.iter().any(|node| node.slot == *slot));
        let Some(slot) = free else { bail!("a machine has at most {} further nodes", SLOTS.end()) };
        let name = format!("i-{}", hex_id(&mut rand::rng(), 17));
        Ok(Self { name, slot, instance_type, zone, cluster, over_network: false, leaving: false })
    }

    /// All that there are, by name. A directory without a record is of a node that never was, or is no more.
    pub fn all(here: &Installation) -> Result<Vec<Self>> {
        let dir = here.nodes_dir()?;
        let mut nodes = Vec::new();
        for entry in fs::read_dir(&dir).with_context(|| format!("cannot list {}", dir.display()))? {
            nodes.extend(Self::load(&entry?.path().join(FILE_NAME))?);
        }
        nodes.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(nodes)
    }

    /// All that can be read, and the others.
    pub fn readable(here: &Installation) -> Result<(Vec<Self>, Vec<Broken>)> {
        let dir = here.nodes_dir()?;
        let (mut nodes, mut broken) = (Vec::new(), Vec::new());
        for entry in fs::read_dir(&dir).with_context(|| format!("cannot list {}", dir.display()))? {
            let entry = entry?;
            match Self::load(&entry.path().join(FILE_NAME)) {
                Ok(node) => nodes.extend(node),
                Err(error) => broken.push((entry.file_name().to_string_lossy().into_owned(), error)),
            }
        }
        Ok((nodes, broken))
    }

    fn load(file: &Path) -> Result<Option<Self>> {
        match fs::read(file) {
            Ok(json) => {
                serde_json::from_slice(&json).map(Some).with_context(|| format!("{} is malformed", file.display()))
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", file.display())),
        }
    }

    /// Durable when it returns.
    pub fn save(&self, here: &Installation) -> Result<()> {
        let file = here.further_node_dir(&self.name)?.join(FILE_NAME);
        let json = serde_json::to_vec(self)?;
        write_durably(&file, &json).with_context(|| format!("cannot write {}", file.display()))
    }

    /// The ARN that the node's agent was registered under, if it ever was.
    pub fn container_instance(&self, here: &Installation) -> Result<Option<String>> {
        container_instance_of(&here.further_node_dir(&self.name)?)
    }
}

/// The ARN that the agent of the node with this directory was registered under, if it ever was.
pub fn container_instance_of(dir: &Path) -> Result<Option<String>> {
    let file = dir.join(ARN_FILE);
    match fs::read_to_string(&file) {
        Ok(arn) => Ok(Some(arn.trim().to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", file.display())),
    }
}

/// Removes directories without a record: of nodes that never were, or whose removal was cut short.
pub fn sweep(here: &Installation) -> Result<()> {
    let dir = here.nodes_dir()?;
    for entry in fs::read_dir(&dir).with_context(|| format!("cannot list {}", dir.display()))? {
        let path = entry?.path();
        if path.is_dir() && !path.join(FILE_NAME).exists() {
            fs::remove_dir_all(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(known: &[NodeRecord]) -> Result<NodeRecord> {
        NodeRecord::new(known, Some("t3.small".to_owned()), None, "default".to_owned())
    }

    #[test]
    fn slots_are_taken_once_given_back_and_run_out() {
        let mut known: Vec<NodeRecord> = Vec::new();
        for _ in SLOTS {
            known.push(new(&known).unwrap());
        }
        assert!(new(&known).is_err());
        let gone = known.remove(4);
        let back = new(&known).unwrap();
        assert_eq!(back.slot, gone.slot);
        assert_ne!(back.name, gone.name);
    }
}
