//! Being told of changes: a bounded history of committed transactions, and watchers that read it at their own pace.
//!
//! The history never waits for a watcher. One that is too far behind is told so and looks at a new snapshot: what it
//! acts on is the state, and changes only say where to look.

use std::{
    collections::VecDeque,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::sync::Notify;

use crate::{
    error::{Lagged, WatchError},
    row::{AnyRow, Revision, Row},
};

/// How many changes [`Watch::next`] returns at least, if there are that many; it never splits a transaction.
const NEXT_CHANGES: usize = 1024;

/// One row that a transaction changed. A row may appear with equal `before` and `after`: it was put again.
#[derive(Clone)]
pub struct Change {
    /// The transaction.
    pub revision: Revision,
    /// The row's table.
    pub table: &'static str,
    /// The row's key.
    pub key: Arc<str>,
    pub(crate) before: Option<AnyRow>,
    pub(crate) after: Option<AnyRow>,
}

/// A [`Change`] whose row type is known.
#[derive(Debug, Clone)]
pub struct RowChange<R> {
    /// The row before the transaction; `None` when it is new.
    pub before: Option<Arc<R>>,
    /// The row after the transaction; `None` when it was deleted.
    pub after: Option<Arc<R>>,
}

impl Change {
    /// The rows, if the change is one of this table.
    pub fn row<R: Row>(&self) -> Option<RowChange<R>> {
        if self.table != R::TABLE {
            return None;
        }
        let typed = |row: &Option<AnyRow>| Arc::clone(row.as_ref()?).downcast::<R>().ok();
        Some(RowChange { before: typed(&self.before), after: typed(&self.after) })
    }
}

impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match (&self.before, &self.after) {
            (None, _) => "insert",
            (_, None) => "delete",
            _ => "replace",
        };
        write!(f, "{} {kind} {}/{}", self.revision, self.table, self.key)
    }
}

/// The last committed transactions.
pub(crate) struct History {
    transactions: Mutex<Transactions>,
    changes_max: usize,
    /// Wakes watchers in the order in which they came to wait: a simulation can be replayed.
    news: Notify,
    is_closed: AtomicBool,
}

struct Transactions {
    /// In revision order; all those after `oldest`.
    kept: VecDeque<Arc<[Change]>>,
    changes: usize,
    oldest: Revision,
}

impl History {
    pub(crate) fn new(revision: Revision, changes_max: usize) -> Self {
        let transactions = Transactions { kept: VecDeque::new(), changes: 0, oldest: revision };
        Self {
            transactions: Mutex::new(transactions),
            changes_max,
            news: Notify::new(),
            is_closed: AtomicBool::new(false),
        }
    }

    /// Adds a transaction (never empty) and forgets the oldest ones beyond the bound.
    pub(crate) fn push(&self, changes: Arc<[Change]>) {
        let mut transactions = self.transactions.lock().unwrap_or_else(PoisonError::into_inner);
        transactions.changes += changes.len();
        transactions.kept.push_back(changes);
        while transactions.changes > self.changes_max {
            let Some(forgotten) = transactions.kept.pop_front() else { break };
            transactions.changes -= forgotten.len();
            transactions.oldest = revision(&forgotten);
        }
    }

    /// Tells watchers of what was pushed.
    pub(crate) fn tell(&self) {
        self.news.notify_waiters();
    }

    /// Nothing will be pushed any more.
    pub(crate) fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
        self.news.notify_waiters();
    }

    fn after(&self, position: Revision) -> Result<Vec<Change>, Lagged> {
        let transactions = self.transactions.lock().unwrap_or_else(PoisonError::into_inner);
        if position < transactions.oldest {
            return Err(Lagged { position, oldest: transactions.oldest });
        }
        let start = transactions.kept.partition_point(|changes| revision(changes) <= position);
        let mut next = Vec::new();
        for changes in transactions.kept.range(start..) {
            next.extend_from_slice(changes);
            if next.len() >= NEXT_CHANGES {
                break;
            }
        }
        Ok(next)
    }
}

fn revision(changes: &[Change]) -> Revision {
    changes.first().map_or(0, |change| change.revision)
}

/// Tells the changes after a revision, in order.
pub struct Watch {
    history: Arc<History>,
    position: Revision,
}

impl Watch {
    pub(crate) fn new(history: Arc<History>, position: Revision) -> Self {
        Self { history, position }
    }

    /// The changes of the next transactions, waiting for one if there is none yet. Never empty; cancel safe.
    ///
    /// A snapshot that is taken afterwards contains them.
    pub async fn next(&mut self) -> Result<Vec<Change>, WatchError> {
        loop {
            // Both before the history is read: what is committed in between must wake us.
            let is_closed = self.history.is_closed.load(Ordering::Acquire);
            let news = self.history.news.notified();
            let changes = self.history.after(self.position)?;
            if let Some(last) = changes.last() {
                self.position = last.revision;
                return Ok(changes);
            }
            if is_closed {
                return Err(WatchError::Closed);
            }
            news.await;
        }
    }

    /// The last revision whose changes have been told.
    pub fn position(&self) -> Revision {
        self.position
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("position", &self.position).finish_non_exhaustive()
    }
}
