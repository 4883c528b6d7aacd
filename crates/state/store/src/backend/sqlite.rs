//! Rows in one SQLite file: a SQL table for each typed table (`key`, `revision`, `json`, `checksum`), so that
//! `sqlite3 store.db` shows them as they are.
//!
//! The tables have rowids: rows of a kilobyte would spill out of the pages of a `WITHOUT ROWID` table, which then
//! writes 100,000 of them in 2 s instead of 0.8 s.
//!
//! The write-ahead log is synchronised at every commit (`synchronous = FULL`). A person may read the file at any time;
//! a write by anyone else is noticed when it changes the revision, and else lost with the row's next change, for memory
//! is what counts while the store is open.
//!
//! At opening `PRAGMA integrity_check` walks all pages and holds indexes against tables, and each row's CRC-32 is computed
//! again: SQLite has no checksums of its own outside of its log, and a flipped bit in a number would pass as another number.
//! [`completeness`] says how a store that lost acknowledged changes is told from one whose last write was cut short. A store
//! that is refused is left as it is: SQLite would otherwise copy the rest of a damaged log into the database and delete it.

mod backup;
mod completeness;
mod directory;
mod former;
mod mark;

use std::{
    collections::BTreeSet,
    error::Error,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, TransactionBehavior, config::DbConfig, params};

use self::{
    completeness::Evidence,
    directory::Directory,
    mark::{Found, Mark},
};
use super::{Backend, Batch, Header, StoredRow, Write};
use crate::{error::BackendError, row::Revision};

/// Marks the file as ours (`PRAGMA application_id`): "Estv".
const APPLICATION_ID: i32 = 0x4573_7476;
/// Of the tables below (`PRAGMA user_version`); what the rows contain is the schema version's affair.
const FORMAT_VERSION: i32 = 2;
/// Before rows had checksums.
const FORMAT_WITHOUT_CHECKSUMS: i32 = 1;
/// How long a commit waits for a person who writes to the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// The log is copied into the file when it has this many pages: seldom enough that the second fsync does not count.
const CHECKPOINT_PAGES: i32 = 4096;
/// The log's file is cut back to this when it has been copied.
const LOG_BYTES_KEPT: i64 = 64 * 1024 * 1024;
/// Three statements a table.
const STATEMENTS_CACHED: usize = 512;

const META: &str = "estiva_meta";

/// A store in a directory of its own: `store.db`, SQLite's files beside it, `store.mark` and `store.lock`.
pub struct Sqlite {
    connection: Connection,
    path: PathBuf,
    tables: BTreeSet<String>,
    mark: Mark,
    mark_fails: bool,
    /// All rows have been read and are what was written.
    sound: bool,
    // Last, so that it is dropped last: the lock is held for as long as the connection is open.
    _directory: Directory,
}

impl Sqlite {
    /// Opens the store in `directory`, making both if they do not exist (modes 700 and 600). One process at a time.
    pub fn open(directory: impl AsRef<Path>) -> Result<Self, BackendError> {
        let directory = Directory::lock(directory.as_ref())?;
        let mut evidence = Evidence::take(&directory)?;
        if !directory.has_database()? {
            // The mark first: a database without one has lost it.
            evidence.mark = completeness::mark_of_new(&evidence.mark, &directory)?;
            create(&directory.new_database()?)?;
            directory.publish_database()?;
        }
        let (connection, format) = connect_and_check(&directory)?;
        match completeness::what_is_missing(&evidence, &connection, &directory)? {
            Some(detail) => Err(BackendError::Incomplete { path: directory.path().to_owned(), detail }),
            None => Self::take_over(directory, connection, format, &evidence.mark),
        }
    }

