//! How other commands find the `estiva up` that runs.

use std::fs;
use std::io;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// What `estiva up` writes about itself, for `down` and `status`.
#[derive(Debug, Serialize, Deserialize)]
pub struct SupervisorState {
    /// The supervisor's process.
    pub pid: i32,
    /// Where the endpoint listens.
    pub endpoint: String,
}

impl SupervisorState {
    /// What the `estiva up` that runs wrote; `None` if none does. One that was killed may have left its file.
    pub fn load(file: &Path) -> Result<Option<Self>> {
        match fs::read(file) {
            Ok(json) => {
                serde_json::from_slice(&json).map(Some).with_context(|| format!("{} is malformed", file.display()))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", file.display())),
        }
    }
}
