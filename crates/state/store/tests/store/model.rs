//! Random transactions against the store and against a naive model, with the store opened again now and then.

use std::{collections::BTreeMap, fmt::Debug};

use estiva_store::{Revision, Snapshot, Store, Watch, backend::Memory};
use proptest::{collection::vec, prelude::*};
use tempfile::TempDir;

use crate::rows::{Item, Place, Refused};

/// All that the store is, done simply: the rows and who wrote them last.
type Model = BTreeMap<String, (Item, Revision)>;

#[derive(Debug, Clone)]
enum Step {
    Transaction { writes: Vec<Op>, aborts: bool },
    Reopen,
}

#[derive(Debug, Clone)]
enum Op {
    Put(Item),
    Delete(String),
}

fn key() -> impl Strategy<Value = String> {
    "[ab](/[abc]){0,2}"
}

fn item() -> impl Strategy<Value = Item> {
    (key(), "[rg]", vec("[xyz]", 0..3), any::<u64>()).prop_map(|(key, group, tags, size)| Item {
        key,
        group,
        tags,
        size,
    })
}

fn step() -> impl Strategy<Value = Step> {
    let op = prop_oneof![3 => item().prop_map(Op::Put), 1 => key().prop_map(Op::Delete)];
    let transaction =
        (vec(op, 0..6), prop::bool::weighted(0.2)).prop_map(|(writes, aborts)| Step::Transaction { writes, aborts });
    prop_oneof![8 => transaction, 1 => Just(Step::Reopen)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn memory_is_as_the_model(steps in vec(step(), 1..40), probe in key()) {
        run::<Memory>(&steps, &probe);
    }

    #[test]
    fn sqlite_is_as_the_model(steps in vec(step(), 1..40), probe in key()) {
        run::<TempDir>(&steps, &probe);
    }
}

fn run<P: Place>(steps: &[Step], probe: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let place = P::new();
    let mut store = place.open();
    let mut watch = store.watch(0);
    let (mut model, mut revision) = (Model::new(), 0);
    let mut kept: Vec<(Snapshot, Model)> = Vec::new();
    for step in steps {
        match step {
            Step::Reopen => {
                drop(store);
                store = place.open();
                watch = store.watch(revision);
            }
            Step::Transaction { writes, aborts } => {
                let before = model.clone();
                if runtime.block_on(transact(&store, writes, *aborts)) {
                    change(&mut model, writes, revision + 1);
                }
                if model != before {
                    revision += 1;
                    runtime.block_on(compare_news(&mut watch, &before, &model));
                }
            }
        }
        let view = store.view();
        assert_eq!(view.revision(), revision);
        compare(&view, &model, probe);
        kept.push((view, model.clone()));
    }
    for (view, model) in kept {
        compare(&view, &model, probe);
    }
}

/// Whether the transaction was committed.
async fn transact(store: &Store, ops: &[Op], aborts: bool) -> bool {
    let update = store.update(|tx| {
        for op in ops {
            match op {
                Op::Put(item) => drop(tx.put(item.clone())),
                Op::Delete(key) => drop(tx.delete::<Item>(key)),
            }
        }
        if aborts { Err(Refused) } else { Ok(()) }
    });
    update.await.is_ok()
}

fn change(model: &mut Model, ops: &[Op], revision: Revision) {
    for op in ops {
        match op {
            Op::Put(item) => drop(model.insert(item.key.clone(), (item.clone(), revision))),
            Op::Delete(key) => drop(model.remove(key)),
        }
    }
}

/// What is told of one transaction is the difference between the models before and after it.
async fn compare_news(watch: &mut Watch, before: &Model, after: &Model) {
    let mut told = before.clone();
    for change in watch.next().await.unwrap() {
        let row = change.row::<Item>().unwrap();
        let was = before.get(&*change.key).map(|(item, _)| item);
        assert_eq!(row.before.as_deref(), was);
        match row.after {
            Some(item) => drop(told.insert(change.key.to_string(), ((*item).clone(), change.revision))),
            None => assert!(told.remove(&*change.key).is_some(), "told of the end of a row that was not there"),
        }
    }
    assert_eq!(&told, after);
}

/// Every kind of read gives what a walk over the whole model gives.
fn compare(view: &Snapshot, model: &Model, probe: &str) {
    let expect = |matches: &dyn Fn(&Item) -> bool| {
        model.values().map(|(item, _)| item.clone()).filter(|item| matches(item)).collect::<Vec<_>>()
    };
    assert_eq!(view.count::<Item>(), model.len());
    same(view.scan(""), &expect(&|_| true));
    same(view.scan(probe), &expect(&|item| item.key.starts_with(probe)));
    same(view.scan_from("", probe), &expect(&|item| item.key.as_str() > probe));
    same(view.scan_from("a/", probe), &expect(&|item| item.key.starts_with("a/") && item.key.as_str() > probe));
    for group in ["r", "g"] {
        let expected = expect(&|item| item.group == group);
        assert_eq!(view.index_count::<Item>("by_group", group), expected.len());
        same(view.index("by_group", group), &expected);
    }
    for tag in ["x", "y", "z"] {
        same(view.index("by_tag", tag), &expect(&|item| item.tags.iter().any(|own| own == tag)));
        let tagged = expect(&|item| item.tags.iter().any(|own| own == tag) && item.key.as_str() > probe);
        same(view.index_from("by_tag", tag, probe), &tagged);
    }
    for (key, (item, revision)) in model {
        let (row, of) = view.get_versioned::<Item>(key).unwrap();
        assert_eq!((&*row, of), (item, *revision));
    }
    assert_eq!(view.contains::<Item>(probe), model.contains_key(probe));
}

fn same<T: PartialEq + Debug>(found: impl Iterator<Item = std::sync::Arc<T>>, expected: &[T]) {
    let found: Vec<_> = found.collect();
    assert!(found.iter().map(|row| &**row).eq(expected.iter()), "found {found:?}\nexpected {expected:?}");
}
