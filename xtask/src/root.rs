//! Where the repository is.

use std::path::{Path, PathBuf};

/// The repository's root.
pub fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_path_buf).unwrap_or_default()
}
