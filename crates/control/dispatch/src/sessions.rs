//! All sessions: one a container instance, and what each still has to look at.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use estiva_ecs::task::table::{TaskRow, TaskStatusRow};
use estiva_store::{Change, Snapshot, Store, WatchError};
use tokio::sync::{Notify, watch};

/// Sessions at one time; a node that comes later backs off.
const SESSIONS_MAX: usize = 20_000;

pub(crate) struct Sessions {
    pub store: Store,
    by_instance: Mutex<HashMap<String, Registered>>,
    next_id: AtomicU64,
    newest_generation: AtomicI64,
    closed: watch::Sender<bool>,
}

struct Registered {
    id: u64,
    inbox: Arc<Inbox>,
}

/// What a session still has to look at.
#[derive(Default)]
pub(crate) struct Inbox {
    dirty: Mutex<Dirty>,
    notify: Notify,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Dirty {
    /// Every task of the instance.
    pub all: bool,
    /// Keys of tasks.
    pub tasks: BTreeSet<String>,
    /// Another session has taken over.
    pub superseded: bool,
}

impl Inbox {
    /// Waits until there is something to look at, and takes it.
    pub async fn take(&self) -> Dirty {
        loop {
            let dirty = std::mem::take(&mut *lock(&self.dirty));
            if dirty != Dirty::default() {
                return dirty;
            }
            self.notify.notified().await;
        }
    }

    fn mark(&self, mark: impl FnOnce(&mut Dirty)) {
        mark(&mut lock(&self.dirty));
        self.notify.notify_one();
    }
}

impl Sessions {
    pub fn new(store: Store) -> Self {
        Self {
            store,
            by_instance: Mutex::default(),
            next_id: AtomicU64::new(1),
            newest_generation: AtomicI64::new(0),
            closed: watch::Sender::new(false),
        }
    }

    /// A new session of an instance takes over from its former one. `None` while there are too many.
    pub fn enter(&self, instance: &str) -> Option<(u64, Arc<Inbox>)> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let inbox = Arc::new(Inbox::default());
        inbox.mark(|dirty| dirty.all = true);
        let mut sessions = lock(&self.by_instance);
        if sessions.len() >= SESSIONS_MAX && !sessions.contains_key(instance) {
            return None;
        }
        let former = sessions.insert(instance.to_owned(), Registered { id, inbox: Arc::clone(&inbox) });
        if let Some(former) = former {
            former.inbox.mark(|dirty| dirty.superseded = true);
        }
        Some((id, inbox))
    }

    /// Whether the session was still the instance's own one.
    pub fn leave(&self, instance: &str, id: u64) -> bool {
        let mut sessions = lock(&self.by_instance);
        let current = sessions.get(instance).is_some_and(|session| session.id == id);
        if current {
            sessions.remove(instance);
        }
        current
    }

    /// A generation larger than any before it, those of former processes included: each change of the store is worth
    /// a thousand of them.
    pub fn next_generation(&self) -> i64 {
        let floor = i64::try_from(self.store.view().revision()).unwrap_or(i64::MAX).saturating_mul(1024);
        let next = |newest: i64| Some(floor.max(newest.saturating_add(1)));
        // The closure never says no.
        let newest =
            self.newest_generation.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).unwrap_or_default();
        floor.max(newest.saturating_add(1))
    }

    /// Tells sessions of changes, for as long as it is polled.
    pub async fn watch(&self) {
        let mut watch = self.store.watch(self.store.view().revision());
        loop {
            match watch.next().await {
                Ok(changes) => self.route(&changes),
                Err(WatchError::Lagged(_)) => {
                    tracing::warn!("the node protocol is behind the store; every session looks at everything again");
                    watch = self.store.watch(self.store.view().revision());
                    for session in lock(&self.by_instance).values() {
                        session.inbox.mark(|dirty| dirty.all = true);
                    }
                }
                Err(WatchError::Closed) => return std::future::pending().await,
            }
        }
    }

    fn route(&self, changes: &[Change]) {
        let view = self.store.view();
        for change in changes {
            let Some(instance) = instance_of(&view, change) else { continue };
            if let Some(session) = lock(&self.by_instance).get(&instance) {
                session.inbox.mark(|dirty| {
                    dirty.tasks.insert(change.key.to_string());
                });
            }
        }
    }

    /// Resolves when the server is going down.
    pub async fn closed(&self) {
        let mut closed = self.closed.subscribe();
        // The sender lives as long as `self`.
        let _ = closed.wait_for(|closed| *closed).await;
    }

    pub fn close(&self) {
        self.closed.send_replace(true);
    }
}

/// The instance whose session has to look at a changed row.
fn instance_of(view: &Snapshot, change: &Change) -> Option<String> {
    if let Some(task) = change.row::<TaskRow>() {
        return task.after.or(task.before).map(|row| row.container_instance_key());
    }
    change.row::<TaskStatusRow>()?;
    view.get::<TaskRow>(&change.key).map(|row| row.container_instance_key())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing between lock and unlock can leave it half changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
