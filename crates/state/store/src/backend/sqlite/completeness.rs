//! Whether a store is all that was acknowledged, and not an older state or a mix of several.
//!
//! Two things have to agree before a store is used:
//! - Its revision is not behind the commit mark ([`super::mark`]).
//! - The sum of its rows' checksums is the one that the last commit left. Each row has a checksum, so a changed row is found
//!   by itself; the sum finds rows that are missing and rows that came back: pages of an older copy under a newer log, or
//!   the other way round, which a copy made while the store was written can be, and writes that a disk lost.
//!
//! A store that has the sum also has a mark, so a mark that is missing is noticed. A store of an older program has neither:
//! it is taken as it is, once.

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension};

use super::{
    copy_log,
    directory::Directory,
    failure,
    mark::{self, Found, Mark},
    meta, quoted,
};
use crate::{error::BackendError, row::Revision};

/// What the directory held before SQLite was let in, which makes an empty log where one is missing.
pub(super) struct Evidence {
    pub(super) mark: Found,
    log: String,
}

impl Evidence {
    pub(super) fn take(directory: &Directory) -> Result<Self, BackendError> {
        Ok(Self { mark: mark::read(&directory.mark())?, log: directory.log_as_found() })
    }
}

/// What is wrong with a store that is sound, and older than what was acknowledged.
pub(super) fn what_is_missing(
    evidence: &Evidence,
    connection: &Connection,
    directory: &Directory,
) -> Result<Option<String>, BackendError> {
    let read = |name| meta(connection, name).map_err(|source| failure("read", &directory.database(), source));
    let revision = read("revision")?.unwrap_or(0);
    Ok(match &evidence.mark {
        Found::Revision(committed) if revision < *committed => {
            Some(format!("they end at revision {revision}, and revision {committed} was committed; {}", evidence.log))
        }
        Found::Damaged => Some("store.mark, which says how far they reach, is damaged".to_owned()),
        Found::Missing if read("rows_checksum")?.is_some() => {
            Some("store.mark, which says how far they reach, is missing".to_owned())
        }
        Found::Revision(_) | Found::Missing => None,
    })
}

/// The mark of a store that is complete. A store of a program that kept no sum, or less than the last commit's, gets both.
pub(super) fn take_over(
    found: &Found,
    connection: &mut Connection,
    tables: &BTreeSet<String>,
    directory: &Directory,
) -> Result<Mark, BackendError> {
    let fail = |source| failure("add a checksum to", &directory.database(), source);
    let revision = meta(connection, "revision").map_err(fail)?.unwrap_or(0);
    let mark = match found {
        Found::Revision(_) => Mark::open(&directory.mark())?,
        // Before the sum, which demands it; and not ahead of the disk, as a killed process may not have synchronised its
        // last write.
        Found::Missing | Found::Damaged => {
            copy_log(connection).map_err(fail)?;
            Mark::create(&directory.mark(), revision)?
        }
    };
    if meta(connection, "rows_checksum_revision").map_err(fail)? != Some(revision) {
        add_sum(connection, tables, revision).map_err(fail)?;
        // In the database's own file, so that the mark is also missed when the log is lost together with it.
        copy_log(connection).map_err(fail)?;
    }
    Ok(mark)
}

/// A commit's part: what its rows have added to the sum.
pub(super) fn advance_sum(connection: &Connection, difference: i64, revision: Revision) -> rusqlite::Result<()> {
    let mut update =
        connection.prepare_cached("UPDATE estiva_meta SET value = value + ?1 WHERE name = 'rows_checksum'")?;
    update.execute([difference])?;
    let mut update =
        connection.prepare_cached("UPDATE estiva_meta SET value = ?1 WHERE name = 'rows_checksum_revision'")?;
    update.execute([revision]).map(drop)
}

/// The sum that the last commit left.
pub(super) fn sum(connection: &Connection) -> rusqlite::Result<Option<i64>> {
    let mut select = connection.prepare_cached("SELECT value FROM estiva_meta WHERE name = 'rows_checksum'")?;
    select.query_row([], |row| row.get(0)).optional()
}

fn add_sum(connection: &mut Connection, tables: &BTreeSet<String>, revision: Revision) -> rusqlite::Result<()> {
    let tx = connection.transaction()?;
    let mut sum = 0;
    for table in tables {
        let select = format!("SELECT COALESCE(SUM(checksum), 0) FROM {}", quoted(table));
        sum += tx.query_row(&select, [], |row| row.get::<_, i64>(0))?;
    }
    tx.execute("REPLACE INTO estiva_meta (name, value) VALUES ('rows_checksum', ?1)", [sum])?;
    tx.execute("REPLACE INTO estiva_meta (name, value) VALUES ('rows_checksum_revision', ?1)", [revision])?;
    tx.commit()
}

/// The mark before there is a database: nothing can have been committed.
pub(super) fn mark_of_new(found: &Found, directory: &Directory) -> Result<Found, BackendError> {
    let detail = match found {
        Found::Missing | Found::Revision(0) => return Mark::create(&directory.mark(), 0).map(|_| Found::Revision(0)),
        Found::Revision(committed) => format!("it is missing, and revision {committed} was committed to it"),
        Found::Damaged => "it is missing, and store.mark is damaged".to_owned(),
    };
    Err(BackendError::Damaged { path: directory.database(), detail })
}
