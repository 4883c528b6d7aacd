//! The SQLite backend's files: who may have them, what a person sees in them, and what happens when they are damaged.

use std::{
    fs::{self, OpenOptions, Permissions},
    os::unix::fs::{FileExt, PermissionsExt},
    path::PathBuf,
};

use estiva_store::{
    BackendError, OpenError, Store, StoreError, UpdateError,
    backend::{Backend, Sqlite},
};
use rusqlite::Connection;
use tempfile::TempDir;

use crate::rows::{Item, Place, count, increment, schema, try_write, write};

fn database(place: &TempDir) -> PathBuf {
    place.path().join("store.db")
}

fn mode(path: impl AsRef<std::path::Path>) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// A closed store with some rows; `size` makes it span many pages.
async fn filled(size: usize) -> TempDir {
    let place = tempfile::tempdir().unwrap();
    let store = place.open();
    write(&store, |tx| (0..500).for_each(|n| drop(tx.put(Item::new(&format!("{n:04}"), &"g".repeat(size), n))))).await;
    drop(store);
    place
}

fn open_error(place: &TempDir) -> OpenError {
    Sqlite::open(place.path())
        .map_err(OpenError::from)
        .and_then(|backend| Store::open(backend, schema()))
        .err()
        .unwrap()
}

fn assert_damaged(place: &TempDir) {
    let error = open_error(place);
    let OpenError::Backend(BackendError::Damaged { path, .. }) = &error else { panic!("{error:?}") };
    assert_eq!(*path, database(place));
}

#[tokio::test]
async fn files_are_their_owners_only() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("state/store");
    let open = || Store::open(Sqlite::open(&directory).unwrap(), schema()).unwrap();
    write(&open(), |tx| increment(tx, "n")).await;
    assert_eq!(mode(&directory), 0o700);
    fs::set_permissions(directory.join("store.db"), Permissions::from_mode(0o644)).unwrap();
    let store = open();
    write(&store, |tx| increment(tx, "n")).await;
    for file in ["store.db", "store.db-wal", "store.db-shm", "store.lock"] {
        assert_eq!(mode(directory.join(file)), 0o600, "{file}");
    }
    drop(store);
    fs::set_permissions(&directory, Permissions::from_mode(0o770)).unwrap();
    assert!(matches!(Sqlite::open(&directory), Err(BackendError::Exposed { mode: 0o770, .. })));
}

#[test]
fn a_store_is_opened_once_at_a_time() {
    let place = tempfile::tempdir().unwrap();
    let store = place.open();
    let error = Sqlite::open(place.path()).err().unwrap();
    assert!(matches!(&error, BackendError::Locked { pid: Some(pid), .. } if *pid == std::process::id()));
    assert!(error.to_string().contains(place.path().to_str().unwrap()), "{error}");
    drop(store);
    Sqlite::open(place.path()).unwrap();
}

#[tokio::test]
async fn a_person_can_read_it_while_it_is_open() {
    let place = tempfile::tempdir().unwrap();
    let store = place.open();
    write(&store, |tx| tx.put(Item::new("a", "red", 1))).await;
    let person = Connection::open(database(&place)).unwrap();
    let group: String =
        person.query_row("SELECT json ->> 'group' FROM items WHERE key = 'a'", [], |row| row.get(0)).unwrap();
    assert_eq!(group, "red");
}

#[tokio::test]
async fn another_writer_is_noticed() {
    let place = tempfile::tempdir().unwrap();
    let store = place.open();
    write(&store, |tx| increment(tx, "n")).await;
    let person = Connection::open(database(&place)).unwrap();
    person.execute("UPDATE estiva_meta SET value = 7 WHERE name = 'revision'", []).unwrap();
    let error = try_write(&store, |tx| increment(tx, "n")).await.unwrap_err();
    let UpdateError::Store(StoreError::Commit { source, .. }) = error else { panic!("{error:?}") };
    assert!(matches!(*source, BackendError::Fenced { expected: 1, found: 7 }));
    assert_eq!(count(&store.view(), "n"), 1);
}

#[tokio::test]
async fn an_empty_file_is_no_new_store() {
    let place = filled(1).await;
    OpenOptions::new().write(true).open(database(&place)).unwrap().set_len(0).unwrap();
    assert_damaged(&place);
}

#[tokio::test]
async fn a_log_without_its_database_is_no_new_store() {
    let place = filled(1).await;
    fs::rename(database(&place), place.path().join("store.db-wal")).unwrap();
    assert_damaged(&place);
}

#[tokio::test]
async fn a_truncated_file_is_refused() {
    let place = filled(100).await;
    let file = OpenOptions::new().write(true).open(database(&place)).unwrap();
    file.set_len(file.metadata().unwrap().len() / 2).unwrap();
    assert_damaged(&place);
}

