//! Rows in this process's memory: for tests, and for stores that need not outlive their process.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use super::{Backend, Batch, Header, StoredRow};
use crate::{error::BackendError, row::Revision};

/// A backend without a disk. Clones share their rows, so that a store can be opened again on what an earlier one left.
#[derive(Debug, Clone, Default)]
pub struct Memory(Arc<Mutex<Contents>>);

#[derive(Debug, Default)]
struct Contents {
    header: Option<Header>,
    rows: BTreeMap<(String, Arc<str>), (Revision, String)>,
}

impl Memory {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Backend for Memory {
    fn header(&mut self) -> Result<Option<Header>, BackendError> {
        Ok(self.0.lock().unwrap_or_else(PoisonError::into_inner).header)
    }

    fn rows(&mut self, visit: &mut dyn FnMut(StoredRow<'_>)) -> Result<(), BackendError> {
        let contents = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for ((table, key), (revision, json)) in &contents.rows {
            visit(StoredRow { table, key, revision: *revision, json });
        }
        Ok(())
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), BackendError> {
        let mut contents = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let stored = contents.header.unwrap_or(Header { revision: 0, schema_version: 0 });
        if stored.revision != batch.base {
            return Err(BackendError::Fenced { expected: batch.base, found: stored.revision });
        }
        for write in &batch.writes {
            let key = (write.table.to_string(), Arc::clone(&write.key));
            match &write.json {
                Some(json) => contents.rows.insert(key, (write.revision, json.clone())),
                None => contents.rows.remove(&key),
            };
        }
        let schema_version = batch.schema_version.unwrap_or(stored.schema_version);
        contents.header = Some(Header { revision: batch.revision, schema_version });
        Ok(())
    }
}
