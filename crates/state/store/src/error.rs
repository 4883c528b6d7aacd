//! What can go wrong, each kind with its subject: opening, committing, one transaction, a watch.

use std::convert::Infallible;
use std::{error::Error, io, ops::RangeInclusive, path::PathBuf, sync::Arc};

use thiserror::Error;

use crate::row::{KEY_BYTES_MAX, ROW_BYTES_MAX, Revision};

/// A backend failed to open, read or commit.
#[derive(Debug, Error)]
pub enum BackendError {
    /// The operating system refused a file operation.
    #[error("cannot {doing} {}", path.display())]
    File {
        /// What was tried, as a verb.
        doing: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Another process has the store open.
    #[error("{} is in use by another process{}", path.display(), holder(*pid))]
    Locked {
        /// The directory of the store.
        path: PathBuf,
        /// The process that holds it, when it left its id.
        pid: Option<u32>,
    },
    /// Others than the owner may write to the directory, and so replace the store.
    #[error("{} may be written by others than its owner (mode {mode:o}, should be 700)", path.display())]
    Exposed {
        /// The directory of the store.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// What is stored is not what was written.
    #[error("{} is damaged: {detail}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// What is stored is sound, but older than what was acknowledged, or cannot be shown not to be.
    #[error("{} lacks changes that were acknowledged: {detail}", path.display())]
    Incomplete {
        /// The directory of the store.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// The storage engine failed.
    #[error("cannot {doing} {subject}")]
    Engine {
        /// What was tried, as a verb.
        doing: String,
        /// What the engine stores into.
        subject: String,
        /// The engine's own error.
        source: Box<dyn Error + Send + Sync>,
    },
    /// Someone else wrote to the store, or no longer lets us.
    #[error("the store is at revision {found} and not at {expected}: another writer changed it")]
    Fenced {
        /// The revision that this process last committed.
        expected: Revision,
        /// The revision that is stored.
        found: Revision,
    },
}

/// A schema that contradicts itself.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SchemaError {
    /// The name is not `[a-z][a-z0-9_]*`.
    #[error("`{0}` is no table name")]
    TableName(&'static str),
    /// Two row types have one table name.
    #[error("table `{0}` is defined twice")]
    TableTwice(&'static str),
    /// Two migrations start at one version.
    #[error("the migration from version {0} is defined twice")]
    MigrationTwice(u32),
    /// A migration starts at the schema's version or above.
    #[error("the migration from version {from} leads beyond version {version}")]
    MigrationBeyond {
        /// Where the migration starts.
        from: u32,
        /// The schema's version.
        version: u32,
    },
}

/// The store cannot be opened. Nothing has been changed.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The backend failed.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// The schema contradicts itself.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// A newer binary wrote the store.
    #[error("the store has schema version {stored}, newer than {supported}, the newest this program knows")]
    Newer {
        /// The version of the store.
        stored: u32,
        /// The version of the schema.
        supported: u32,
    },
    /// The store is so old that no migration starts at its version.
    #[error("no migration from schema version {0}")]
    MigrationMissing(u32),
    /// A migration refused what it found.
    #[error("the migration from schema version {from} failed")]
    Migration {
        /// Where the migration starts.
        from: u32,
        /// The migration's error.
        source: Box<dyn Error + Send + Sync>,
    },
    /// There are rows of a table that the schema does not have.
    #[error("the store has a table `{0}` that this program does not know")]
    TableUnknown(String),
    /// A row's JSON is not of the table's type.
    #[error("row `{key}` of table `{table}` is damaged or of another type")]
    Row {
        /// The row's table.
        table: String,
        /// The key that it is stored under.
        key: String,
        /// What does not fit.
        source: serde_json::Error,
    },
    /// A row is stored under another key than its own.
    #[error("row `{key}` of table `{table}` says that its key is `{own}`")]
    RowKey {
        /// The row's table.
        table: String,
        /// The key that it is stored under.
        key: String,
        /// The key that it has by its contents.
        own: String,
    },
    /// A row claims a revision that the store has not reached.
    #[error("row `{key}` of table `{table}` is of revision {revision}, which the store has not reached")]
    RowRevision {
        /// The row's table.
        table: String,
        /// The key that it is stored under.
        key: String,
        /// The row's revision.
        revision: Revision,
    },
    /// The operating system gave no thread for the writer.
    #[error("cannot start the store's writer thread")]
    Thread(#[source] io::Error),
}

/// A transaction could not be made durable. Cheap to clone: one failed commit is told to many.
#[derive(Debug, Clone, Error)]
pub enum StoreError {
    /// The backend failed; the transaction, and all that were executed on top of it, changed nothing.
    #[error("revisions {} to {} could not be committed", revisions.start(), revisions.end())]
    Commit {
        /// What was to be committed.
        revisions: RangeInclusive<Revision>,
        /// Why it was not.
        source: Arc<BackendError>,
    },
    /// The row cannot be written as JSON.
    #[error("row `{key}` of table `{table}` cannot be encoded")]
    Encode {
        /// The row's table.
        table: &'static str,
        /// The row's key.
        key: Arc<str>,
        /// Why not.
        source: Arc<serde_json::Error>,
    },
    /// A key is empty or too long.
    #[error("a key of table `{table}` has {bytes} bytes and not 1 to {KEY_BYTES_MAX}")]
    Key {
        /// The row's table.
        table: &'static str,
        /// The length of the key.
        bytes: usize,
    },
    /// A row is too long.
    #[error("row `{key}` of table `{table}` has {bytes} bytes, more than {ROW_BYTES_MAX}")]
    RowSize {
        /// The row's table.
        table: &'static str,
        /// The row's key.
        key: Arc<str>,
        /// The length of the row's JSON.
        bytes: usize,
    },
    /// The schema has no such table, or has it with another row type.
    #[error("table `{0}` with this row type is not part of the schema")]
    Table(&'static str),
    /// The store has been closed.
    #[error("the store is closed")]
    Closed,
}

/// Why an update did not happen. Whatever it is, nothing has changed.
#[derive(Debug, Error)]
pub enum UpdateError<E> {
    /// The transaction's closure returned this.
    #[error("{0}")]
    Aborted(E),
    /// The transaction could not be made durable.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl UpdateError<Infallible> {
    /// The store's error, of a transaction that never aborts.
    pub fn into_store(self) -> StoreError {
        match self {
            Self::Aborted(never) => match never {},
            Self::Store(error) => error,
        }
    }
}

impl<E> UpdateError<E> {
    /// One error type out of the two: `.await.map_err(|error| error.unify(MyError::from))`.
    pub fn unify(self, from_store: impl FnOnce(StoreError) -> E) -> E {
        match self {
            Self::Aborted(error) => error,
            Self::Store(error) => from_store(error),
        }
    }
}

/// A row is not as the transaction's author last saw it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("row `{key}` of table `{table}` is at revision {found} and not at {expected} (0: absent)")]
pub struct Conflict {
    /// The row's table.
    pub table: &'static str,
    /// The row's key.
    pub key: String,
    /// The revision that was seen.
    pub expected: Revision,
    /// The revision that it has now.
    pub found: Revision,
}

/// A watcher asked for changes that are no longer kept; it must look at a new snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("changes after revision {position} are kept only from revision {oldest} on")]
pub struct Lagged {
    /// The last revision that the watcher has seen.
    pub position: Revision,
    /// All changes after this revision are kept.
    pub oldest: Revision,
}

/// A watch has nothing more to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum WatchError {
    /// Too far behind: take a new snapshot and watch from its revision.
    #[error(transparent)]
    Lagged(#[from] Lagged),
    /// The store is closed, and all its changes have been told.
    #[error("the store is closed")]
    Closed,
}

fn holder(pid: Option<u32>) -> String {
    pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default()
}
