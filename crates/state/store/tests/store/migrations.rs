//! Stores that other versions of the program wrote.

use estiva_store::{OpenError, Row, Rows, Schema, SchemaError, Store, backend::Memory};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use crate::rows::{Counter, Item, Place, write};

/// Version 1 called it so, and had no unit.
#[derive(Serialize, Deserialize)]
struct Box1 {
    name: String,
    weight: u64,
}

impl Row for Box1 {
    const TABLE: &'static str = "boxes";

    fn key(&self) -> String {
        self.name.clone()
    }
}

/// Version 3.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Crate3 {
    name: String,
    weight_grams: u64,
}

impl Row for Crate3 {
    const TABLE: &'static str = "crates";

    fn key(&self) -> String {
        format!("crate/{}", self.name)
    }

    fn indexes(&self) -> Vec<(&'static str, String)> {
        vec![("by_weight", self.weight_grams.to_string())]
    }
}

type Fault = Box<dyn std::error::Error + Send + Sync>;

fn name_the_unit(rows: &mut Rows) -> Result<(), Fault> {
    for (key, row) in rows.table("boxes") {
        let row = row.as_object_mut().ok_or("not an object")?;
        let weight =
            row.remove("weight").and_then(|weight| weight.as_u64()).ok_or_else(|| format!("{key}: no weight"))?;
        row.insert("weight_grams".to_owned(), (weight * 1000).into());
    }
    Ok(())
}

#[expect(clippy::unnecessary_wraps, reason = "the signature of a migration")]
fn boxes_to_crates(rows: &mut Rows) -> Result<(), Fault> {
    rows.rename_table("boxes", "crates");
    let crates = std::mem::take(rows.table("crates"));
    rows.table("crates").extend(crates.into_iter().map(|(key, row)| (format!("crate/{key}"), row)));
    Ok(())
}

fn version_1() -> Schema {
    Schema::new(1).table::<Box1>().table::<Counter>()
}

fn version_3() -> Schema {
    let schema = Schema::new(3).table::<Crate3>().table::<Counter>();
    schema.migration(1, name_the_unit).migration(2, boxes_to_crates)
}

async fn oldest<P: Place>(place: &P) {
    let store = Store::open(place.backend(), version_1()).unwrap();
    write(&store, |tx| {
        tx.put(Box1 { name: "tea".to_owned(), weight: 2 });
        tx.put(Box1 { name: "cork".to_owned(), weight: 1 });
        tx.put(Counter { name: "n".to_owned(), value: 1 });
    })
    .await;
}

async fn migrates<P: Place>() {
    let place = P::new();
    oldest(&place).await;
    for opened in ["migrated", "as it is"] {
        let view = Store::open(place.backend(), version_3()).unwrap().view();
        assert_eq!(view.revision(), 2, "{opened}");
        let tea = Crate3 { name: "tea".to_owned(), weight_grams: 2000 };
        let (row, revision) = view.get_versioned::<Crate3>("crate/tea").unwrap();
        assert_eq!((&*row, revision), (&tea, 2));
        assert_eq!((view.count::<Crate3>(), view.index_count::<Crate3>("by_weight", "1000")), (2, 1));
        assert_eq!(view.revision_of::<Counter>("n"), 1, "what did not change keeps its revision");
    }
    assert!(matches!(
        Store::open(place.backend(), version_1()).err(),
        Some(OpenError::Newer { stored: 3, supported: 1 })
    ));
}

#[tokio::test]
async fn memory_migrates_from_the_oldest_version() {
    migrates::<Memory>().await;
}

#[tokio::test]
async fn sqlite_migrates_from_the_oldest_version() {
    migrates::<TempDir>().await;
}

#[tokio::test]
async fn a_failed_migration_changes_nothing() {
    let place = TempDir::new().unwrap();
    let store = place.open();
    write(&store, |tx| tx.put(Item::new("a", "red", 1))).await;
    drop(store);
    let schema = || {
        Schema::new(2).table::<Item>().table::<Counter>().migration(1, |rows| {
            rows.table("items").clear();
            Err("no".into())
        })
    };
    for _ in 0..2 {
        let error = Store::open(place.backend(), schema()).err().unwrap();
        assert!(matches!(error, OpenError::Migration { from: 1, .. }));
    }
    assert_eq!(place.open().view().count::<Item>(), 1);
}

#[tokio::test]
async fn a_gap_in_the_migrations_is_refused() {
    let place = Memory::new();
    oldest(&place).await;
    let schema = Schema::new(3).table::<Crate3>().table::<Counter>().migration(1, name_the_unit);
    assert!(matches!(Store::open(place.backend(), schema).err(), Some(OpenError::MigrationMissing(2))));
}

#[tokio::test]
async fn rows_that_the_program_does_not_know_are_refused() {
    let place = Memory::new();
    oldest(&place).await;
    let schema = Schema::new(1).table::<Counter>();
    let error = Store::open(place.backend(), schema).err().unwrap();
    assert!(matches!(&error, OpenError::TableUnknown(table) if table == "boxes"), "{error}");
}

/// Claims the items' name.
#[derive(Serialize, Deserialize)]
struct Impostor;

impl Row for Impostor {
    const TABLE: &'static str = Item::TABLE;

    fn key(&self) -> String {
        String::new()
    }
}

#[derive(Serialize, Deserialize)]
struct Misnamed;

impl Row for Misnamed {
    const TABLE: &'static str = "Mis-named";

    fn key(&self) -> String {
        String::new()
    }
}

#[test]
fn schemas_that_contradict_themselves_are_refused() {
    let fault = |schema| match Store::open(Memory::new(), schema) {
        Err(OpenError::Schema(fault)) => fault,
        other => panic!("{:?}", other.err()),
    };
    assert_eq!(fault(Schema::new(1).table::<Item>().table::<Impostor>()), SchemaError::TableTwice("items"));
    assert_eq!(fault(Schema::new(1).table::<Misnamed>()), SchemaError::TableName("Mis-named"));
    assert_eq!(fault(Schema::new(3).migration(1, |_| Ok(())).migration(1, |_| Ok(()))), SchemaError::MigrationTwice(1));
    assert_eq!(fault(Schema::new(3).migration(3, |_| Ok(()))), SchemaError::MigrationBeyond { from: 3, version: 3 });
}
