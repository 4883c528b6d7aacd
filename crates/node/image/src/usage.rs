//! What the node's images take on the disk, all together.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::catalog::Catalog;
use crate::digest::Digest;
use crate::error::FileError;
use crate::layers;

/// What the images take on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// How many images there are; one with several names counts once, one that only a lease keeps too.
    pub images: usize,
    /// How many layers they have.
    pub layers: usize,
    /// What these layers take, unpacked, in bytes; one that several images share counts once.
    pub layers_bytes: u64,
}

impl Usage {
    /// From the images' records: their layers are measured when they come to be. Blocks.
    pub(crate) fn of(catalog: &Catalog) -> Result<Self, FileError> {
        let records = catalog.images()?;
        let mut layers: BTreeMap<&Digest, u64> = BTreeMap::new();
        for record in &records {
            for digest in &record.diff_ids {
                if layers.contains_key(digest) {
                    continue;
                }
                let dir = catalog.0.layer(digest);
                let bytes = match record.layer_bytes.get(digest) {
                    Some(bytes) => *bytes,
                    None if dir.exists() => layers::disk_bytes(&dir)?,
                    None => continue,
                };
                layers.insert(digest, bytes);
            }
        }
        let layers_bytes = layers.values().sum();
        Ok(Self { images: records.len(), layers: layers.len(), layers_bytes })
    }
}
