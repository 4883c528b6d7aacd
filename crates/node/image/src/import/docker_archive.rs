//! What `docker save` writes: `manifest.json`, configurations and layers as files.

use serde::Deserialize;

use super::oci_layout::check_layers;
use super::source::Source;
use super::{Found, Importer};
use crate::config::ConfigFile;
use crate::digest::Digest;
use crate::error::{ContentError, ImportError};
use crate::reference::Reference;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

pub(super) fn import(importer: &Importer, source: &Source) -> Result<Vec<Found>, ImportError> {
    let entries: Vec<Entry> = source.json("manifest.json")?;
    let mut images = Vec::new();
    for entry in &entries {
        let tags = entry.repo_tags.clone().unwrap_or_default();
        let references = match (&importer.name, tags.as_slice()) {
            (None, [_, ..]) => {
                tags.iter().map(|tag| importer.name_for(Some(tag), entries.len())).collect::<Result<_, _>>()?
            }
            _ => vec![importer.name_for(None, entries.len())?],
        };
        images.push(image(importer, source, entry, references)?);
    }
    Ok(images)
}

/// There is no manifest with a digest: the image's configuration names it, as Docker's image ids do.
fn image(
    importer: &Importer,
    source: &Source,
    entry: &Entry,
    references: Vec<Reference>,
) -> Result<Found, ImportError> {
    let bytes = source.bytes(&entry.config)?;
    let malformed = |source| ContentError::Malformed { what: entry.config.clone(), source };
    let config: ConfigFile = serde_json::from_slice(&bytes).map_err(malformed)?;
    check_layers(entry.layers.len(), &config)?;
    let claim = importer.catalog.0.claim(&config.rootfs.diff_ids)?;
    for (file, diff_id) in entry.layers.iter().zip(&config.rootfs.diff_ids) {
        importer.layer(source, diff_id, file, None)?;
    }
    let record = importer.record(Digest::of(&bytes), config.container_config(), config.rootfs.diff_ids)?;
    Ok(Found { references, record, claim })
}
