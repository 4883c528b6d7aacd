//! Layers: unpacked once, checked against the digest of their contents, shared by all images that have them.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::digest::{Digest, HashingReader};
use crate::directory::Directory;
use crate::error::{ContentError, FileError};
use crate::unpack::{self, Limits, UnpackError, decompressed};

/// What follows a tar's end: tools pad archives to blocks of some KiB.
const PADDING_BYTES_MAX: u64 = 16 << 20;

/// Unpacks a layer, compressed or not, unless it is there. Blocks.
pub(crate) fn install(
    directory: &Directory,
    diff_id: &Digest,
    blob: impl Read,
    limits: Limits,
) -> Result<(), ContentError> {
    let place = directory.layer(diff_id);
    if place.exists() {
        return Ok(());
    }
    let temporary = directory.temporary()?;
    let root = temporary.root("layer")?;
    let failed = |source| ContentError::Layer { digest: diff_id.to_string(), source };
    let unreadable = |source| failed(UnpackError::Archive { source });
    let mut stream = HashingReader::new(decompressed(blob).map_err(unreadable)?);
    unpack::unpack(&mut stream, &root, limits).map_err(failed)?;
    let found = stream.finish(PADDING_BYTES_MAX).map_err(unreadable)?;
    let found = found.ok_or_else(|| ContentError::TooLarge {
        what: format!("what follows the archive of layer {diff_id}"),
        max: format!("{PADDING_BYTES_MAX} bytes"),
    })?;
    if found != *diff_id {
        return Err(ContentError::Digest {
            what: "an unpacked layer".to_owned(),
            expected: diff_id.to_string(),
            found: found.to_string(),
        });
    }
    Ok(temporary.publish("layer", &place)?)
}

/// Unpacks a root file system whose digest nobody knows yet, and tells it. Blocks.
pub(crate) fn install_unnamed(directory: &Directory, archive: File, limits: Limits) -> Result<Digest, ContentError> {
    let temporary = directory.temporary()?;
    let root = temporary.root("layer")?;
    let failed = |source| ContentError::Layer { digest: "of the root file system".to_owned(), source };
    let unreadable = |source| failed(UnpackError::Archive { source });
    let mut stream = HashingReader::new(decompressed(archive).map_err(unreadable)?);
    unpack::unpack(&mut stream, &root, limits).map_err(failed)?;
    let digest = stream.finish(PADDING_BYTES_MAX).map_err(unreadable)?.ok_or_else(|| ContentError::TooLarge {
        what: "what follows the archive".to_owned(),
        max: format!("{PADDING_BYTES_MAX} bytes"),
    })?;
    temporary.publish("layer", &directory.layer(&digest))?;
    Ok(digest)
}

/// What a directory takes on the disk, in bytes.
pub(crate) fn disk_bytes(dir: &Path) -> Result<u64, FileError> {
    let mut bytes = 0;
    let mut left = vec![dir.to_owned()];
    while let Some(dir) = left.pop() {
        for entry in fs::read_dir(&dir).map_err(FileError::new("list", &dir))? {
            let entry = entry.map_err(FileError::new("list", &dir))?;
            let found = entry.metadata().map_err(FileError::new("look at", &entry.path()))?;
            bytes += found.blocks() * 512;
            if found.is_dir() {
                left.push(entry.path());
            }
        }
    }
    Ok(bytes)
}
