//! A copy of a store that is in use: a directory with a database and a mark, which is a store by itself.
//!
//! Copying the files one by one gives files of different moments, which a start refuses as a rule.

use std::{fs::File, path::Path};

use rusqlite::{Connection, OpenFlags, config::DbConfig};

use super::{
    BUSY_TIMEOUT, Sqlite,
    completeness::{self, Evidence},
    damaged,
    directory::{self, Directory},
    failure,
    mark::Mark,
    meta,
};
use crate::{backend::Backend, error::BackendError, row::Revision};

impl Sqlite {
    /// Copies the store in `from`, which another process may have open, to the new directory `to`, and opens the copy to
    /// check it. Gives its revision.
    pub fn back_up(from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<Revision, BackendError> {
        let source = Directory::unlocked(from.as_ref());
        // Before the database is looked at: the mark of a store that is written runs ahead of what was read earlier.
        let evidence = Evidence::take(&source)?;
        let path = source.database();
        if !source.has_database()? {
            return Err(damaged(&path, "it is missing"));
        }
        let connection = reader(&path).map_err(|source| failure("open", &path, source))?;
        if let Some(detail) = completeness::what_is_missing(&evidence, &connection, &source)? {
            return Err(BackendError::Incomplete { path: source.path().to_owned(), detail });
        }
        let target = Directory::lock(to.as_ref())?;
        let copy = target.new_database()?;
        let into = connection.execute("VACUUM INTO ?1", [copy.to_string_lossy()]);
        into.map_err(|source| failure("copy", &path, source))?;
        drop(connection);
        let synchronised = File::open(&copy).and_then(|file| file.sync_all());
        synchronised.map_err(|source| directory::failure("synchronise", &copy, source))?;
        let copied = Connection::open_with_flags(&copy, OpenFlags::SQLITE_OPEN_READ_ONLY);
        let revision = copied.and_then(|copied| meta(&copied, "revision"));
        let revision = revision.map_err(|source| failure("read", &copy, source))?.unwrap_or(0);
        if target.database().exists() {
            return Err(damaged(&target.database(), "a backup is not written over a store"));
        }
        Mark::create(&target.mark(), revision)?;
        target.publish_database()?;
        drop(target);
        Self::open(to)?.rows(&mut |_| ())?;
        Ok(revision)
    }
}

fn reader(path: &Path) -> rusqlite::Result<Connection> {
    // Reading alone: but to read the log, a connection has to be allowed to write the shared memory beside it.
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    Ok(connection)
}
