//! The loop around a controller.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use estiva_model::{Ambient, Timestamp};
use estiva_store::{Change, Conflict, Snapshot, Store, UpdateError, Watch, WatchError};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::time::sleep_until;
use tracing::{debug, error};

use crate::clock::Clock;
use crate::{Controller, Step};

/// After a step that could not be stored.
const FAULT_PAUSE: Duration = Duration::from_secs(1);
/// Keys that are looked at before changes are taken in again.
const KEYS_A_TURN: usize = 64;

type Committed<K> = (K, Result<(), UpdateError<Conflict>>);
type Commit<'a, K> = Pin<Box<dyn Future<Output = Committed<K>> + Send + 'a>>;

struct Runner<'a, C: Controller> {
    store: &'a Store,
    controller: C,
    clock: Clock,
    watch: Watch,
    dirty: BTreeSet<C::Key>,
    /// Keys to look at again, by time.
    due: BTreeSet<(Timestamp, C::Key)>,
    due_at: BTreeMap<C::Key, Timestamp>,
    in_flight: BTreeSet<C::Key>,
    commits: FuturesUnordered<Commit<'a, C::Key>>,
}

/// Runs a controller for as long as it is polled.
pub async fn run<C: Controller>(store: &Store, ambient: &Ambient, controller: C) {
    let watch = store.watch(store.view().revision());
    let mut runner = Runner {
        store,
        controller,
        clock: Clock::start(ambient),
        watch,
        dirty: BTreeSet::new(),
        due: BTreeSet::new(),
        due_at: BTreeMap::new(),
        in_flight: BTreeSet::new(),
        commits: FuturesUnordered::new(),
    };
    runner.load();
    loop {
        runner.catch_up().await;
        runner.look();
        if runner.has_work() {
            // Others have a turn, and commits that are ready are taken in.
            tokio::task::yield_now().await;
            while let Some(Some(committed)) = runner.commits.next().now_or_never() {
                runner.committed(committed);
            }
            continue;
        }
        runner.wait().await;
    }
}

impl<C: Controller> Runner<'_, C> {
    fn load(&mut self) {
        let view = self.store.view();
        self.watch = self.store.watch(view.revision());
        let now = self.clock.now();
        let keys = self.controller.load(&view, now);
        self.dirty.extend(keys);
    }

    /// Takes in the changes that are there already.
    async fn catch_up(&mut self) {
        while let Some(changes) = self.watch.next().now_or_never() {
            self.take_in(changes).await;
        }
    }

    async fn take_in(&mut self, changes: Result<Vec<Change>, WatchError>) {
        match changes {
            Ok(changes) => {
                let (view, now) = (self.store.view(), self.clock.now());
                for change in &changes {
                    let keys = self.controller.observe(&view, change, now);
                    self.dirty.extend(keys);
                }
            }
            Err(WatchError::Lagged(_)) => {
                debug!(controller = self.controller.name(), "too far behind; everything is looked at again");
                self.load();
            }
            Err(WatchError::Closed) => std::future::pending().await,
        }
    }

    /// Looks at keys that are dirty or due, and begins their steps.
    fn look(&mut self) {
        let now = self.clock.now();
        while let Some((_, key)) = self.due.first().cloned().filter(|(at, _)| *at <= now) {
            self.forget_due(&key);
            self.dirty.insert(key);
        }
        let view = self.store.view();
        let ready = self.dirty.iter().filter(|key| !self.in_flight.contains(*key)).take(KEYS_A_TURN);
        let ready: Vec<C::Key> = ready.cloned().collect();
        for key in ready {
            self.dirty.remove(&key);
            self.reconcile(&view, key, now);
        }
    }

    fn reconcile(&mut self, view: &Snapshot, key: C::Key, now: Timestamp) {
        let pass = self.controller.reconcile(view, &key, now);
        self.forget_due(&key);
        if let Some(at) = pass.again_at {
            self.due.insert((at, key.clone()));
            self.due_at.insert(key.clone(), at);
        }
        if let Some(step) = pass.step {
            self.commit(key, step);
        }
    }

    fn commit(&mut self, key: C::Key, step: Step) {
        self.in_flight.insert(key.clone());
        let store = self.store;
        self.commits.push(Box::pin(async move {
            let done = store.update(step).await;
            (key, done)
        }));
    }

    fn committed(&mut self, (key, done): Committed<C::Key>) {
        self.in_flight.remove(&key);
        match done {
            Ok(()) => {}
            Err(UpdateError::Aborted(conflict)) => {
                debug!(controller = self.controller.name(), ?key, %conflict, "decided on what has changed; again");
                self.dirty.insert(key);
            }
            Err(UpdateError::Store(error)) => {
                let (controller, error) = (self.controller.name(), &error as &dyn std::error::Error);
                error!(controller, ?key, error, "a step was not stored; it is decided anew in a second");
                let at = self.clock.now().plus(FAULT_PAUSE);
                self.forget_due(&key);
                self.due_at.insert(key.clone(), at);
                self.due.insert((at, key));
            }
        }
    }

    fn forget_due(&mut self, key: &C::Key) {
        if let Some(at) = self.due_at.remove(key) {
            self.due.remove(&(at, key.clone()));
        }
    }

    /// Whether there is a key to look at without waiting for anything.
    fn has_work(&self) -> bool {
        self.dirty.iter().any(|key| !self.in_flight.contains(key))
    }

    async fn wait(&mut self) {
        let next_due = self.due.first().map(|(at, _)| self.clock.instant_of(*at));
        let due = async {
            match next_due {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // In order, not at random, so that a simulation can be replayed.
            biased;
            changes = self.watch.next() => self.take_in(changes).await,
            Some(committed) = self.commits.next() => self.committed(committed),
            () = due => {}
        }
    }
}