    /// Gives up acknowledged changes that a store of [`BackendError::Incomplete`] has lost: what is left counts as complete
    /// from now on. Says what was lost, or `None` if nothing was. A damaged store stays refused.
    pub fn accept_loss(directory: impl AsRef<Path>) -> Result<Option<String>, BackendError> {
        let directory = Directory::lock(directory.as_ref())?;
        let evidence = Evidence::take(&directory)?;
        if !directory.has_database()? {
            return Err(damaged(&directory.database(), "it is missing"));
        }
        let (connection, format) = connect_and_check(&directory)?;
        let missing = completeness::what_is_missing(&evidence, &connection, &directory)?;
        if missing.is_some() {
            let mark = directory.mark();
            let mut store = Self::take_over(directory, connection, format, &evidence.mark)?;
            store.rows(&mut |_| ())?;
            let revision = store.header()?.map_or(0, |header| header.revision);
            // The mark must not be ahead of the disk: a former process may not have synchronised its last write.
            copy_log(&store.connection).map_err(|source| failure("copy the log into", &store.path, source))?;
            store.mark = Mark::create(&mark, revision)?;
        }
        Ok(missing)
    }

    fn take_over(
        directory: Directory,
        mut connection: Connection,
        format: i32,
        marked: &Found,
    ) -> Result<Self, BackendError> {
        let path = directory.database();
        let tables = tables(&connection).map_err(|source| failure("list the tables of", &path, source))?;
        if format == FORMAT_WITHOUT_CHECKSUMS {
            former::add_checksums(&mut connection, &tables)
                .map_err(|source| failure("add checksums to", &path, source))?;
        }
        let mark = completeness::take_over(marked, &mut connection, &tables, &directory)?;
        Ok(Self { connection, path, tables, mark, mark_fails: false, sound: false, _directory: directory })
    }

    /// Says in the mark that a commit is durable. If that fails the commit is durable nevertheless.
    fn note(&mut self, revision: Revision) {
        let noted = self.mark.note(revision);
        if let (Err(error), false) = (&noted, self.mark_fails) {
            tracing::warn!(
                %error, revision, store = %self.path.display(),
                "cannot write store.mark: until this works again, a damaged log may go unnoticed at the next start"
            );
        }
        self.mark_fails = noted.is_err();
    }

    /// Copies the log into the database, so that little depends on the log. A reader keeps it from that, and is not waited
    /// for.
    fn checkpoint(&self) -> rusqlite::Result<()> {
        self.connection.busy_timeout(Duration::ZERO)?;
        let copied = copy_log(&self.connection);
        self.connection.busy_timeout(BUSY_TIMEOUT)?;
        copied
    }

    fn try_commit(&mut self, batch: &Batch) -> Result<BTreeSet<String>, Failure> {
        let tx = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let advance = "UPDATE estiva_meta SET value = ?2 WHERE name = 'revision' AND value = ?1";
        if tx.prepare_cached(advance)?.execute([batch.base, batch.revision])? != 1 {
            let found = meta(&tx, "revision")?.unwrap_or(0);
            return Err(Failure::Fenced(found));
        }
        if let Some(version) = batch.schema_version {
            tx.execute("REPLACE INTO estiva_meta (name, value) VALUES ('schema_version', ?1)", [version])?;
        }
        let (mut created, mut difference) = (BTreeSet::new(), 0);
        for write in &batch.writes {
            if !self.tables.contains(&*write.table) && created.insert(write.table.to_string()) {
                tx.execute_batch(&create_table(&write.table))?;
            }
            difference += apply(&tx, write)?;
        }
        completeness::advance_sum(&tx, difference, batch.revision)?;
        tx.commit()?;
        Ok(created)
    }
}

impl Backend for Sqlite {
    fn header(&mut self) -> Result<Option<Header>, BackendError> {
        let read =
            |name| meta(&self.connection, name).map_err(|source| failure("read the header of", &self.path, source));
        let (revision, version) = (read("revision")?, read("schema_version")?);
        match (revision, version) {
            (Some(revision), Some(version)) => {
                let schema_version = u32::try_from(version)
                    .map_err(|_| damaged(&self.path, "its schema version is no number of ours"))?;
                Ok(Some(Header { revision, schema_version }))
            }
            // Made, but not yet initialised.
            (Some(0), None) if self.tables.is_empty() => Ok(None),
            _ => Err(damaged(&self.path, "its header is incomplete")),
        }
    }

