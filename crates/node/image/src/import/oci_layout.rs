//! The OCI image layout.

use super::source::{Source, blob_path};
use super::{Found, Importer};
use crate::config::{ConfigFile, Descriptor, Document, Index, LAYERS_MAX, Manifest, Platform, architecture};
use crate::digest::Digest;
use crate::error::{ContentError, ImportError};
use crate::reference::Reference;

/// How deep an index may be in an index.
const NESTING_MAX: usize = 4;
/// What the image is called: what containerd and Docker write in full, then what OCI has, which may be a tag alone.
const NAME_ANNOTATIONS: [&str; 2] = ["io.containerd.image.name", "org.opencontainers.image.ref.name"];

pub(super) fn import(importer: &Importer, source: &Source) -> Result<Vec<Found>, ImportError> {
    let index: Index = source.json("index.json")?;
    // The same image may be there for several platforms, side by side.
    let fits = |descriptor: &&Descriptor| descriptor.platform.as_ref().is_none_or(Platform::is_this_machine);
    let descriptors: Vec<&Descriptor> = index.manifests.iter().filter(fits).collect();
    if descriptors.is_empty() {
        return Err(ContentError::Platform(architecture()).into());
    }
    let mut images = Vec::new();
    for descriptor in &descriptors {
        let own = NAME_ANNOTATIONS.iter().find_map(|name| descriptor.annotations.get(*name));
        let reference = importer.name_for(own.map(String::as_str), descriptors.len())?;
        let (digest, manifest) = manifest(source, descriptor)?;
        images.push(image(importer, source, reference, digest, &manifest)?);
    }
    Ok(images)
}

/// The manifest for this machine.
fn manifest(source: &Source, descriptor: &Descriptor) -> Result<(Digest, Manifest), ImportError> {
    let mut digest = descriptor.digest.clone();
    for _ in 0..NESTING_MAX {
        match source.blob_json(&digest)? {
            Document::Manifest(manifest) => return Ok((digest, manifest)),
            Document::Index(index) => {
                let chosen = index.for_this_machine().ok_or(ContentError::Platform(architecture()))?;
                digest = chosen.digest.clone();
            }
        }
    }
    Err(ContentError::TooLarge { what: "the nesting of indexes".to_owned(), max: format!("{NESTING_MAX} levels") }
        .into())
}

fn image(
    importer: &Importer,
    source: &Source,
    reference: Reference,
    digest: Digest,
    manifest: &Manifest,
) -> Result<Found, ImportError> {
    let config: ConfigFile = source.blob_json(&manifest.config.digest)?;
    check_layers(manifest.layers.len(), &config)?;
    let claim = importer.catalog.0.claim(&config.rootfs.diff_ids)?;
    for (layer, diff_id) in manifest.layers.iter().zip(&config.rootfs.diff_ids) {
        importer.layer(source, diff_id, &blob_path(&layer.digest), Some(&layer.digest))?;
    }
    let record = importer.record(digest, config.container_config(), config.rootfs.diff_ids)?;
    Ok(Found { references: vec![reference], record, claim })
}

/// A manifest and its configuration have the same layers, and not too many.
pub(crate) fn check_layers(manifest: usize, config: &ConfigFile) -> Result<(), ContentError> {
    let config = config.rootfs.diff_ids.len();
    if manifest != config {
        return Err(ContentError::LayerCount { manifest, config });
    }
    if manifest > LAYERS_MAX {
        return Err(ContentError::TooLarge { what: "the image".to_owned(), max: format!("{LAYERS_MAX} layers") });
    }
    Ok(())
}
