//! Layers: unpacked once, checked against the digest of their contents, shared by all images that have them.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::digest::{Digest, HashingReader};
use crate::directory::Directory;
use crate::error::{ContentError, FileError};
use crate::limits::Limits;
use crate::unpack::{self, UnpackError, decompressed};

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
    let found = unpack_hashing(blob, &root, limits).map_err(failed)?;
    if found != *diff_id {
        return Err(ContentError::Digest {
            what: "an unpacked layer".to_owned(),
            expected: diff_id.to_string(),
            found: found.to_string(),
        });
    }
    Ok(temporary.publish("layer", &place)?)
}

/// Unpacks an archive, compressed or not, into an empty directory, and gives the digest of the uncompressed archive. Blocks.
pub(crate) fn unpack_hashing(archive: impl Read, root: &Path, limits: Limits) -> Result<Digest, UnpackError> {
    let unreadable = |source| UnpackError::Archive { source };
    let mut stream = HashingReader::new(decompressed(archive).map_err(unreadable)?);
    unpack::unpack(&mut stream, root, limits)?;
    let digest = stream.finish(PADDING_BYTES_MAX).map_err(unreadable)?;
    digest.ok_or_else(|| UnpackError::TooLarge { max: format!("{PADDING_BYTES_MAX} bytes behind its end") })
}

/// What a directory takes on the disk, in bytes; a file with several names counts once.
pub(crate) fn disk_bytes(dir: &Path) -> Result<u64, FileError> {
    let mut bytes = 0;
    let mut left = vec![dir.to_owned()];
    let mut linked = BTreeSet::new();
    while let Some(dir) = left.pop() {
        for entry in fs::read_dir(&dir).map_err(FileError::new("list", &dir))? {
            let entry = entry.map_err(FileError::new("list", &dir))?;
            let found = entry.metadata().map_err(FileError::new("look at", &entry.path()))?;
            if found.is_dir() {
                left.push(entry.path());
            } else if found.nlink() > 1 && !linked.insert(found.ino()) {
                continue;
            }
            bytes += found.blocks() * 512;
        }
    }
    Ok(bytes)
}
