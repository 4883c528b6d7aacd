//! The files of a store as they were at some moment, to be put down elsewhere, damaged or mixed.

use std::{collections::BTreeMap, fs, path::Path};

use estiva_store::{
    BackendError, Revision,
    backend::{Backend, Batch, Sqlite, Write},
};
use tempfile::TempDir;

pub const DATABASE: &str = "store.db";
pub const LOG: &str = "store.db-wal";
pub const MARK: &str = "store.mark";
pub const FILES: [&str; 3] = [DATABASE, LOG, MARK];

/// Contents by name; a file that is not there has none.
pub type Image = BTreeMap<&'static str, Vec<u8>>;

pub fn take(directory: &Path) -> Image {
    let read = |name| Some((name, fs::read(directory.join(name)).ok()?));
    // SQLite makes an empty log as soon as it looks, and removes it as it leaves.
    FILES.into_iter().filter_map(read).filter(|(name, bytes)| *name != LOG || !bytes.is_empty()).collect()
}

pub fn put(image: &Image) -> TempDir {
    let place = tempfile::tempdir().unwrap();
    put_into(place.path(), image);
    place
}

pub fn put_into(directory: &Path, image: &Image) {
    for name in FILES {
        match image.get(name) {
            Some(bytes) => fs::write(directory.join(name), bytes).unwrap(),
            None => drop(fs::remove_file(directory.join(name))),
        }
    }
}

/// All that a store holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    pub revision: Revision,
    pub rows: BTreeMap<String, (Revision, String)>,
}

pub fn open(directory: &Path) -> Result<State, BackendError> {
    let mut backend = Sqlite::open(directory)?;
    let revision = backend.header()?.map_or(0, |header| header.revision);
    let mut rows = BTreeMap::new();
    backend.rows(&mut |row| drop(rows.insert(row.key.to_owned(), (row.revision, row.json.to_owned()))))?;
    Ok(State { revision, rows })
}

/// A backend that is written to, and what was acknowledged by it.
pub struct Live {
    pub place: TempDir,
    pub backend: Sqlite,
    pub state: State,
}

impl Live {
    pub fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        let mut backend = Sqlite::open(place.path()).unwrap();
        backend.commit(&Batch { base: 0, revision: 0, schema_version: Some(1), writes: Vec::new() }).unwrap();
        Self { place, backend, state: State::default() }
    }

    /// Puts (`Some`) and deletes rows by key.
    pub fn commit(&mut self, rows: &BTreeMap<String, Option<String>>) -> Result<(), BackendError> {
        let revision = self.state.revision + 1;
        let write = |(key, json): (&String, &Option<String>)| Write {
            table: "rows".into(),
            key: key.as_str().into(),
            revision,
            json: json.clone(),
        };
        let writes = rows.iter().map(write).collect();
        self.backend.commit(&Batch { base: self.state.revision, revision, schema_version: None, writes })?;
        self.state.revision = revision;
        for (key, json) in rows {
            match json {
                Some(json) => drop(self.state.rows.insert(key.clone(), (revision, json.clone()))),
                None => drop(self.state.rows.remove(key)),
            }
        }
        Ok(())
    }

    pub fn image(&self) -> Image {
        take(self.place.path())
    }

    /// The process is killed, and another one opens what it left.
    pub fn kill(self) -> Self {
        let place = put(&self.image());
        let mut backend = Sqlite::open(place.path()).unwrap();
        backend.rows(&mut |_| ()).unwrap();
        Self { place, backend, state: self.state }
    }

    /// As [`Live::kill`], but it closes the store before it ends.
    pub fn close(self) -> Self {
        let Self { place, mut backend, state } = self;
        backend.rows(&mut |_| ()).unwrap();
        drop(backend);
        let backend = Sqlite::open(place.path()).unwrap();
        Self { place, backend, state }
    }
}
