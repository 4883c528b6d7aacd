//! Which tables a program knows, of which row types, and how older stores become of this version.

use std::{any::TypeId, collections::BTreeMap, sync::Arc};

use crate::{
    backend::StoredRow,
    error::{OpenError, SchemaError},
    migration::Migration,
    row::{AnyRow, Row},
    snapshot::Snapshot,
};

/// The tables of a store and the migrations that lead to them.
///
/// Mistakes (a table named twice, …) are told by [`crate::Store::open`].
pub struct Schema {
    pub(crate) version: u32,
    pub(crate) migrations: BTreeMap<u32, Migration>,
    tables: BTreeMap<&'static str, TableType>,
    fault: Option<SchemaError>,
}

/// What the store must know of a row type where the type itself is erased.
pub(crate) struct TableType {
    row: TypeId,
    /// Puts a stored row into its table.
    pub(crate) load: fn(&mut Snapshot, StoredRow<'_>) -> Result<(), OpenError>,
    /// The row as JSON.
    pub(crate) encode: fn(&AnyRow) -> Option<serde_json::Result<String>>,
}

impl Schema {
    /// A schema of this version, without tables. Versions start at 1 and grow by one whenever rows that older programs
    /// wrote must be changed to be read.
    pub fn new(version: u32) -> Self {
        Self { version, migrations: BTreeMap::new(), tables: BTreeMap::new(), fault: None }
    }

    /// Adds the table of a row type.
    #[must_use]
    pub fn table<R: Row>(mut self) -> Self {
        let table = TableType { row: TypeId::of::<R>(), load: load::<R>, encode: encode::<R> };
        if !is_table_name(R::TABLE) {
            self.fault.get_or_insert(SchemaError::TableName(R::TABLE));
        } else if self.tables.insert(R::TABLE, table).is_some() {
            self.fault.get_or_insert(SchemaError::TableTwice(R::TABLE));
        }
        self
    }

    /// Adds the migration from version `from` to `from + 1`.
    #[must_use]
    pub fn migration(mut self, from: u32, migration: Migration) -> Self {
        if from >= self.version {
            self.fault.get_or_insert(SchemaError::MigrationBeyond { from, version: self.version });
        } else if self.migrations.insert(from, migration).is_some() {
            self.fault.get_or_insert(SchemaError::MigrationTwice(from));
        }
        self
    }

    pub(crate) fn check(&self) -> Result<(), SchemaError> {
        self.fault.clone().map_or(Ok(()), Err)
    }

    pub(crate) fn table_names(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.tables.keys().copied()
    }

    pub(crate) fn table_named(&self, name: &str) -> Option<&TableType> {
        self.tables.get(name)
    }

    /// Whether the table of this row type is in the schema, with this type.
    pub(crate) fn has<R: Row>(&self) -> bool {
        self.table_named(R::TABLE).is_some_and(|table| table.row == TypeId::of::<R>())
    }
}

fn load<R: Row>(snapshot: &mut Snapshot, stored: StoredRow<'_>) -> Result<(), OpenError> {
    let (table, key) = (|| stored.table.to_owned(), || stored.key.to_owned());
    let row: R =
        serde_json::from_str(stored.json).map_err(|source| OpenError::Row { table: table(), key: key(), source })?;
    let own = row.key();
    if own != stored.key {
        return Err(OpenError::RowKey { table: table(), key: key(), own });
    }
    if stored.revision > snapshot.revision {
        return Err(OpenError::RowRevision { table: table(), key: key(), revision: stored.revision });
    }
    let Some(rows) = snapshot.table_mut(R::TABLE) else { return Err(OpenError::TableUnknown(table())) };
    rows.insert(&own.into(), stored.revision, Arc::new(row));
    Ok(())
}

fn encode<R: Row>(row: &AnyRow) -> Option<serde_json::Result<String>> {
    row.downcast_ref::<R>().map(serde_json::to_string)
}

fn is_table_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}
