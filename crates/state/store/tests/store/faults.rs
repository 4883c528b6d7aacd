//! Commits that take long, fail or never come back.

use std::{
    future::Future,
    pin::Pin,
    sync::atomic::{AtomicBool, Ordering},
    task::{Context, Waker},
};

use estiva_store::{Options, Store, StoreError, UpdateError, WatchError, backend::Memory};

use crate::{
    rows::{Counter, Refused, count, increment, schema},
    writers::{Gatekeeper, Verdict, gate},
};

type Update<'a> = Pin<Box<dyn Future<Output = Result<u64, UpdateError<Refused>>> + Send + 'a>>;

fn open(memory: &Memory) -> (Store, Gatekeeper) {
    let (gate, keeper) = gate(memory.clone());
    (Store::open(gate, schema()).unwrap(), keeper)
}

/// Executes a transaction up to where it waits for its commit.
fn start<'a>(update: impl Future<Output = Result<u64, UpdateError<Refused>>> + Send + 'a) -> Update<'a> {
    let mut update: Update<'a> = Box::pin(update);
    let mut context = Context::from_waker(Waker::noop());
    assert!(update.as_mut().poll(&mut context).is_pending(), "acknowledged before it was durable");
    update
}

fn add<'a>(store: &'a Store, name: &'a str) -> Update<'a> {
    start(store.update(move |tx| Ok(increment(tx, name))))
}

fn read<'a>(store: &'a Store, name: &'a str) -> Update<'a> {
    Box::pin(store.update(move |tx| Ok(count(tx, name))))
}

fn refuse<'a>(store: &'a Store, name: &'a str) -> Update<'a> {
    Box::pin(store.update(move |tx| {
        assert_eq!(count(tx, name), 1);
        Err(Refused)
    }))
}

fn is_commit_failure(result: &Result<u64, UpdateError<Refused>>) -> bool {
    matches!(result, Err(UpdateError::Store(StoreError::Commit { .. })))
}

#[tokio::test]
async fn transactions_that_queue_up_share_a_commit() {
    let memory = Memory::new();
    let (store, keeper) = open(&memory);
    let mut watch = store.watch(0);
    let first = add(&store, "n");
    keeper.await_commit();
    // While the first commit is under way, the next ones build on what it will have written.
    let queued: Vec<_> = (0..5).map(|_| add(&store, "n")).collect();
    assert_eq!((store.view().revision(), count(&store.view(), "n")), (0, 0), "seen before it is durable");
    keeper.decide(Verdict::Commit);
    assert_eq!(first.await.unwrap(), 1);
    assert_eq!(watch.next().await.unwrap().len(), 1);
    assert_eq!(count(&store.view(), "n"), 1);
    keeper.decide(Verdict::Commit);
    for (update, value) in queued.into_iter().zip(2..) {
        assert_eq!(update.await.unwrap(), value);
    }
    assert_eq!(keeper.committed(), [1, 6], "two commits, the second of five transactions");
    let told = watch.next().await.unwrap();
    let told = told.iter().map(|change| change.row::<Counter>().unwrap().after.unwrap().value);
    assert!(told.eq(2..=6), "each transaction is told by itself");
    drop(store);
    assert_eq!(count(&Store::open(memory, schema()).unwrap().view(), "n"), 6);
}