#[tokio::test]
async fn every_overwritten_page_is_noticed() {
    let place = filled(100).await;
    let whole = fs::read(database(&place)).unwrap();
    let pages = whole.len() / 4096;
    assert!(pages > 20);
    for page in 0..pages {
        fs::write(database(&place), &whole).unwrap();
        let file = OpenOptions::new().write(true).open(database(&place)).unwrap();
        file.write_all_at(&[0; 4096], u64::try_from(page * 4096).unwrap()).unwrap();
        assert_damaged(&place);
    }
    fs::write(database(&place), &whole).unwrap();
    assert_eq!(place.open().view().count::<Item>(), 500);
}

/// A disk that gives back other bits than it was given.
#[tokio::test]
async fn no_flipped_bit_goes_unnoticed() {
    let place = filled(20).await;
    let whole = fs::read(database(&place)).unwrap();
    let mut noticed = 0;
    // A prime step goes through all offsets in a page and all bits.
    for offset in (0..whole.len()).step_by(131) {
        let mut flipped = whole.clone();
        flipped[offset] ^= 1 << (offset % 8);
        fs::write(database(&place), &flipped).unwrap();
        match Sqlite::open(place.path()).map_err(OpenError::from).and_then(|backend| Store::open(backend, schema())) {
            Err(_) => noticed += 1,
            // It lay in free space, or in a count that nobody reads: all is as it was.
            Ok(store) => {
                let view = store.view();
                assert_eq!(view.count::<Item>(), 500, "offset {offset}");
                for number in 0..500 {
                    let expected = Item::new(&format!("{number:04}"), &"g".repeat(20), number);
                    assert_eq!(
                        view.get::<Item>(&format!("{number:04}")).as_deref(),
                        Some(&expected),
                        "offset {offset}"
                    );
                }
            }
        }
    }
    assert!(noticed > 100, "{noticed}");
}

#[tokio::test]
async fn a_file_from_before_checksums_is_taken_over() {
    let place = filled(1).await;
    let former = Connection::open(database(&place)).unwrap();
    former.execute_batch("ALTER TABLE items DROP COLUMN checksum; PRAGMA user_version = 1").unwrap();
    drop(former);
    assert_eq!(place.open().view().count::<Item>(), 500);
    // And from now on it has them.
    Connection::open(database(&place))
        .unwrap()
        .execute("UPDATE items SET revision = 9 WHERE key = '0042'", [])
        .unwrap();
    assert!(open_error(&place).to_string().contains("row `0042`"));
}

#[test]
fn the_file_of_another_program_is_refused() {
    let place = tempfile::tempdir().unwrap();
    Connection::open(database(&place)).unwrap().execute_batch("CREATE TABLE theirs (x); VACUUM").unwrap();
    assert_damaged(&place);
    fs::write(
        database(&place),
        "not a database at all, but long enough to be taken for the header of one, and then some",
    )
    .unwrap();
    assert_damaged(&place);
}

#[tokio::test]
async fn damaged_rows_are_named() {
    let edit = async |sql: &str| {
        let place = filled(1).await;
        Connection::open(database(&place)).unwrap().execute(sql, []).unwrap();
        open_error(&place)
    };
    for sql in [
        "UPDATE items SET json = substr(json, 1, 20) WHERE key = '0042'",
        "UPDATE items SET json = json_set(json, '$.size', 43) WHERE key = '0042'",
        "UPDATE items SET revision = 9 WHERE key = '0042'",
        "UPDATE items SET checksum = checksum + 1 WHERE key = '0042'",
    ] {
        let error = edit(sql).await;
        assert!(matches!(error, OpenError::Backend(BackendError::Damaged { .. })), "{sql}: {error:?}");
        assert!(error.to_string().contains("row `0042` of table `items`"), "{sql}: {error}");
    }
    let error = edit("UPDATE items SET key = 'moved' WHERE key = '0042'").await;
    assert!(error.to_string().contains("row `moved` of table `items`"), "{error}");
    let error = edit("UPDATE items SET json = CAST(x'22ff22' AS TEXT) WHERE key = '0042'").await;
    assert!(error.to_string().contains("row `0042` of table `items`"), "{error}");
    let error = edit("DELETE FROM estiva_meta WHERE name = 'schema_version'").await;
    assert!(matches!(error, OpenError::Backend(BackendError::Damaged { .. })), "{error:?}");
}

#[test]
fn a_store_whose_making_was_interrupted_is_made_again() {
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("store.db.new"), "half").unwrap();
    let mut backend = Sqlite::open(place.path()).unwrap();
    assert_eq!(backend.header().unwrap(), None);
    drop(backend);
    // Made, but never initialised.
    assert_eq!(place.open().view().revision(), 0);
}
