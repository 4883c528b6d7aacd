//! The way in: groups by their ids, opened when they are first touched.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use nix::sys::statvfs::statvfs;

use super::EngineError;
use super::files::{Files, sync_dir};
use super::group::Group;
use super::id::{GroupId, StreamId};
use super::lazy::{Lazy, lock};
use super::options::Options;
use super::record::NewEvent;
use super::select::{self, Page, Query};
use super::stream::StreamStats;

/// What is left of a large disk.
const FREE_BYTES_MIN: u64 = 1 << 30;

/// What the directory of a group is renamed to before its files are removed one by one.
const DELETED: &str = "deleted";

/// The stored events of all groups.
pub struct Engine {
    files: Files,
    options: Options,
    groups: Mutex<HashMap<GroupId, Arc<Lazy<Group>>>>,
}

impl Engine {
    /// Opens the directory, which is made if it is not there, and ends deletions that a crash has interrupted.
    pub fn open(dir: PathBuf, options: Options) -> Result<Self, EngineError> {
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(true).mode(0o700).create(&dir).map_err(EngineError::file("create", &dir))?;
        for entry in std::fs::read_dir(&dir).map_err(EngineError::file("list", &dir))? {
            let path = entry.map_err(EngineError::file("list", &dir))?.path();
            if path.extension() == Some(OsStr::new(DELETED)) {
                std::fs::remove_dir_all(&path).map_err(EngineError::file("remove", &path))?;
            }
        }
        let files = Files::new(dir, options.files_open_max);
        Ok(Self { files, options, groups: Mutex::default() })
    }

    /// The groups that have a directory.
    pub fn groups(&self) -> Result<Vec<GroupId>, EngineError> {
        let dir = self.files.dir();
        let names = std::fs::read_dir(dir).map_err(EngineError::file("list", dir))?.map(|entry| Ok(entry?.file_name()));
        let names: Vec<_> = names.collect::<Result<_, _>>().map_err(EngineError::file("list", dir))?;
        Ok(names.iter().filter_map(|name| GroupId::parse(name.to_str()?)).collect())
    }

    /// Stores the events of one put, in order of time, and returns when they are durable.
    ///
    /// `alive` tells whether the stream still exists. It is asked under the locks that [`Engine::delete_stream`] and
    /// [`Engine::delete_group`] take, so that nothing is written to what is deleted.
    pub fn append(
        &self,
        group: GroupId,
        stream: StreamId,
        ingestion: i64,
        events: &[NewEvent<'_>],
        alive: &dyn Fn() -> bool,
    ) -> Result<(), EngineError> {
        self.check_room()?;
        self.group(group)?.append(stream, ingestion, events, alive, &self.files, &self.options)
    }

    /// Log events are not worth the store's room: without it nothing can be started, stopped or deleted.
    fn check_room(&self) -> Result<(), EngineError> {
        let path = self.files.dir();
        let disk = statvfs(path).map_err(|errno| EngineError::file("measure", path)(errno.into()))?;
        let bytes = |blocks: u64| blocks.saturating_mul(disk.fragment_size());
        let free_bytes = bytes(disk.blocks_available());
        let reserved = self.options.free_bytes_min.unwrap_or((bytes(disk.blocks()) / 20).min(FREE_BYTES_MIN));
        if free_bytes < reserved {
            return Err(EngineError::NoRoom { path: path.to_owned(), free_bytes });
        }
        Ok(())
    }

    /// Events in order. Never waits for a writer.
    pub fn read(&self, group: GroupId, query: &Query<'_>) -> Result<Page, EngineError> {
        select::select(&*self.group(group)?, query, &self.files, &self.options)
    }

    /// What is known of a stream; `None` when nothing was ever put to it.
    pub fn stats(&self, group: GroupId, stream: StreamId) -> Result<Option<StreamStats>, EngineError> {
        let stream = self.group(group)?.stream(stream, &self.files, &self.options)?;
        Ok(stream.map(|stream| stream.stats()))
    }

    /// How many bytes the group has on the disk.
    pub fn bytes(&self, group: GroupId) -> Result<u64, EngineError> {
        Ok(self.group(group)?.bytes())
    }

    /// Removes the segments of a group whose events are all older than `before`; returns how many bytes they had.
    pub fn expire(&self, group: GroupId, before: i64) -> Result<u64, EngineError> {
        self.group(group)?.expire(before, &self.files, &self.options)
    }

    /// Removes a stream. Its `alive` must have become false before.
    pub fn delete_stream(&self, group: GroupId, stream: StreamId) -> Result<(), EngineError> {
        self.group(group)?.delete_stream(stream, &self.files, &self.options)
    }

    /// Removes a group with all its streams. Their `alive` must have become false before.
    pub fn delete_group(&self, group: GroupId) -> Result<(), EngineError> {
        let dir = self.files.group_dir(group);
        let deleted = dir.with_extension(DELETED);
        let renamed = self.group(group)?.while_still(|| {
            self.files.forget_group(group);
            lock(&self.groups).remove(&group);
            std::fs::rename(&dir, &deleted)
        });
        match renamed {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            renamed => renamed.map_err(EngineError::file("remove", &dir))?,
        }
        sync_dir(self.files.dir())?;
        std::fs::remove_dir_all(&deleted).map_err(EngineError::file("remove", &deleted))
    }

    fn group(&self, id: GroupId) -> Result<Arc<Group>, EngineError> {
        let group = Arc::clone(lock(&self.groups).entry(id).or_default());
        group.get_or_try(|| Group::open(id, &self.files))
    }

    #[cfg(test)]
    pub(super) fn open_files(&self) -> usize {
        self.files.open_count()
    }
}
