//! The contract: the same tests for every backend.

use std::sync::Arc;

use estiva_store::{
    Conflict, KEY_BYTES_MAX, Lagged, Options, ROW_BYTES_MAX, Row, Store, StoreError, UpdateError, WatchError,
    backend::Memory,
};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use crate::rows::{Counter, Inline, Item, Place, Refused, count, increment, keys, schema, try_write, write};

/// The contract for one kind of place.
macro_rules! contract {
    ($module:ident, $place:ty) => {
        mod $module {
            use super::*;

            contract!(@ $place,
                transactions_read_their_own_writes
                rows_come_in_key_order_and_by_prefix
                indexes_follow_their_rows
                snapshots_never_change
                aborted_transactions_leave_no_trace
                stale_expectations_conflict
                a_reopened_store_is_the_same
                nothing_changes_when_nothing_is_written
                what_cannot_be_stored_fails_the_transaction_whole
                concurrent_updates_are_serial
                watches_tell_every_change_once
                a_watch_too_far_behind_is_told
                a_watch_ends_with_the_store
            );
        }
    };
    (@ $place:ty, $($test:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test::<$place>().await;
            }
        )*
    };
}

contract!(memory, Memory);
contract!(inline, Inline);
contract!(sqlite, TempDir);

async fn transactions_read_their_own_writes<P: Place>() {
    let place = P::new();
    let store = place.open();
    write(&store, |tx| {
        tx.put(Item::new("a", "red", 1));
        tx.put(Item::new("b", "red", 2));
    })
    .await;
    write(&store, |tx| {
        assert_eq!(tx.revision(), 2);
        tx.put(Item::new("c", "red", 3));
        tx.put(Item::new("a", "blue", 4));
        assert_eq!(tx.delete::<Item>("b").unwrap().size, 2);
        assert_eq!(tx.delete::<Item>("b"), None);
        assert_eq!(tx.get::<Item>("a").unwrap().size, 4);
        assert_eq!(keys(tx.scan("")), ["a", "c"]);
        assert_eq!(keys(tx.index("by_group", "red")), ["c"]);
        assert_eq!((tx.count::<Item>(), tx.index_count::<Item>("by_group", "blue")), (2, 1));
        assert_eq!(tx.revision_of::<Item>("a"), 2);
    })
    .await;
    assert_eq!(keys(store.view().scan("")), ["a", "c"]);
}

async fn rows_come_in_key_order_and_by_prefix<P: Place>() {
    let place = P::new();
    let store = place.open();
    write(&store, |tx| {
        for key in ["x/2", "x/10", "x", "xy", "w/9", "x/1", "é", "z"] {
            tx.put(Item::new(key, "g", 0));
        }
    })
    .await;
    let view = store.view();
    assert_eq!(keys(view.scan("x/")), ["x/1", "x/10", "x/2"]);
    assert_eq!(keys(view.scan("x")), ["x", "x/1", "x/10", "x/2", "xy"]);
    assert_eq!(keys(view.scan("")), ["w/9", "x", "x/1", "x/10", "x/2", "xy", "z", "é"]);
    assert_eq!(keys(view.scan("absent")), [""; 0]);
    assert_eq!(keys(view.scan_from("x/", "x/1")), ["x/10", "x/2"]);
    assert_eq!(keys(view.scan_from("x/", "x/11")), ["x/2"], "from a key that does not exist");
    assert_eq!(keys(view.scan_from("x", "x")), ["x/1", "x/10", "x/2", "xy"], "from a key that is the prefix");
    assert_eq!(keys(view.scan_from("x/", "a")), ["x/1", "x/10", "x/2"], "from before the prefix");
    assert_eq!(keys(view.scan_from("x/", "y")), [""; 0], "from behind the prefix");
    assert_eq!(keys(view.index_from("by_group", "g", "x/2")), ["xy", "z", "é"]);
    assert_eq!(view.scan::<Counter>("").count(), 0);
}

