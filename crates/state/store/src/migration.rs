//! Bringing the rows of an older program to the shape that this one reads.

use std::{borrow::Cow, collections::BTreeMap, error::Error};

use serde_json::Value;

use crate::{
    backend::{Backend, Batch, Header, Write},
    error::OpenError,
    schema::Schema,
};

/// Changes all rows from one schema version to the next. An error leaves the store as it was.
pub type Migration = fn(&mut Rows) -> Result<(), Box<dyn Error + Send + Sync>>;

/// All rows of a store, as JSON, for a migration to change.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rows(BTreeMap<String, BTreeMap<String, Value>>);

impl Rows {
    /// The rows of a table by key; empty when there is no such table.
    pub fn table(&mut self, name: &str) -> &mut BTreeMap<String, Value> {
        self.0.entry(name.to_owned()).or_default()
    }

    /// Gives a table another name, with all its rows. Rows that were already there under that name stay, unless their
    /// keys are the same.
    pub fn rename_table(&mut self, from: &str, to: &str) {
        let rows = self.0.remove(from).unwrap_or_default();
        self.table(to).extend(rows);
    }

    fn get(&self, table: &str, key: &str) -> Option<&Value> {
        self.0.get(table)?.get(key)
    }

    fn iter(&self) -> impl Iterator<Item = (&str, &str, &Value)> {
        self.0.iter().flat_map(|(table, rows)| rows.iter().map(move |(key, row)| (table.as_str(), key.as_str(), row)))
    }
}

/// Applies every migration that the store lacks, as one commit of one revision.
pub(crate) fn migrate(backend: &mut dyn Backend, schema: &Schema, stored: Header) -> Result<Header, OpenError> {
    let before = read(backend)?;
    let mut after = before.clone();
    for from in stored.schema_version..schema.version {
        let migration = schema.migrations.get(&from).ok_or(OpenError::MigrationMissing(from))?;
        migration(&mut after).map_err(|source| OpenError::Migration { from, source })?;
    }
    let revision = stored.revision + 1;
    backend.commit(&Batch {
        base: stored.revision,
        revision,
        schema_version: Some(schema.version),
        writes: difference(&before, &after, revision),
    })?;
    tracing::info!(from = stored.schema_version, to = schema.version, revision, "store migrated");
    Ok(Header { revision, schema_version: schema.version })
}

fn read(backend: &mut dyn Backend) -> Result<Rows, OpenError> {
    let mut rows = Rows::default();
    let mut fault = None;
    backend.rows(&mut |stored| {
        let (table, key) = (stored.table.to_owned(), stored.key.to_owned());
        match serde_json::from_str(stored.json) {
            Ok(row) => drop(rows.table(&table).insert(key, row)),
            Err(source) => drop(fault.get_or_insert(OpenError::Row { table, key, source })),
        }
    })?;
    fault.map_or(Ok(rows), Err)
}

/// The writes that turn `before` into `after`.
fn difference(before: &Rows, after: &Rows, revision: u64) -> Vec<Write> {
    let write =
        |table: &str, key: &str, json| Write { table: Cow::Owned(table.to_owned()), key: key.into(), revision, json };
    let deleted = before.iter().filter(|(table, key, _)| after.get(table, key).is_none());
    let changed = after.iter().filter(|(table, key, row)| before.get(table, key) != Some(row));
    deleted
        .map(|(table, key, _)| write(table, key, None))
        .chain(changed.map(|(table, key, row)| write(table, key, Some(row.to_string()))))
        .collect()
}
