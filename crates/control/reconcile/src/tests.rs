//! A controller that keeps as many marks as are wanted of each name.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use estiva_model::{Ambient, Timestamp};
use estiva_store::backend::Memory;
use estiva_store::{Change, Conflict, Row, Schema, Snapshot, Store};
use serde::{Deserialize, Serialize};

use super::*;

#[derive(Clone, Serialize, Deserialize)]
struct Wish {
    name: String,
    count: usize,
}

impl Row for Wish {
    const TABLE: &'static str = "wishes";

    fn key(&self) -> String {
        self.name.clone()
    }
}

#[derive(Serialize, Deserialize)]
struct Mark {
    name: String,
    number: usize,
}

impl Row for Mark {
    const TABLE: &'static str = "marks";

    fn key(&self) -> String {
        format!("{}/{:04}", self.name, self.number)
    }
}

/// Makes one mark a pass, out of what it has seen so far: one that it did not know of would be made twice.
#[derive(Default)]
struct Marker {
    known: BTreeMap<String, usize>,
    passes: Arc<AtomicUsize>,
    looked_at: Arc<Mutex<Vec<Timestamp>>>,
    /// Looks again after this long.
    every: Option<Duration>,
}

impl Controller for Marker {
    type Key = String;

    fn name(&self) -> &'static str {
        "marker"
    }

    fn load(&mut self, view: &Snapshot, _: Timestamp) -> Vec<String> {
        self.known.clear();
        for mark in view.scan::<Mark>("") {
            *self.known.entry(mark.name.clone()).or_default() += 1;
        }
        view.scan::<Wish>("").map(|wish| wish.name.clone()).collect()
    }

    fn observe(&mut self, _: &Snapshot, change: &Change, _: Timestamp) -> Vec<String> {
        if let Some(mark) = change.row::<Mark>().and_then(|mark| mark.after) {
            *self.known.entry(mark.name.clone()).or_default() += 1;
            return vec![mark.name.clone()];
        }
        change.row::<Wish>().map(|_| change.key.to_string()).into_iter().collect()
    }

    fn reconcile(&mut self, view: &Snapshot, key: &String, now: Timestamp) -> Pass {
        self.passes.fetch_add(1, Ordering::Relaxed);
        self.looked_at.lock().unwrap().push(now);
        let (wish, known) = (view.get::<Wish>(key), self.known.get(key).copied().unwrap_or(0));
        let seen = view.revision_of::<Wish>(key);
        let missing = wish.is_some_and(|wish| known < wish.count);
        let name = key.clone();
        let step: Option<Step> = missing.then(|| -> Step {
            Box::new(move |tx| {
                tx.expect::<Wish>(&name, seen)?;
                tx.put(Mark { name, number: known });
                Ok(())
            })
        });
        Pass { step, again_at: self.every.map(|every| now.plus(every)) }
    }
}

fn store() -> Store {
    Store::open(Memory::new(), Schema::new(1).table::<Wish>().table::<Mark>()).unwrap()
}

async fn wish(store: &Store, name: &str, count: usize) {
    let wish = Wish { name: name.to_owned(), count };
    let update = store.update(|tx| {
        tx.put(wish);
        Ok::<_, Conflict>(())
    });
    update.await.unwrap();
}

async fn until(store: &Store, marks: usize) {
    let mut watch = store.watch(store.view().revision());
    while store.view().count::<Mark>() < marks {
        if watch.next().await.is_err() {
            watch = store.watch(store.view().revision());
        }
    }
}

#[tokio::test]
async fn what_is_desired_comes_about_and_nothing_more() {
    let store = store();
    wish(&store, "before", 3).await;
    let controller = Marker::default();
    let passes = Arc::clone(&controller.passes);
    let running = {
        let store = store.clone();
        tokio::spawn(async move { run(&store, &Ambient::system(), controller).await })
    };
    for name in ["a", "b", "c"] {
        wish(&store, name, 20).await;
    }
    until(&store, 63).await;
    // Wishes that change while steps are under way.
    for count in 21..40 {
        wish(&store, "a", count).await;
    }
    until(&store, 82).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(store.view().count::<Mark>(), 82);
    let rested = passes.load(Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(passes.load(Ordering::Relaxed), rested, "without changes there is nothing to look at");
    running.abort();
}

#[tokio::test]
async fn one_that_is_too_far_behind_looks_at_everything() {
    let options = estiva_store::Options { history_changes_max: 1, ..estiva_store::Options::default() };
    let schema = Schema::new(1).table::<Wish>().table::<Mark>();
    let store = Store::open_with(Memory::new(), schema, options).unwrap();
    let running = {
        let store = store.clone();
        tokio::spawn(async move { run(&store, &Ambient::system(), Marker::default()).await })
    };
    let wishes = (0..20).map(|number| {
        let store = store.clone();
        async move { wish(&store, &format!("n{number}"), 2).await }
    });
    futures_util::future::join_all(wishes).await;
    until(&store, 40).await;
    running.abort();
}

#[tokio::test(start_paused = true)]
async fn it_looks_again_when_it_said_so() {
    let store = store();
    wish(&store, "a", 0).await;
    let controller = Marker { every: Some(Duration::from_secs(10)), ..Marker::default() };
    let looked_at = Arc::clone(&controller.looked_at);
    let ambient = Ambient::simulated(|| Timestamp(1000), 1);
    tokio::time::timeout(Duration::from_secs(35), run(&store, &ambient, controller)).await.unwrap_err();
    let seconds: Vec<i64> = looked_at.lock().unwrap().iter().map(|at| (at.as_millis() - 1000) / 1000).collect();
    assert_eq!(seconds, [0, 10, 20, 30]);
}