    fn rows(&mut self, visit: &mut dyn FnMut(StoredRow<'_>)) -> Result<(), BackendError> {
        let mut sum = 0;
        for table in &self.tables {
            let fail = |source| failure(&format!("read table `{table}` of"), &self.path, source);
            let mut select = self
                .connection
                .prepare(&format!("SELECT key, revision, json, checksum FROM {}", quoted(table)))
                .map_err(fail)?;
            let mut rows = select.query([]).map_err(fail)?;
            while let Some(row) = rows.next().map_err(fail)? {
                let text = |column| {
                    row.get_ref(column).map_err(fail)?.as_str().map_err(|error| {
                        let key = row.get_ref(0).ok().and_then(|key| key.as_str().ok()).unwrap_or("(not text)");
                        damaged(&self.path, &format!("row `{key}` of table `{table}`: {error}"))
                    })
                };
                let revision = row.get(1).map_err(fail)?;
                let checksum = checksum(table, text(0)?, revision, text(2)?);
                if row.get::<_, u32>(3).map_err(fail)? != checksum {
                    return Err(damaged(
                        &self.path,
                        &format!("row `{}` of table `{table}` is not what was written", text(0)?),
                    ));
                }
                sum += i64::from(checksum);
                visit(StoredRow { table, key: text(0)?, revision, json: text(2)? });
            }
        }
        let expected = completeness::sum(&self.connection);
        if expected.map_err(|source| failure("read the header of", &self.path, source))? != Some(sum) {
            let detail = "its rows are not those of its last commit: store.db and store.db-wal are of different times, \
                          or the disk lost a write";
            return Err(damaged(&self.path, detail));
        }
        self.sound = true;
        Ok(())
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), BackendError> {
        match self.try_commit(batch) {
            Ok(created) => {
                self.tables.extend(created);
                self.note(batch.revision);
            }
            Err(Failure::Fenced(found)) => return Err(BackendError::Fenced { expected: batch.base, found }),
            Err(Failure::Sqlite(source)) => {
                // SQLite has rolled back. If it was the fsync that failed, the log's file still has the whole
                // transaction, and a crash before the next commit would bring it back: empty the log. Where that fails
                // too, the disk is gone.
                _ = copy_log(&self.connection);
                return Err(failure(&format!("commit revision {} to", batch.revision), &self.path, source));
            }
        }
        Ok(())
    }

    fn settle(&mut self) {
        if let Err(error) = self.checkpoint() {
            tracing::warn!(%error, store = %self.path.display(), "cannot copy the log into the database; trying again later");
        }
        if let Err(error) = self.mark.sync() {
            tracing::warn!(%error, store = %self.path.display(), "cannot synchronise store.mark; trying again later");
        }
    }
}

impl Drop for Sqlite {
    fn drop(&mut self) {
        if self.sound {
            // The connection copies the log as it closes. What is not done now is done by the next start.
            _ = self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false);
            _ = self.mark.sync();
        }
    }
}

