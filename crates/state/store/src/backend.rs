//! The seam between the store and what keeps its rows: a backend stores text, and knows nothing of types or indexes.
//!
//! Nothing here is particular to a local file: a distributed store joins as one more backend, whose revision check is
//! what fences a writer that is no longer the leader.
//!
//! A backend has one writer, the store's writer thread, and is never read after it was opened: memory answers all
//! reads.

mod memory;
mod sqlite;

use std::{borrow::Cow, sync::Arc};

pub use memory::Memory;
pub use sqlite::Sqlite;

use crate::{error::BackendError, row::Revision};

/// Keeps rows durably.
pub trait Backend: Send + 'static {
    /// What the store last committed; `None` when it is new.
    fn header(&mut self) -> Result<Option<Header>, BackendError>;

    /// Shows every row, in any order. A row that cannot be read is an error, never left out.
    fn rows(&mut self, visit: &mut dyn FnMut(StoredRow<'_>)) -> Result<(), BackendError>;

    /// Makes a batch durable, all of it or nothing.
    ///
    /// `Err` means that nothing of it is, or will be, visible: a backend that cannot tell must find out before it
    /// returns. It must refuse ([`BackendError::Fenced`]) when the stored revision is not `batch.base`.
    fn commit(&mut self, batch: &Batch) -> Result<(), BackendError>;

    /// Nothing has been committed for a while: the time for work that would otherwise keep a commit waiting.
    fn settle(&mut self) {}
}

/// What a backend knows of the store as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The last committed revision.
    pub revision: Revision,
    /// The schema version that the rows are of.
    pub schema_version: u32,
}

/// A row as it is stored.
#[derive(Debug, Clone, Copy)]
pub struct StoredRow<'a> {
    /// The row's table.
    pub table: &'a str,
    /// The row's key.
    pub key: &'a str,
    /// The transaction that last wrote it.
    pub revision: Revision,
    /// The row itself.
    pub json: &'a str,
}

/// The changes of one or more whole transactions.
#[derive(Debug)]
pub struct Batch {
    /// The revision that the batch builds on; 0 for a new store.
    pub base: Revision,
    /// The revision after it.
    pub revision: Revision,
    /// The schema version after it, when it changes (or the store is new).
    pub schema_version: Option<u32>,
    /// At most one write a row.
    pub writes: Vec<Write>,
}

/// One changed row.
#[derive(Debug)]
pub struct Write {
    /// The row's table.
    pub table: Cow<'static, str>,
    /// The row's key.
    pub key: Arc<str>,
    /// The transaction that wrote it.
    pub revision: Revision,
    /// The new row; `None` when it is deleted.
    pub json: Option<String>,
}
