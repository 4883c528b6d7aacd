//! What a row is: a plain type with a key of its own and the index entries that its readers need.

use std::{any::Any, sync::Arc};

use serde::{Serialize, de::DeserializeOwned};

/// Counts the transactions that changed something. 0 is the empty store, and the revision of a row that does not exist.
pub type Revision = u64;

/// The longest key, in bytes.
pub const KEY_BYTES_MAX: usize = 1024;

/// The longest row, in bytes of JSON. What is larger (log events, metric points) belongs in files of its own.
pub const ROW_BYTES_MAX: usize = 1024 * 1024;

/// One row of a typed table.
///
/// `key` and `indexes` must depend on nothing but the row itself: they are computed anew when the store is opened and
/// when the row is replaced.
pub trait Row: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// Name of the table: `[a-z][a-z0-9_]*`, unique within a [`crate::Schema`].
    const TABLE: &'static str;

    /// Identifies the row within its table. Rows are ordered by it, bytewise, and scanned by its prefixes: put what is
    /// asked for first, as in `account/region/cluster/task`.
    fn key(&self) -> String;

    /// The row's entries in the secondary indexes of its table: (index name, value). A row may have any number of them.
    fn indexes(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }
}

/// A row whose type is known to its table only.
pub(crate) type AnyRow = Arc<dyn Any + Send + Sync>;

/// A row as tables hold it.
#[derive(Clone)]
pub(crate) struct Entry {
    /// The transaction that last wrote it.
    pub(crate) revision: Revision,
    pub(crate) row: AnyRow,
}

/// Entries are equal if they are one entry: of a transaction whose commit failed, a revision may come again with other rows.
impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.row, &other.row)
    }
}

impl Entry {
    /// The row, when it is of type `R` (it is, unless two types claim one table name).
    pub(crate) fn typed<R: Row>(&self) -> Option<Arc<R>> {
        Arc::clone(&self.row).downcast().ok()
    }
}