async fn indexes_follow_their_rows<P: Place>() {
    let place = P::new();
    let store = place.open();
    let tagged = |key: &str, group: &str, tags: &[&str]| Item {
        tags: tags.iter().map(ToString::to_string).collect(),
        ..Item::new(key, group, 0)
    };
    write(&store, |tx| {
        tx.put(tagged("a", "red", &["hot", "new"]));
        tx.put(tagged("b", "red", &["hot", "hot"]));
    })
    .await;
    assert_eq!(keys(store.view().index("by_tag", "hot")), ["a", "b"]);
    write(&store, |tx| {
        tx.put(tagged("a", "blue", &["new", "old"]));
        tx.delete::<Item>("b");
    })
    .await;
    let view = store.view();
    assert_eq!(keys(view.index("by_tag", "new")), ["a"]);
    assert_eq!(keys(view.index("by_tag", "old")), ["a"]);
    assert_eq!(keys(view.index("by_group", "blue")), ["a"]);
    for (index, value) in [("by_tag", "hot"), ("by_group", "red"), ("by_tag", "absent"), ("absent", "hot")] {
        assert_eq!(keys(view.index(index, value)), [""; 0], "{index} {value}");
        assert_eq!(view.index_count::<Item>(index, value), 0, "{index} {value}");
    }
}

async fn snapshots_never_change<P: Place>() {
    let place = P::new();
    let store = place.open();
    write(&store, |tx| tx.put(Item::new("a", "red", 1))).await;
    let before = store.view();
    write(&store, |tx| {
        tx.put(Item::new("a", "blue", 2));
        tx.put(Item::new("b", "blue", 3));
    })
    .await;
    assert_eq!((before.revision(), before.count::<Item>()), (1, 1));
    assert_eq!(before.get::<Item>("a").unwrap().size, 1);
    assert_eq!(keys(before.index("by_group", "red")), ["a"]);
    assert_eq!(keys(before.index("by_group", "blue")), [""; 0]);
    assert_eq!((store.view().revision(), store.view().count::<Item>()), (2, 2));
}

async fn aborted_transactions_leave_no_trace<P: Place>() {
    let place = P::new();
    let store = place.open();
    write(&store, |tx| tx.put(Item::new("a", "red", 1))).await;
    let update = store.update(|tx| {
        tx.put(Item::new("a", "blue", 2));
        tx.put(Item::new("b", "blue", 2));
        Err::<(), _>(Refused)
    });
    assert!(matches!(update.await, Err(UpdateError::Aborted(Refused))));
    write(&store, |tx| assert_eq!(tx.get::<Item>("a").unwrap().size, 1)).await;
    let check = |store: &Store| {
        assert_eq!(keys(store.view().scan("")), ["a"]);
        assert_eq!(store.view().index_count::<Item>("by_group", "blue"), 0);
        assert_eq!(store.view().revision(), 1);
    };
    check(&store);
    drop(store);
    check(&place.open());
}

async fn stale_expectations_conflict<P: Place>() {
    let place = P::new();
    let store = place.open();
    write(&store, |tx| tx.put(Item::new("a", "red", 1))).await;
    let (_, seen) = store.view().get_versioned::<Item>("a").unwrap();
    write(&store, |tx| tx.put(Item::new("b", "red", 1))).await;
    let expect = |key: &'static str, revision| {
        let store = store.clone();
        async move {
            let update = store.update(|tx| {
                tx.expect::<Item>(key, revision)?;
                tx.put(Item::new(key, "red", 9));
                Ok::<_, Conflict>(())
            });
            update.await
        }
    };
    expect("a", seen).await.unwrap();
    let conflict = Conflict { table: "items", key: "a".to_owned(), expected: seen, found: 3 };
    assert!(matches!(expect("a", seen).await, Err(UpdateError::Aborted(found)) if found == conflict));
    assert!(matches!(expect("a", 0).await, Err(UpdateError::Aborted(_))));
    expect("new", 0).await.unwrap();
}