#[tokio::test]
async fn a_failed_commit_takes_all_with_it_that_built_on_it() {
    let memory = Memory::new();
    let (store, keeper) = open(&memory);
    let mut watch = store.watch(0);
    let kept = add(&store, "kept");
    keeper.await_commit();
    keeper.decide(Verdict::Commit);
    kept.await.unwrap();

    let failing = add(&store, "n");
    keeper.await_commit();
    let queued = vec![add(&store, "n"), add(&store, "m"), start(read(&store, "n")), start(refuse(&store, "m"))];
    keeper.decide(Verdict::Fail);
    assert!(is_commit_failure(&failing.await));
    for update in queued {
        assert!(is_commit_failure(&update.await));
    }
    let view = store.view();
    assert_eq!((view.revision(), count(&view, "n"), count(&view, "m"), count(&view, "kept")), (1, 0, 0, 1));

    let next = add(&store, "n");
    keeper.decide(Verdict::Commit);
    assert_eq!(next.await.unwrap(), 1, "it builds on the durable state, not on what failed");
    assert_eq!(store.view().revision(), 2);
    let told: Vec<_> = watch.next().await.unwrap().iter().map(|change| format!("{change:?}")).collect();
    assert_eq!(told, ["1 insert counters/kept", "2 insert counters/n"], "what failed is not told");
    drop(store);
    assert_eq!(count(&Store::open(memory, schema()).unwrap().view(), "n"), 1);
}

#[tokio::test]
async fn an_answer_waits_for_what_it_has_read() {
    let (store, keeper) = open(&Memory::new());
    assert_eq!(read(&store, "n").await.unwrap(), 0, "nothing to wait for");
    let write = add(&store, "n");
    keeper.await_commit();
    let reading = start(read(&store, "n"));
    let refusing = start(refuse(&store, "n"));
    keeper.decide(Verdict::Commit);
    write.await.unwrap();
    assert_eq!(reading.await.unwrap(), 1);
    assert!(matches!(refusing.await, Err(UpdateError::Aborted(Refused))));
    assert_eq!(keeper.committed(), [1], "answers cost no commit");
}

#[tokio::test]
async fn transactions_beyond_the_bound_wait_for_their_turn() {
    let (gate, keeper) = gate(Memory::new());
    let options = Options { pending_transactions_max: 2, ..Options::default() };
    let store = Store::open_with(gate, schema(), options).unwrap();
    let (first, second) = (add(&store, "n"), add(&store, "n"));
    let executed = AtomicBool::new(false);
    let third = start(store.update(|tx| {
        executed.store(true, Ordering::SeqCst);
        Ok(increment(tx, "n"))
    }));
    assert!(!executed.load(Ordering::SeqCst));
    (0..3).for_each(|_| keeper.decide(Verdict::Commit));
    assert_eq!((first.await.unwrap(), second.await.unwrap(), third.await.unwrap()), (1, 2, 3));
}

#[tokio::test]
async fn a_dropped_future_does_not_take_its_transaction_back() {
    let memory = Memory::new();
    let (store, keeper) = open(&memory);
    drop(add(&store, "n"));
    keeper.decide(Verdict::Commit);
    drop(store);
    assert_eq!(count(&Store::open(memory, schema()).unwrap().view(), "n"), 1);
}

#[tokio::test]
async fn a_panic_in_a_transaction_harms_nobody_else() {
    let store = Store::open(Memory::new(), schema()).unwrap();
    let panicking = tokio::spawn({
        let store = store.clone();
        async move {
            let update = store.update(|tx| {
                increment(tx, "n");
                if tx.revision() == 1 { panic!("a transaction with a defect") } else { Ok::<_, Refused>(()) }
            });
            update.await
        }
    });
    assert!(panicking.await.unwrap_err().is_panic());
    let update = store.update(|tx| Ok::<_, Refused>(increment(tx, "n")));
    assert_eq!(update.await.unwrap(), 1);
}

#[tokio::test]
async fn a_dead_writer_closes_the_store() {
    let (store, keeper) = open(&Memory::new());
    let mut watch = store.watch(0);
    let first = add(&store, "n");
    keeper.await_commit();
    let second = add(&store, "n");
    keeper.decide(Verdict::Panic);
    for update in [first, second] {
        assert!(matches!(update.await, Err(UpdateError::Store(StoreError::Closed))));
    }
    assert_eq!(watch.next().await.unwrap_err(), WatchError::Closed);
    assert!(matches!(read(&store, "n").await, Err(UpdateError::Store(StoreError::Closed))));
    assert_eq!(store.view().revision(), 0);
}
