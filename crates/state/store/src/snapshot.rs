//! Reading: an immutable view of all tables at one revision.

use std::{fmt, sync::Arc};

use imbl::OrdMap;

use crate::{
    row::{Entry, Revision, Row},
    table::Table,
};

/// All tables as they were at one revision. O(1) to clone; later transactions never show in it.
///
/// A table that is not in the schema reads as empty, for nothing can have been put there.
#[derive(Clone, Default)]
pub struct Snapshot {
    pub(crate) revision: Revision,
    tables: OrdMap<&'static str, Table>,
}

/// A row that two snapshots do not agree on.
pub struct Difference<R> {
    /// `None`: there is none in the snapshot that was asked.
    pub here: Option<Arc<R>>,
    /// `None`: there is none in the other.
    pub there: Option<Arc<R>>,
}

impl Snapshot {
    /// An empty snapshot with these tables.
    pub(crate) fn new(revision: Revision, tables: impl Iterator<Item = &'static str>) -> Self {
        Self { revision, tables: tables.map(|name| (name, Table::default())).collect() }
    }

    /// The last transaction that this snapshot contains.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The row with this key.
    pub fn get<R: Row>(&self, key: &str) -> Option<Arc<R>> {
        self.entry(R::TABLE, key)?.typed()
    }

    /// The row with this key and the revision that last wrote it.
    pub fn get_versioned<R: Row>(&self, key: &str) -> Option<(Arc<R>, Revision)> {
        let entry = self.entry(R::TABLE, key)?;
        Some((entry.typed()?, entry.revision))
    }

    /// The revision that last wrote the row with this key; 0 when there is none. What [`crate::Tx::expect`] takes.
    pub fn revision_of<R: Row>(&self, key: &str) -> Revision {
        self.entry(R::TABLE, key).map_or(0, |entry| entry.revision)
    }

    /// Whether there is a row with this key.
    pub fn contains<R: Row>(&self, key: &str) -> bool {
        self.entry(R::TABLE, key).is_some()
    }

    /// The rows whose keys start with `prefix` (`""`: all), in key order.
    pub fn scan<R: Row>(&self, prefix: &str) -> impl Iterator<Item = Arc<R>> + use<'_, R> {
        self.range(prefix, None)
    }

    /// As [`Snapshot::scan`], but only the rows whose keys are greater than `after`: the next page.
    pub fn scan_from<R: Row>(&self, prefix: &str, after: &str) -> impl Iterator<Item = Arc<R>> + use<'_, R> {
        self.range(prefix, Some(after))
    }

    /// The rows that have `value` in `index`, in key order.
    pub fn index<R: Row>(&self, index: &str, value: &str) -> impl Iterator<Item = Arc<R>> + use<'_, R> {
        self.indexed(index, value, None)
    }

    /// As [`Snapshot::index`], but only the rows whose keys are greater than `after`: the next page.
    pub fn index_from<R: Row>(
        &self,
        index: &str,
        value: &str,
        after: &str,
    ) -> impl Iterator<Item = Arc<R>> + use<'_, R> {
        self.indexed(index, value, Some(after))
    }

    /// How many rows the table has. O(1).
    pub fn count<R: Row>(&self) -> usize {
        self.table(R::TABLE).map_or(0, Table::len)
    }

    /// How many rows have `value` in `index`. O(log n).
    pub fn index_count<R: Row>(&self, index: &str, value: &str) -> usize {
        self.table(R::TABLE).map_or(0, |table| table.indexed_len(index, value))
    }

    /// The rows that are not the same in another snapshot of the store, whichever is the later one: as they are here and
    /// as they are there. The cost grows with what differs.
    pub fn differences<'a, R: Row>(&'a self, other: &'a Self) -> impl Iterator<Item = Difference<R>> + use<'a, R> {
        let tables = self.table(R::TABLE).zip(other.table(R::TABLE));
        let entries = tables.map(|(here, there)| here.differences(there));
        entries
            .into_iter()
            .flatten()
            .map(|(here, there)| Difference { here: here.and_then(Entry::typed), there: there.and_then(Entry::typed) })
    }

    fn range<R: Row>(&self, prefix: &str, after: Option<&str>) -> impl Iterator<Item = Arc<R>> + use<'_, R> {
        let entries = self.table(R::TABLE).map(|table| table.range(prefix, after));
        entries.into_iter().flatten().filter_map(Entry::typed)
    }

    fn indexed<R: Row>(
        &self,
        index: &str,
        value: &str,
        after: Option<&str>,
    ) -> impl Iterator<Item = Arc<R>> + use<'_, R> {
        let entries = self.table(R::TABLE).map(|table| table.indexed(index, value, after));
        entries.into_iter().flatten().filter_map(Entry::typed)
    }

    fn table(&self, name: &str) -> Option<&Table> {
        self.tables.get(name)
    }

    pub(crate) fn entry(&self, table: &str, key: &str) -> Option<&Entry> {
        self.table(table)?.get(key)
    }

    pub(crate) fn table_mut(&mut self, name: &str) -> Option<&mut Table> {
        self.tables.get_mut(name)
    }
}

/// The revision only: a snapshot is all there is.
impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot").field("revision", &self.revision).finish_non_exhaustive()
    }
}