async fn a_reopened_store_is_the_same<P: Place>() {
    let place = P::new();
    let store = place.open();
    write(&store, |tx| tx.put(Item::new("a", "red", 1))).await;
    write(&store, |tx| {
        tx.put(Item::new("b\u{1f6a2}'\"\\", "red\n", u64::MAX));
        tx.put(Counter { name: "a".to_owned(), value: 7 });
    })
    .await;
    write(&store, |tx| tx.put(Item::new("gone", "red", 1))).await;
    write(&store, |tx| tx.delete::<Item>("gone")).await;
    let before = store.view();
    drop(store);

    let store = place.open();
    let after = store.view();
    assert_eq!(after.revision(), 4);
    assert_eq!(after.scan::<Item>("").collect::<Vec<_>>(), before.scan::<Item>("").collect::<Vec<_>>());
    assert_eq!(after.get_versioned::<Item>("a"), before.get_versioned::<Item>("a"));
    assert_eq!(after.get_versioned::<Counter>("a"), Some((Arc::new(Counter { name: "a".to_owned(), value: 7 }), 2)));
    assert_eq!(after.index_count::<Item>("by_group", "red\n"), 1);
    write(&store, |tx| assert_eq!(increment(tx, "a"), 8)).await;
    assert_eq!(store.view().revision(), 5);
}

async fn nothing_changes_when_nothing_is_written<P: Place>() {
    let place = P::new();
    let store = place.open();
    write(&store, |tx| {
        tx.put(Item::new("a", "red", 1));
        tx.delete::<Item>("a");
        tx.delete::<Item>("absent");
    })
    .await;
    assert_eq!(store.view().revision(), 0);
}

/// Not part of the schema.
#[derive(Serialize, Deserialize)]
struct Stranger;

impl Row for Stranger {
    const TABLE: &'static str = "items";

    fn key(&self) -> String {
        "a".to_owned()
    }
}

/// Has no place in JSON.
#[derive(Serialize, Deserialize)]
struct Unwritable(std::collections::BTreeMap<Vec<u8>, u8>);

impl Row for Unwritable {
    const TABLE: &'static str = "unwritable";

    fn key(&self) -> String {
        "a".to_owned()
    }
}

/// Puts a row that the store must refuse, after one that it would take.
async fn refuse<R: Row>(store: &Store, row: R) -> StoreError {
    let result = try_write(store, |tx| {
        increment(tx, "writes");
        tx.put(row);
    });
    match result.await {
        Err(UpdateError::Store(error)) => error,
        other => panic!("{other:?}"),
    }
}

async fn what_cannot_be_stored_fails_the_transaction_whole<P: Place>() {
    let place = P::new();
    let store = Store::open(place.backend(), schema().table::<Unwritable>()).unwrap();
    let (key, group) = ("k".repeat(KEY_BYTES_MAX + 1), "g".repeat(ROW_BYTES_MAX));
    let long = refuse(&store, Item::new(&key, "g", 0)).await;
    assert!(matches!(long, StoreError::Key { bytes, .. } if bytes == key.len()), "{long:?}");
    assert!(matches!(refuse(&store, Item::new("", "g", 0)).await, StoreError::Key { bytes: 0, .. }));
    assert!(matches!(refuse(&store, Item::new("k", &group, 0)).await, StoreError::RowSize { .. }));
    assert!(matches!(refuse(&store, Stranger).await, StoreError::Table("items")));
    let delete = try_write(&store, |tx| tx.delete::<Stranger>("a")).await;
    assert!(matches!(delete, Err(UpdateError::Store(StoreError::Table("items")))));
    let unwritable = refuse(&store, Unwritable([(vec![1], 1)].into())).await;
    assert!(matches!(unwritable, StoreError::Encode { table: "unwritable", .. }), "{unwritable:?}");
    assert_eq!(store.view().revision(), 0);
    write(&store, |tx| tx.put(Item::new(&key[1..], "g", 0))).await;
    assert_eq!((store.view().revision(), count(&store.view(), "writes")), (1, 0));
}

