//! How far long work is.

/// Is told how far long work is.
pub trait Progress: Send + Sync {
    /// Of the layer with this digest, so many bytes of so many are done.
    fn layer(&self, digest: &str, done_bytes: u64, total_bytes: u64);
}

/// Tells nobody.
#[derive(Debug, Clone, Copy)]
pub struct Silent;

impl Progress for Silent {
    fn layer(&self, _: &str, _: u64, _: u64) {}
}