/// Why a commit failed.
enum Failure {
    Fenced(Revision),
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

/// Makes an empty database in an empty file. Not in the log's mode yet: the file must be complete by itself.
fn create(path: &Path) -> Result<(), BackendError> {
    let make = || {
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        connection.execute_batch(&format!(
            "PRAGMA synchronous = FULL;
             BEGIN;
             PRAGMA application_id = {APPLICATION_ID};
             PRAGMA user_version = {FORMAT_VERSION};
             CREATE TABLE {META} (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
             INSERT INTO {META} VALUES ('revision', 0), ('rows_checksum', 0), ('rows_checksum_revision', 0);
             COMMIT;"
        ))?;
        connection.close().map_err(|(_, error)| error)
    };
    make().map_err(|source| failure("make", path, source))
}

/// A connection to a whole database, and its format. Nothing has been changed.
fn connect_and_check(directory: &Directory) -> Result<(Connection, i32), BackendError> {
    let path = directory.database();
    let connection = connect(&path).map_err(|source| failure("open", &path, source))?;
    let format = check(&connection, &path)?;
    Ok((connection, format))
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_CACHED);
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    connection.pragma_update(None, "journal_size_limit", LOG_BYTES_KEPT)?;
    Ok(connection)
}

/// Copies the log into the database, durably, and empties it.
fn copy_log(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma(None, "wal_checkpoint", "TRUNCATE", |_| Ok(()))
}

/// That the file is a store of ours, and whole; gives its format.
fn check(connection: &Connection, path: &Path) -> Result<i32, BackendError> {
    let number = |pragma| connection.pragma_query_value(None, pragma, |row| row.get::<_, i32>(0));
    let fail = |source| failure("check", path, source);
    if number("application_id").map_err(fail)? != APPLICATION_ID {
        return Err(damaged(path, "it is not a store of Estiva"));
    }
    let format = number("user_version").map_err(fail)?;
    if ![FORMAT_WITHOUT_CHECKSUMS, FORMAT_VERSION].contains(&format) {
        return Err(damaged(path, &format!("its format is {format}, and this program knows {FORMAT_VERSION} only")));
    }
    let verdict: String = connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0)).map_err(fail)?;
    if verdict == "ok" { Ok(format) } else { Err(damaged(path, &verdict)) }
}

fn tables(connection: &Connection) -> rusqlite::Result<BTreeSet<String>> {
    let mut select =
        connection.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT IN ('estiva_meta')")?;
    select.query_map([], |row| row.get(0))?.collect()
}

fn meta(connection: &Connection, name: &str) -> rusqlite::Result<Option<u64>> {
    let mut select = connection.prepare_cached("SELECT value FROM estiva_meta WHERE name = ?1")?;
    select.query_row([name], |row| row.get(0)).optional()
}

fn create_table(name: &str) -> String {
    let name = quoted(name);
    format!(
        "CREATE TABLE {name} (key TEXT NOT NULL PRIMARY KEY, revision INTEGER NOT NULL, json TEXT NOT NULL, checksum INTEGER NOT NULL) STRICT"
    )
}

/// CRC-32 (ISO-HDLC) of all that a row is, its parts separated by what none of them has.
fn checksum(table: &str, key: &str, revision: Revision, json: &str) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    for part in [table.as_bytes(), key.as_bytes(), &revision.to_le_bytes(), json.as_bytes()] {
        hasher.update(part);
        hasher.update(b"\0");
    }
    hasher.finalize()
}

/// Gives what the row adds to the sum of all checksums.
fn apply(connection: &Connection, write: &Write) -> rusqlite::Result<i64> {
    let table = quoted(&write.table);
    let mut before = connection.prepare_cached(&format!("SELECT checksum FROM {table} WHERE key = ?1"))?;
    let before = before.query_row([&*write.key], |row| row.get::<_, i64>(0)).optional()?.unwrap_or(0);
    let Some(json) = &write.json else {
        connection.prepare_cached(&format!("DELETE FROM {table} WHERE key = ?1"))?.execute([&*write.key])?;
        return Ok(-before);
    };
    let checksum = checksum(&write.table, &write.key, write.revision, json);
    // Not REPLACE, which would give the row a new place in the table.
    connection
        .prepare_cached(&format!(
            "INSERT INTO {table} (key, revision, json, checksum) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (key) DO UPDATE
             SET revision = excluded.revision, json = excluded.json, checksum = excluded.checksum"
        ))?
        .execute(params![&*write.key, write.revision, json, checksum])?;
    Ok(i64::from(checksum) - before)
}

/// A table name as an SQL identifier.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn damaged(path: &Path, detail: &str) -> BackendError {
    BackendError::Damaged { path: path.to_owned(), detail: detail.to_owned() }
}

fn failure(doing: &str, path: &Path, source: rusqlite::Error) -> BackendError {
    if let Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) = source.sqlite_error_code() {
        return damaged(path, &format!("cannot {doing} it: {source}"));
    }
    let source: Box<dyn Error + Send + Sync> = Box::new(source);
    BackendError::Engine { doing: doing.to_owned(), subject: path.display().to_string(), source }
}
