//! All sessions: one a container instance, and what each still has to look at.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::exec::Exchange;
use crate::feeds::Feeds;
use estiva_ecs::container_instance::table::{ContainerInstanceRow, ContainerInstanceStatus};
use estiva_ecs::exec_session::table::ExecSessionRow;
use estiva_ecs::image_pull::table::{ImagePullRow, ImagePullStatus};
use estiva_ecs::task::table::{TaskRow, TaskStatusRow};
use estiva_planning::lifecycle::TaskStatus;
use estiva_store::{Change, Row, Snapshot, Store, WatchError};
use tokio::sync::{Notify, watch};
use tokio::time::timeout;

/// ACS sessions at one time, and likewise TCS sessions; a node that comes later backs off.
pub(crate) const SESSIONS_MAX: usize = 20_000;
/// How long a node that has a session may take to show that it is there.
const CHALLENGE_WAIT: Duration = Duration::from_secs(3);
/// Tasks that a session is told of one by one; beyond that it looks at all tasks of its instance.
const DIRTY_TASKS_MAX: usize = 1024;

pub(crate) struct Sessions {
    pub store: Store,
    pub feeds: Feeds,
    pub exchange: Exchange,
    by_instance: Mutex<BTreeMap<String, Registered>>,
    next_id: AtomicU64,
    newest_generation: AtomicI64,
    most: usize,
    telemetry: Mutex<BTreeMap<String, (u64, Arc<Notify>)>>,
    closed: watch::Sender<bool>,
}

struct Registered {
    id: u64,
    inbox: Arc<Inbox>,
    heard: watch::Sender<u64>,
}

/// What a session still has to look at.
#[derive(Default)]
pub(crate) struct Inbox {
    dirty: Mutex<Dirty>,
    notify: Notify,
}

#[derive(Debug, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each is something that happened by itself")]
pub(crate) struct Dirty {
    /// Every task of the instance.
    pub all: bool,
    /// Keys of tasks.
    pub tasks: BTreeSet<String>,
    /// Ids of sessions with programs in containers that are to be opened.
    pub exec_sessions: BTreeSet<String>,
    /// Keys of images' pulls that are to begin.
    pub image_pulls: BTreeSet<String>,
    /// The container instance itself.
    pub instance: bool,
    /// Somebody wants to know whether the node is there.
    pub challenged: bool,
    /// Another session has taken over.
    pub superseded: bool,
}

impl Dirty {
    fn add(&mut self, task: &str) {
        if self.tasks.len() >= DIRTY_TASKS_MAX {
            self.tasks.clear();
            self.all = true;
        }
        if !self.all {
            self.tasks.insert(task.to_owned());
        }
    }
}

/// A session's place among all: given up when it is dropped.
pub(crate) struct Seat {
    sessions: Arc<Sessions>,
    instance: String,
    id: u64,
    /// Of this session.
    pub inbox: Arc<Inbox>,
    /// Changes with each frame from the node.
    pub heard: watch::Sender<u64>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut seats = lock(&self.sessions.by_instance);
        if seats.get(&self.instance).is_some_and(|seat| seat.id == self.id) {
            seats.remove(&self.instance);
        }
    }
}

/// A TCS session's place among all: given up when it is dropped.
pub(crate) struct TelemetrySeat {
    sessions: Arc<Sessions>,
    instance: String,
    id: u64,
    /// Another session of the instance has taken over.
    pub superseded: Arc<Notify>,
}

impl Drop for TelemetrySeat {
    fn drop(&mut self) {
        let mut seats = lock(&self.sessions.telemetry);
        if seats.get(&self.instance).is_some_and(|(id, _)| *id == self.id) {
            seats.remove(&self.instance);
        }
    }
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
    /// `sessions_max` is [`SESSIONS_MAX`] but for tests.
    pub fn new(store: Store, feeds: Feeds, sessions_max: usize) -> Self {
        Self {
            store,
            feeds,
            exchange: Exchange::default(),
            by_instance: Mutex::default(),
            next_id: AtomicU64::new(1),
            newest_generation: AtomicI64::new(0),
            most: sessions_max,
            telemetry: Mutex::default(),
            closed: watch::Sender::new(false),
        }
    }

    /// Whether an instance may have a session now.
    pub fn has_room(&self, instance: &str) -> bool {
        let seats = lock(&self.by_instance);
        seats.len() < self.most || seats.contains_key(instance)
    }

