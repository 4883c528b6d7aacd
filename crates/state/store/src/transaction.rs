//! Writing: a transaction reads and changes a private copy of the head; the store takes the copy over, or drops it.

use std::{borrow::Cow, collections::BTreeMap, ops::Deref, sync::Arc};

use crate::{
    backend::Write,
    error::{Conflict, StoreError},
    row::{Entry, KEY_BYTES_MAX, ROW_BYTES_MAX, Revision, Row},
    schema::Schema,
    snapshot::Snapshot,
    watch::Change,
};

/// A transaction under way.
///
/// All reads are those of [`Snapshot`] and see the transaction's own writes. To write while iterating, iterate over
/// `tx.clone_snapshot()`. [`Snapshot::revision`] is the revision that the transaction will have.
pub struct Tx<'s> {
    schema: &'s Schema,
    working: Snapshot,
    /// What the written rows were when the transaction started.
    before: BTreeMap<(&'static str, Arc<str>), Option<Entry>>,
    /// The first write that cannot be done. It fails the transaction as a whole, so that `put` needs no `?`.
    fault: Option<StoreError>,
}

/// What a transaction changed, ready to be committed.
pub(crate) struct Outcome {
    pub(crate) state: Snapshot,
    /// In order of table and key; empty when nothing changed.
    pub(crate) changes: Vec<Change>,
    pub(crate) writes: Vec<Write>,
}

impl<'s> Tx<'s> {
    pub(crate) fn new(schema: &'s Schema, head: &Snapshot) -> Self {
        let mut working = head.clone();
        working.revision += 1;
        Self { schema, working, before: BTreeMap::new(), fault: None }
    }

    /// What the transaction sees now, as a snapshot of its own: O(1), and not changed by later writes.
    pub fn clone_snapshot(&self) -> Snapshot {
        self.working.clone()
    }

    /// Inserts the row, or replaces the one with its key, and returns it.
    ///
    /// A row that cannot be stored (too large, no such table) fails the update as a whole.
    pub fn put<R: Row>(&mut self, row: R) -> Arc<R> {
        let row = Arc::new(row);
        let key: Arc<str> = row.key().into();
        if self.refuses::<R>(&key) {
            return row;
        }
        let revision = self.working.revision;
        if let Some(table) = self.working.table_mut(R::TABLE) {
            let before = table.insert(&key, revision, Arc::clone(&row));
            self.before.entry((R::TABLE, key)).or_insert(before);
        }
        row
    }

    /// Removes the row with this key, if there is one, and returns it.
    pub fn delete<R: Row>(&mut self, key: &str) -> Option<Arc<R>> {
        if self.refuses::<R>(key) {
            return None;
        }
        let before = self.working.table_mut(R::TABLE)?.remove::<R>(key)?;
        let row = before.typed();
        self.before.entry((R::TABLE, key.into())).or_insert(Some(before));
        row
    }

    /// Checks that a row is still the one that an earlier snapshot showed: `revision` is that of
    /// [`Snapshot::get_versioned`] or [`Snapshot::revision_of`] (0: the row must not exist).
    pub fn expect<R: Row>(&self, key: &str, revision: Revision) -> Result<(), Conflict> {
        let found = self.revision_of::<R>(key);
        if found == revision {
            return Ok(());
        }
        Err(Conflict { table: R::TABLE, key: key.to_owned(), expected: revision, found })
    }

    /// Whether a row cannot be written; then the transaction fails.
    fn refuses<R: Row>(&mut self, key: &str) -> bool {
        let bytes = key.len();
        let fault = if !self.schema.has::<R>() {
            StoreError::Table(R::TABLE)
        } else if bytes == 0 || bytes > KEY_BYTES_MAX {
            StoreError::Key { table: R::TABLE, bytes }
        } else {
            return false;
        };
        self.fault.get_or_insert(fault);
        true
    }

    /// Ends the transaction: its changes, encoded.
    pub(crate) fn finish(self) -> Result<Outcome, StoreError> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        let mut outcome = Outcome { state: self.working, changes: Vec::new(), writes: Vec::new() };
        let revision = outcome.state.revision;
        for ((table, key), before) in self.before {
            let after = outcome.state.entry(table, &key).cloned();
            if before.is_none() && after.is_none() {
                continue;
            }
            let json = after.as_ref().map(|entry| encode(self.schema, table, &key, entry)).transpose()?;
            outcome.writes.push(Write { table: Cow::Borrowed(table), key: Arc::clone(&key), revision, json });
            let [before, after] = [before, after].map(|entry| entry.map(|entry| entry.row));
            outcome.changes.push(Change { revision, table, key, before, after });
        }
        Ok(outcome)
    }
}

impl Deref for Tx<'_> {
    type Target = Snapshot;

    fn deref(&self) -> &Snapshot {
        &self.working
    }
}

fn encode(schema: &Schema, table: &'static str, key: &Arc<str>, entry: &Entry) -> Result<String, StoreError> {
    let encoded =
        schema.table_named(table).and_then(|table| (table.encode)(&entry.row)).ok_or(StoreError::Table(table))?;
    let json =
        encoded.map_err(|source| StoreError::Encode { table, key: Arc::clone(key), source: Arc::new(source) })?;
    if json.len() > ROW_BYTES_MAX {
        return Err(StoreError::RowSize { table, key: Arc::clone(key), bytes: json.len() });
    }
    Ok(json)
}
