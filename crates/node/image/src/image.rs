//! What an image is to who asks for it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::config::ImageConfig;

/// An image that is there, ready to be mounted.
#[derive(Debug, Clone)]
pub struct Image {
    /// Its name, everything spelled out.
    pub reference: String,
    /// `sha256:…` of its manifest; of its configuration for one that came without a manifest.
    pub digest: String,
    /// What it says of containers.
    pub config: ImageConfig,
    /// Directories of its layers, the topmost first, as overlayfs takes them.
    pub layers: Vec<PathBuf>,
}

/// An image as `estiva image list` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ImageSummary {
    /// Its name as people write it.
    pub reference: String,
    /// `sha256:…` of its manifest.
    pub digest: String,
    /// What its layers take on the disk; those that it shares are counted for each image.
    pub size_bytes: u64,
    /// When the name came to stand for it, milliseconds since 1970.
    pub created_at_ms: i64,
    /// Where it came from.
    pub source: Source,
}

/// Where an image came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// From a file.
    Imported,
    /// From a registry.
    Pulled,
}

/// What a removal did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Removed {
    /// What it freed on the disk.
    pub freed_bytes: u64,
}

/// When an image is pulled: `ECS_IMAGE_PULL_BEHAVIOR` of AWS's agent. One that was imported never is.
///
/// It also says when what is there serves somebody who did not pull it. Asked means: the registry is asked for the
/// manifest, with the credentials of this pull, and refuses who may not have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PullPolicy {
    /// A tag is asked for anew; what is there serves, whoever pulled it, when the registry cannot be reached, is ill or
    /// overburdened, but not when it refuses. What a digest stands for does not change: it serves unasked, whatever name it
    /// came under, unless this pull has credentials of its own, or the one that brought it had.
    Default,
    /// As [`PullPolicy::Default`], but the registry must answer.
    Always,
    /// Only if the name was never pulled here, or has been removed or cleaned up since. What is there under the name serves
    /// everybody, unasked.
    Once,
    /// Only if it is not there. What is there under the name serves everybody, unasked. Whoever counts on that has no
    /// images cleaned up.
    PreferCached,
}