    /// A new session of an instance takes over from its former one. `None` while there are too many.
    pub fn enter(self: &Arc<Self>, instance: &str) -> Option<Seat> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let inbox = Arc::new(Inbox::default());
        let heard = watch::Sender::new(0);
        inbox.mark(|dirty| dirty.all = true);
        let mut seats = lock(&self.by_instance);
        if seats.len() >= self.most && !seats.contains_key(instance) {
            return None;
        }
        let former =
            seats.insert(instance.to_owned(), Registered { id, inbox: Arc::clone(&inbox), heard: heard.clone() });
        if let Some(former) = former {
            former.inbox.mark(|dirty| dirty.superseded = true);
        }
        Some(Seat { sessions: Arc::clone(self), instance: instance.to_owned(), id, inbox, heard })
    }

    /// Whether the instance has a session whose node answers. A connection that broke without a word shows no sign of life,
    /// and gives way to the next one.
    pub async fn is_alive(&self, instance: &str) -> bool {
        let heard = {
            let seats = lock(&self.by_instance);
            let Some(seat) = seats.get(instance) else { return false };
            let heard = seat.heard.subscribe();
            seat.inbox.mark(|dirty| dirty.challenged = true);
            heard
        };
        let mut heard = heard;
        // It also ends when the session does.
        matches!(timeout(CHALLENGE_WAIT, heard.changed()).await, Ok(Ok(())))
    }

    /// Whether the instance has a session.
    pub fn has(&self, instance: &str) -> bool {
        lock(&self.by_instance).contains_key(instance)
    }

    /// Whether an instance may have a TCS session now.
    pub fn has_room_for_telemetry(&self, instance: &str) -> bool {
        let seats = lock(&self.telemetry);
        seats.len() < self.most || seats.contains_key(instance)
    }

    /// A new TCS session of an instance takes over from its former one. `None` while there are too many.
    pub fn enter_telemetry(self: &Arc<Self>, instance: &str) -> Option<TelemetrySeat> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let superseded = Arc::new(Notify::new());
        let mut seats = lock(&self.telemetry);
        if seats.len() >= self.most && !seats.contains_key(instance) {
            return None;
        }
        if let Some((_, former)) = seats.insert(instance.to_owned(), (id, Arc::clone(&superseded))) {
            former.notify_one();
        }
        Some(TelemetrySeat { sessions: Arc::clone(self), instance: instance.to_owned(), id, superseded })
    }

    /// A generation larger than any before it, those of former processes included: each change of the store is worth a thousand of
    /// them. So is each millisecond, because AWS's agent keeps the largest one on its disk and a store that comes from a backup has
    /// an older revision: the time since the backup outweighs what is lost unless the store changed a thousand times a second.
    pub fn next_generation(&self) -> i64 {
        let changes = i64::try_from(self.store.view().revision()).unwrap_or(i64::MAX);
        let floor = changes.saturating_add(self.feeds.ambient.now().as_millis()).saturating_mul(1024);
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
            if let Some(instance) = instance_of_task(&view, change) {
                self.mark(&instance, |dirty| dirty.add(&change.key));
            } else if let Some(session) = new_exec_session(change) {
                self.mark(&session.container_instance_key, |dirty| {
                    dirty.exec_sessions.insert(change.key.to_string());
                });
            } else if let Some(pull) = new_image_pull(change) {
                self.mark(&pull.container_instance_key, |dirty| {
                    dirty.image_pulls.insert(change.key.to_string());
                });
            } else if is_end_of_instance(change) {
                self.mark(&change.key, |dirty| dirty.instance = true);
            }
        }
    }

    fn mark(&self, instance: &str, mark: impl FnOnce(&mut Dirty)) {
        if let Some(session) = lock(&self.by_instance).get(instance) {
            session.inbox.mark(mark);
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

/// The instance whose session has to look at a changed task. Of what is observed, only the end of a task matters.
fn instance_of_task(view: &Snapshot, change: &Change) -> Option<String> {
    if let Some(task) = change.row::<TaskRow>() {
        return task.after.or(task.before).map(|row| row.container_instance_key());
    }
    let status = change.row::<TaskStatusRow>()?.after?;
    if status.state.last_status != TaskStatus::Stopped {
        return None;
    }
    view.get::<TaskRow>(&status.key()).map(|row| row.container_instance_key())
}

/// A session that was just asked for.
fn new_exec_session(change: &Change) -> Option<Arc<ExecSessionRow>> {
    let session = change.row::<ExecSessionRow>()?;
    session.after.filter(|_| session.before.is_none())
}

/// A pull that was just asked for.
fn new_image_pull(change: &Change) -> Option<Arc<ImagePullRow>> {
    let pull = change.row::<ImagePullRow>()?;
    pull.after.filter(|row| pull.before.is_none() && row.status == ImagePullStatus::Pending)
}

/// Whether a container instance is no more.
fn is_end_of_instance(change: &Change) -> bool {
    let Some(instance) = change.row::<ContainerInstanceRow>() else { return false };
    instance.after.is_none_or(|row| row.status == ContainerInstanceStatus::Inactive)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing between lock and unlock can leave it half changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
