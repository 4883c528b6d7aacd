//! Opening: from what a backend holds to a snapshot in memory, or a reason why not.

use crate::{
    backend::{Backend, Batch, Header},
    error::OpenError,
    migration,
    schema::Schema,
    snapshot::Snapshot,
};

/// Initialises or migrates the backend if need be, and reads all its rows.
pub(crate) fn open(backend: &mut dyn Backend, schema: &Schema) -> Result<Snapshot, OpenError> {
    schema.check()?;
    let header = match backend.header()? {
        None => initialise(backend, schema)?,
        Some(stored) if stored.schema_version > schema.version => {
            return Err(OpenError::Newer { stored: stored.schema_version, supported: schema.version });
        }
        Some(stored) if stored.schema_version < schema.version => migration::migrate(backend, schema, stored)?,
        Some(stored) => stored,
    };
    load(backend, schema, header)
}

fn initialise(backend: &mut dyn Backend, schema: &Schema) -> Result<Header, OpenError> {
    let header = Header { revision: 0, schema_version: schema.version };
    backend.commit(&Batch { base: 0, revision: 0, schema_version: Some(schema.version), writes: Vec::new() })?;
    Ok(header)
}

fn load(backend: &mut dyn Backend, schema: &Schema, header: Header) -> Result<Snapshot, OpenError> {
    let mut snapshot = Snapshot::new(header.revision, schema.table_names());
    let mut fault = None;
    backend.rows(&mut |stored| {
        if fault.is_some() {
            return;
        }
        let loaded = match schema.table_named(stored.table) {
            Some(table) => (table.load)(&mut snapshot, stored),
            None => Err(OpenError::TableUnknown(stored.table.to_owned())),
        };
        fault = loaded.err();
    })?;
    fault.map_or(Ok(snapshot), Err)
}
