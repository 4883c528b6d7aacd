//! What two snapshots do not agree on, against looking at every row of both.

use std::collections::{BTreeMap, BTreeSet};

use estiva_store::{Conflict, Revision, Snapshot, Store, backend::Memory};
use proptest::{collection::vec, prelude::*};

use crate::rows::{Item, Place};

fn item(number: u16, size: u64) -> Item {
    Item { key: format!("{number:05}"), group: "r".into(), tags: Vec::new(), size }
}

/// Puts the items of these numbers, or deletes those that are marked.
fn write(store: &Store, writes: &[(u16, bool)], size: u64) {
    let update = store.update(|tx| {
        for (number, stays) in writes {
            if *stays {
                tx.put(item(*number, size));
            } else {
                tx.delete::<Item>(&item(*number, size).key);
            }
        }
        Ok::<_, Conflict>(())
    });
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(update).unwrap();
}

fn rows(view: &Snapshot) -> BTreeMap<String, Revision> {
    view.scan::<Item>("").map(|item| (item.key.clone(), view.revision_of::<Item>(&item.key))).collect()
}

/// By key, the sizes here and there.
fn differences(here: &Snapshot, there: &Snapshot) -> BTreeMap<String, (Option<u64>, Option<u64>)> {
    let mut found = BTreeMap::new();
    for it in here.differences::<Item>(there) {
        let key = it.here.as_ref().or(it.there.as_ref()).unwrap().key.clone();
        let sizes = (it.here.map(|item| item.size), it.there.map(|item| item.size));
        assert_eq!(found.insert(key, sizes), None, "once a row");
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    // Thousands of rows: the persistent maps have levels then, and share whole branches.
    #[test]
    fn each_row_that_is_another_is_told_and_no_other(
        first in 0..4000_u16,
        changes in vec(vec((0..4200_u16, prop::bool::weighted(0.7)), 0..60), 1..6),
    ) {
        let store = <Memory as Place>::new().open();
        let all: Vec<_> = (0..first).map(|number| (number, true)).collect();
        write(&store, &all, 0);
        let mut views = vec![store.view()];
        for (size, writes) in (1..).zip(&changes) {
            write(&store, writes, size);
            views.push(store.view());
        }
        for (here, there) in views.iter().zip(&views[1..]).chain([(&views[0], &views[views.len() - 1])]) {
            let (before, after) = (rows(here), rows(there));
            let keys: BTreeSet<_> = before.keys().chain(after.keys()).collect();
            let expected: BTreeSet<_> = keys.into_iter().filter(|key| before.get(*key) != after.get(*key)).collect();
            let found = differences(here, there);
            prop_assert_eq!(found.keys().collect::<BTreeSet<_>>(), expected);
            for (key, (was, is)) in &found {
                prop_assert_eq!(*was, here.get::<Item>(key).map(|item| item.size));
                prop_assert_eq!(*is, there.get::<Item>(key).map(|item| item.size));
            }
            let back: BTreeMap<_, _> = differences(there, here).into_iter().map(|(key, (is, was))| (key, (was, is))).collect();
            prop_assert_eq!(found, back);
        }
    }
}

#[tokio::test]
async fn what_a_given_up_transaction_saw_differs_from_what_came_instead() {
    let store = <Memory as Place>::new().open();
    let mut seen = None;
    let given_up = store.update(|tx| {
        tx.put(item(1, 1));
        seen = Some(tx.clone_snapshot());
        tx.expect::<Item>("none", 7)
    });
    given_up.await.unwrap_err();
    store.update(|tx| Ok::<_, Conflict>(tx.put(item(1, 2)))).await.unwrap();
    let (seen, now) = (seen.unwrap(), store.view());
    assert_eq!(seen.revision(), now.revision());
    assert_eq!(differences(&seen, &now), BTreeMap::from([("00001".to_owned(), (Some(1), Some(2)))]));
}
