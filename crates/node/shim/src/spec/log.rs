//! Where a container's output goes.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Where a container's output goes. The shim is the only writer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum LogSink {
    /// Thrown away.
    #[default]
    None,
    /// Docker's `json-file` format: a line `{"log":"…\n","stream":"stdout","time":"RFC 3339"}` for each line of output.
    JsonFile {
        /// The current file; older ones are `path.1` (the newest) to `path.<max_files - 1>`.
        path: PathBuf,
        /// Size at which a file is rotated; 0 is never.
        max_size_bytes: u64,
        /// Files kept in all, at least 1.
        max_files: u32,
    },
    /// Segments on disk which the agent reads with [`spool::Reader`](crate::spool::Reader) and ships elsewhere.
    Spool {
        /// The directory of segments, created by the shim when absent.
        dir: PathBuf,
        /// Size at which a segment is closed; at most half of `max_bytes`.
        segment_bytes: u64,
        /// Size of all segments together at which the spool is full.
        max_bytes: u64,
        /// What happens when it is full: `true` stops reading, so the container blocks on its own output until the
        /// agent has shipped something; `false` drops the newest lines and counts them.
        blocking: bool,
    },
}
