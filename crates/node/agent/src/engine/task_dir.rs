//! A task's directory, and the small files in it that are not the record.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::record::RecordError;
use super::remove::remove_tree;
use crate::error::AgentError;

const STOP: &str = "stop";
const REPORTED: &str = "reported";

/// A task's directory.
#[derive(Debug, Clone)]
pub(super) struct TaskDir(PathBuf);

impl TaskDir {
    /// Every task's.
    pub fn all(tasks_dir: &Path) -> Result<Vec<Self>, AgentError> {
        let entries = fs::read_dir(tasks_dir).map_err(AgentError::io(tasks_dir))?;
        entries.map(|entry| Ok(Self(entry.map_err(AgentError::io(tasks_dir))?.path()))).collect()
    }

    /// The task's with this id, whether or not it is there.
    pub fn of(tasks_dir: &Path, id: &str) -> Self {
        Self(tasks_dir.join(id))
    }

    /// Makes it, for its owner alone. Durable when it returns.
    pub fn create(&self) -> Result<(), RecordError> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.0).map_err(RecordError::io("create", &self.0))?;
        sync_dir(self.0.parent().unwrap_or(&self.0))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Keeps a record that is broken for whoever wants to look at it, under another name.
    pub fn set_record_aside(&self) -> Result<(), AgentError> {
        let record = self.0.join(super::record::FILE_NAME);
        fs::rename(&record, record.with_extension("json.broken")).map_err(AgentError::io(&record))
    }

    /// Removes it with all that is in it.
    pub fn remove(&self) -> Result<(), AgentError> {
        match remove_tree(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other.map_err(AgentError::io(&self.0)),
        }
    }

    /// Notes that the task has to end. Durable when it returns.
    pub fn request_stop(&self) -> Result<(), RecordError> {
        if !self.is_stop_requested() {
            File::create(self.0.join(STOP)).map_err(RecordError::io("create", &self.0.join(STOP)))?;
            sync_dir(&self.0)?;
        }
        Ok(())
    }

    /// Whether the task has to end.
    pub fn is_stop_requested(&self) -> bool {
        self.0.join(STOP).exists()
    }

    /// The version of the state that the control plane accepted last; `None` if none.
    pub fn reported(&self) -> Option<u64> {
        fs::read_to_string(self.0.join(REPORTED)).ok()?.trim().parse().ok()
    }

    /// Notes what the control plane accepted. Not synced: a report that is made again does no harm.
    pub fn set_reported(&self, version: u64) -> io::Result<()> {
        let temporary = self.0.join(".reported.new");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        writeln!(file, "{version}")?;
        fs::rename(&temporary, self.0.join(REPORTED))
    }
}

fn sync_dir(dir: &Path) -> Result<(), RecordError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(RecordError::io("write the directory", dir))
}
