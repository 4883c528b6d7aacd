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
    /// With less room than this on the disk nothing is stored; `None` is a twentieth of the disk, and a GiB at most.
    pub free_bytes_min: Option<u64>,
}

impl Default for Options {
    fn default() -> Self {
        let (segment_bytes_max, chunk_bytes) = (16 * 1024 * 1024, 64 * 1024);
        Self { segment_bytes_max, chunk_bytes, files_open_max: 256, free_bytes_min: None }
    }
}
