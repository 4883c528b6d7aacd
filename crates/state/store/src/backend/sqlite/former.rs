//! The former format, whose rows had no checksums.

use std::collections::BTreeSet;

use rusqlite::{Connection, params};

use super::{FORMAT_VERSION, checksum, quoted};

/// Brings a file of the former format to today's, in one transaction.
pub(super) fn add_checksums(connection: &mut Connection, tables: &BTreeSet<String>) -> rusqlite::Result<()> {
    let tx = connection.transaction()?;
    for table in tables {
        let name = quoted(table);
        tx.execute_batch(&format!("ALTER TABLE {name} ADD COLUMN checksum INTEGER NOT NULL DEFAULT 0"))?;
        let mut select = tx.prepare(&format!("SELECT rowid, key, revision, json FROM {name}"))?;
        let mut update = tx.prepare(&format!("UPDATE {name} SET checksum = ?2 WHERE rowid = ?1"))?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            let (key, json): (String, String) = (row.get(1)?, row.get(3)?);
            update.execute(params![row.get::<_, i64>(0)?, checksum(table, &key, row.get(2)?, &json)])?;
        }
    }
    tx.pragma_update(None, "user_version", FORMAT_VERSION)?;
    tx.commit()
}
