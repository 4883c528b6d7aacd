//! How other commands find the `estiva up` that runs.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// What `estiva up` writes about itself, for `down` and `status`.
#[derive(Debug, Serialize, Deserialize)]
pub struct SupervisorState {
    /// The supervisor's process.
    pub pid: i32,
    /// Where the endpoint listens.
    pub endpoint: String,
    /// The data directory; of earlier versions' files it is not known. In a copy of the directory the file speaks of a stranger.
    #[serde(default)]
    pub data: Option<PathBuf>,
}

impl SupervisorState {
    /// What the `estiva up` that runs wrote; `None` if none does. One that was killed may have left its file.
    pub fn load(file: &Path) -> Result<Option<Self>> {
        match fs::read(file) {
            Ok(json) => {
                let state: Self =
                    serde_json::from_slice(&json).with_context(|| format!("{} is malformed", file.display()))?;
                Ok(Some(state).filter(|state| state.data.as_deref().is_none_or(|data| Some(data) == file.parent())))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", file.display())),
        }
    }
}
