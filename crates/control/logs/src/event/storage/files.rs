//! The open files: a bounded number of them, the longest unused closed first.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::EngineError;
use super::id::{GroupId, SegmentId};
use super::lazy::lock;

/// Where segments lie, and those that are open.
pub(super) struct Files {
    dir: PathBuf,
    open_max: usize,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    files: HashMap<SegmentId, (Arc<File>, u64)>,
    /// Counts uses: what was used last has the greatest number.
    clock: u64,
}

impl Files {
    pub(super) fn new(dir: PathBuf, open_max: usize) -> Self {
        Self { dir, open_max: open_max.max(1), open: Mutex::default() }
    }

    /// The directory that all groups have theirs in.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The directory of a group.
    pub(super) fn group_dir(&self, group: GroupId) -> PathBuf {
        self.dir.join(group.to_string())
    }

    /// The path of a segment.
    pub(super) fn path(&self, segment: SegmentId) -> PathBuf {
        self.group_dir(segment.group).join(segment.file_name())
    }

    /// A segment that exists, for reading and writing. Two who ask at once may get two handles of one file.
    pub(super) fn get(&self, segment: SegmentId) -> Result<Arc<File>, EngineError> {
        if let Some(file) = lock(&self.open).touch(segment) {
            return Ok(file);
        }
        let path = self.path(segment);
        let file = OpenOptions::new().read(true).write(true).open(&path);
        Ok(self.keep(segment, file.map_err(EngineError::file("open", &path))?))
    }

    /// A new, empty segment, there also after a loss of power.
    pub(super) fn create(&self, segment: SegmentId) -> Result<Arc<File>, EngineError> {
        let path = self.path(segment);
        let dir = self.group_dir(segment.group);
        // Truncating: a segment whose creation failed half-way may have left a file without records.
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true).mode(0o600);
        let file = options.open(&path).map_err(EngineError::file("create", &path))?;
        sync_dir(&dir)?;
        Ok(self.keep(segment, file))
    }

    /// Closes and removes a segment. One that is not there is removed.
    pub(super) fn remove(&self, segment: SegmentId) -> Result<(), EngineError> {
        lock(&self.open).files.remove(&segment);
        let path = self.path(segment);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(EngineError::file("remove", &path)(error))
            }
            _ => Ok(()),
        }
    }

    /// Closes all files of a group.
    pub(super) fn forget_group(&self, group: GroupId) {
        lock(&self.open).files.retain(|segment, _| segment.group != group);
    }

    fn keep(&self, segment: SegmentId, file: File) -> Arc<File> {
        let file = Arc::new(file);
        let mut open = lock(&self.open);
        if open.files.len() >= self.open_max {
            open.evict();
        }
        open.clock += 1;
        let now = open.clock;
        open.files.insert(segment, (Arc::clone(&file), now));
        file
    }

    #[cfg(test)]
    pub(super) fn open_count(&self) -> usize {
        lock(&self.open).files.len()
    }
}

impl Open {
    fn touch(&mut self, segment: SegmentId) -> Option<Arc<File>> {
        self.clock += 1;
        let (file, used) = self.files.get_mut(&segment)?;
        *used = self.clock;
        Some(Arc::clone(file))
    }

    /// Closes the file that was not used for the longest time. Linear in the bound, and paid for by opening a file.
    fn evict(&mut self) {
        let oldest = self.files.iter().min_by_key(|(_, (_, used))| *used).map(|(segment, _)| *segment);
        if let Some(oldest) = oldest {
            self.files.remove(&oldest);
        }
    }
}

/// Makes new names in a directory durable.
pub(super) fn sync_dir(dir: &Path) -> Result<(), EngineError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(EngineError::file("sync", dir))
}
