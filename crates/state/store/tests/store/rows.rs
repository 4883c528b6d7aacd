//! The tables that the tests use, and the places that the backends under test keep them in.

use estiva_store::{
    Options, Row, Schema, Snapshot, Store, Tx, UpdateError,
    backend::{Backend, Memory, Sqlite},
};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

/// A row with two indexes, one of them with several values a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    pub key: String,
    pub group: String,
    pub tags: Vec<String>,
    pub size: u64,
}

impl Item {
    pub fn new(key: &str, group: &str, size: u64) -> Self {
        Self { key: key.to_owned(), group: group.to_owned(), tags: Vec::new(), size }
    }
}

impl Row for Item {
    const TABLE: &'static str = "items";

    fn key(&self) -> String {
        self.key.clone()
    }

    fn indexes(&self) -> Vec<(&'static str, String)> {
        let tags = self.tags.iter().map(|tag| ("by_tag", tag.clone()));
        std::iter::once(("by_group", self.group.clone())).chain(tags).collect()
    }
}

/// A row of another table, which shares keys with the items.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counter {
    pub name: String,
    pub value: u64,
}

impl Row for Counter {
    const TABLE: &'static str = "counters";

    fn key(&self) -> String {
        self.name.clone()
    }
}

pub fn schema() -> Schema {
    Schema::new(1).table::<Item>().table::<Counter>()
}

/// Where a backend keeps its rows while no store has them open.
pub trait Place {
    type Backend: Backend;

    fn new() -> Self;
    fn backend(&self) -> Self::Backend;

    fn open(&self) -> Store {
        Store::open(self.backend(), schema()).unwrap()
    }
}

impl Place for Memory {
    type Backend = Memory;

    fn new() -> Self {
        Memory::new()
    }

    fn backend(&self) -> Memory {
        self.clone()
    }
}

/// Memory that each transaction's caller commits to.
pub struct Inline(Memory);

impl Place for Inline {
    type Backend = Memory;

    fn new() -> Self {
        Self(Memory::new())
    }

    fn backend(&self) -> Memory {
        self.0.clone()
    }

    fn open(&self) -> Store {
        let options = Options { commit_inline: true, ..Options::default() };
        Store::open_with(self.backend(), schema(), options).unwrap()
    }
}

impl Place for TempDir {
    type Backend = Sqlite;

    fn new() -> Self {
        tempfile::tempdir().unwrap()
    }

    fn backend(&self) -> Sqlite {
        Sqlite::open(self.path()).unwrap()
    }
}

/// An error of a transaction's own.
#[derive(Debug, PartialEq, Eq)]
pub struct Refused;

/// An update that cannot abort.
pub async fn write<T>(store: &Store, transaction: impl FnOnce(&mut Tx<'_>) -> T) {
    try_write(store, transaction).await.unwrap();
}

pub async fn try_write<T>(
    store: &Store,
    transaction: impl FnOnce(&mut Tx<'_>) -> T,
) -> Result<(), UpdateError<Refused>> {
    let update = store.update(|tx| {
        transaction(tx);
        Ok(())
    });
    update.await
}

/// Adds one to a counter.
pub fn increment(tx: &mut Tx<'_>, name: &str) -> u64 {
    let value = tx.get::<Counter>(name).map_or(0, |counter| counter.value) + 1;
    tx.put(Counter { name: name.to_owned(), value });
    value
}

pub fn count(snapshot: &Snapshot, name: &str) -> u64 {
    snapshot.get::<Counter>(name).map_or(0, |counter| counter.value)
}

pub fn keys(items: impl Iterator<Item = std::sync::Arc<Item>>) -> Vec<String> {
    items.map(|item| item.key.clone()).collect()
}
