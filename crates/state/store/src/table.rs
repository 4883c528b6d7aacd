//! One table in memory: its rows by key and its secondary indexes, in persistent maps that snapshots share.

use std::{
    ops::Bound::{Excluded, Included, Unbounded},
    sync::Arc,
};

use imbl::{OrdMap, OrdSet, ordmap::DiffItem};

use crate::row::{AnyRow, Entry, Revision, Row};

/// The keys of the rows that have a value in an index.
type Keys = OrdSet<Arc<str>>;

/// Rows and indexes of one table. A clone is O(1) and independent of the original.
#[derive(Clone, Default)]
pub(crate) struct Table {
    rows: OrdMap<Arc<str>, Entry>,
    /// index name → value → keys. A value without rows has no entry.
    indexes: OrdMap<&'static str, OrdMap<Arc<str>, Keys>>,
}

impl Table {
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Entry> {
        self.rows.get(key)
    }

    /// Entries with keys that start with `prefix` and are greater than `after`, in key order.
    pub(crate) fn range(&self, prefix: &str, after: Option<&str>) -> impl Iterator<Item = &Entry> + use<'_> {
        let lower = match after {
            Some(after) if after >= prefix => Excluded(after),
            _ => Included(prefix),
        };
        let prefix = prefix.to_owned();
        self.rows
            .range::<_, str>((lower, Unbounded))
            .take_while(move |(key, _)| key.starts_with(&prefix))
            .map(|(_, entry)| entry)
    }

    /// Entries that have `value` in `index` and keys greater than `after`, in key order.
    pub(crate) fn indexed(
        &self,
        index: &str,
        value: &str,
        after: Option<&str>,
    ) -> impl Iterator<Item = &Entry> + use<'_> {
        let lower = after.map_or(Unbounded, Excluded);
        // Positioned here and not on first use, so that the iterator borrows the table only.
        let keys = self.keys(index, value).map(|keys| keys.range::<_, str>((lower, Unbounded)));
        keys.into_iter().flatten().filter_map(|key| self.rows.get(&**key))
    }

    pub(crate) fn indexed_len(&self, index: &str, value: &str) -> usize {
        self.keys(index, value).map_or(0, OrdSet::len)
    }

    /// The entries that differ in another table, in key order: before and after. What the two share is not looked at.
    pub(crate) fn differences<'a>(
        &'a self,
        other: &'a Self,
    ) -> impl Iterator<Item = (Option<&'a Entry>, Option<&'a Entry>)> + use<'a> {
        self.rows.diff(&other.rows).map(|item| match item {
            DiffItem::Add(_, after) => (None, Some(after)),
            DiffItem::Update { old: (_, before), new: (_, after) } => (Some(before), Some(after)),
            DiffItem::Remove(_, before) => (Some(before), None),
        })
    }

    fn keys(&self, index: &str, value: &str) -> Option<&Keys> {
        self.indexes.get(index)?.get(value)
    }

    /// Puts a row in place of the one with its key, which is returned.
    pub(crate) fn insert<R: Row>(&mut self, key: &Arc<str>, revision: Revision, row: Arc<R>) -> Option<Entry> {
        let now = row.indexes();
        let before = self.rows.insert(Arc::clone(key), Entry { revision, row: row as AnyRow });
        let was = before.as_ref().and_then(Entry::typed::<R>).map(|row| row.indexes()).unwrap_or_default();
        for (index, value) in was.iter().filter(|entry| !now.contains(entry)) {
            self.unindex(index, value, key);
        }
        for (index, value) in now.iter().filter(|entry| !was.contains(entry)) {
            self.indexes.entry(index).or_default().entry(value.as_str().into()).or_default().insert(Arc::clone(key));
        }
        before
    }

    /// Removes the row with this key and returns it.
    pub(crate) fn remove<R: Row>(&mut self, key: &str) -> Option<Entry> {
        let before = self.rows.remove(key)?;
        for (index, value) in before.typed::<R>().map(|row| row.indexes()).unwrap_or_default() {
            self.unindex(index, &value, key);
        }
        Some(before)
    }

    fn unindex(&mut self, index: &str, value: &str, key: &str) {
        let Some(values) = self.indexes.get_mut(index) else { return };
        let Some(keys) = values.get_mut(value) else { return };
        keys.remove(key);
        if keys.is_empty() {
            values.remove(value);
        }
    }
}
