//! What `docker save` writes: `manifest.json`, configurations and layers as files.

use serde::Deserialize;

use super::Importer;
use super::oci_layout::check_layers;
use super::source::Source;
use crate::config::ConfigFile;
use crate::digest::Digest;
use crate::error::{ContentError, ImportError};
use crate::images::ImageRecord;
use crate::reference::Reference;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

pub(super) fn import(importer: &Importer, source: &Source) -> Result<Vec<(Reference, ImageRecord)>, ImportError> {
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
        let record = image(importer, source, entry)?;
        images.extend(references.into_iter().map(|reference| (reference, record.clone())));
    }
    Ok(images)
}

/// There is no manifest with a digest: the image's configuration names it, as Docker's image ids do.
fn image(importer: &Importer, source: &Source, entry: &Entry) -> Result<ImageRecord, ImportError> {
    let bytes = source.bytes(&entry.config)?;
    let malformed = |source| ContentError::Malformed { what: entry.config.clone(), source };
    let config: ConfigFile = serde_json::from_slice(&bytes).map_err(malformed)?;
    check_layers(entry.layers.len(), &config)?;
    for (file, diff_id) in entry.layers.iter().zip(&config.rootfs.diff_ids) {
        importer.layer(source, diff_id, file)?;
    }
    let digest = Digest::of(&bytes);
    let record = ImageRecord::new(&importer.directory, digest, config.container_config(), config.rootfs.diff_ids);
    Ok(record.map_err(ContentError::from)?)
}
