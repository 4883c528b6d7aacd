//! The shim's own log: what it could not do and had nobody to tell. Bounded, since a shim may live for years.

use std::{
    fmt::Display,
    fs::File,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use crate::log::Now;

const BYTES_MAX: u64 = 256 * 1024;

#[derive(Debug)]
pub(super) struct Diagnostics {
    file: File,
    size: u64,
}

impl Diagnostics {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = File::options().append(true).create(true).mode(0o600).open(path)?;
        let size = file.metadata()?.len();
        Ok(Self { file, size })
    }

    /// One line. Silent when the file is full or the disk is: there is nobody else to tell.
    pub(super) fn report(&mut self, subject: &str, error: &dyn Display) {
        let line = format!("{} {subject}: {error}\n", Now::read().ms());
        if self.size < BYTES_MAX && self.file.write_all(line.as_bytes()).is_ok() {
            self.size += line.len() as u64;
        }
    }
}