async fn concurrent_updates_are_serial<P: Place>() {
    const WRITERS: u64 = 8;
    const UPDATES: u64 = 40;
    let place = P::new();
    let store = place.open();
    let mut watch = store.watch(0);
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let store = store.clone();
            tokio::spawn(async move {
                for update in 1..=UPDATES {
                    let total = store.update(|tx| {
                        increment(tx, &format!("writer/{writer}"));
                        Ok::<_, Refused>(increment(tx, "total"))
                    });
                    let total = total.await.unwrap();
                    let view = store.view();
                    assert!(count(&view, "total") >= total, "acknowledged, but not to be seen");
                    assert_eq!(count(&view, &format!("writer/{writer}")), update);
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(count(&store.view(), "total"), WRITERS * UPDATES);
    assert_eq!(store.view().revision(), WRITERS * UPDATES);
    // One transaction a revision, in the order of execution, however they were committed together.
    let mut told = Vec::new();
    while told.len() < usize::try_from(WRITERS * UPDATES).unwrap() {
        let changes = watch.next().await.unwrap();
        told.extend(changes.into_iter().filter(|change| &*change.key == "total"));
    }
    for (change, expected) in told.iter().zip(1..) {
        assert_eq!(change.revision, expected);
        assert_eq!(change.row::<Counter>().unwrap().after.unwrap().value, expected);
    }
}

async fn watches_tell_every_change_once<P: Place>() {
    let place = P::new();
    let store = place.open();
    write(&store, |tx| tx.put(Item::new("a", "red", 1))).await;
    let mut from_start = store.watch(0);
    let mut from_now = store.watch(store.view().revision());
    write(&store, |tx| {
        tx.put(Item::new("b", "red", 2));
        tx.put(Item::new("a", "red", 3));
        tx.put(Item::new("a", "red", 4));
        tx.put(Item::new("brief", "red", 5));
        tx.delete::<Item>("brief");
        increment(tx, "n");
    })
    .await;
    write(&store, |tx| tx.delete::<Item>("b")).await;

    let told = from_now.next().await.unwrap();
    assert_eq!(
        told.iter().map(|change| format!("{change:?}")).collect::<Vec<_>>(),
        ["2 insert counters/n", "2 replace items/a", "2 insert items/b", "3 delete items/b"]
    );
    let change = told[1].row::<Item>().unwrap();
    assert_eq!((change.before.unwrap().size, change.after.unwrap().size), (1, 4));
    assert!(told[1].row::<Counter>().is_none());
    assert_eq!(from_now.position(), 3);

    assert_eq!(from_start.next().await.unwrap().len(), 5);
    let waiting = tokio::spawn(async move { from_start.next().await.unwrap().len() });
    tokio::task::yield_now().await;
    write(&store, |tx| increment(tx, "n")).await;
    assert_eq!(waiting.await.unwrap(), 1);
}

async fn a_watch_too_far_behind_is_told<P: Place>() {
    let place = P::new();
    let options = Options { history_changes_max: 4, ..Options::default() };
    let store = Store::open_with(place.backend(), schema(), options).unwrap();
    let mut slow = store.watch(0);
    for _ in 0..4 {
        write(&store, |tx| increment(tx, "n")).await;
    }
    assert_eq!(store.watch(0).next().await.unwrap().len(), 4);
    write(&store, |tx| increment(tx, "n")).await;
    assert_eq!(slow.next().await.unwrap_err(), WatchError::Lagged(Lagged { position: 0, oldest: 1 }));
    let mut fresh = store.watch(store.view().revision());
    write(&store, |tx| (0..5).for_each(|n| drop(tx.put(Item::new(&n.to_string(), "g", n))))).await;
    assert_eq!(fresh.next().await.unwrap_err(), WatchError::Lagged(Lagged { position: 5, oldest: 6 }));
    drop(store);
    assert_eq!(place.open().watch(2).next().await.unwrap_err(), WatchError::Lagged(Lagged { position: 2, oldest: 6 }));
}

async fn a_watch_ends_with_the_store<P: Place>() {
    let place = P::new();
    let store = place.open();
    let mut watch = store.watch(0);
    write(&store, |tx| increment(tx, "n")).await;
    drop(store);
    assert_eq!(watch.next().await.unwrap().len(), 1);
    assert_eq!(watch.next().await.unwrap_err(), WatchError::Closed);
}
