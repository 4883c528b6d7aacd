//! Sizes and bounds of the storage.

/// Sizes and bounds. The default is right but for tests.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// A segment of this length is sealed, and the next one started.
    pub segment_bytes_max: u64,
    /// A chunk of this length is full. Reading costs a chunk at least; a chunk costs 32 bytes of index.
    pub chunk_bytes: u64,
    /// How many files are kept open.
    pub files_open_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { segment_bytes_max: 16 * 1024 * 1024, chunk_bytes: 64 * 1024, files_open_max: 256 }
    }
}
