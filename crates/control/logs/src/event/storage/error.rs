//! Why events could not be stored or read.

use std::io;
use std::path::{Path, PathBuf};

/// An operation on the stored events failed.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The operating system refused a file operation.
    #[error("cannot {doing} {}", path.display())]
    File {
        /// What was tried, as a verb.
        doing: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// What is left of the disk is for the store.
    #[error("there are only {free_bytes} bytes left on the disk of {}", path.display())]
    NoRoom {
        /// The directory of all events.
        path: PathBuf,
        /// What is left.
        free_bytes: u64,
    },
    /// The stream, or its group, has been deleted.
    #[error("the log stream has been deleted")]
    Deleted,
    /// The events of one put cannot be one record: not in order of time, too far apart or too large.
    #[error("the events cannot be stored as one record: {0}")]
    Batch(&'static str),
}

impl EngineError {
    /// For `map_err`: what was tried, with which file.
    pub(super) fn file(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::File { doing, path: path.to_owned(), source }
    }
}
