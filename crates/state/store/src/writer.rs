//! The writer thread: takes all transactions that have queued up, commits them as one batch, and tells everyone
//! concerned.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock},
    time::Duration,
};

use tokio::sync::oneshot;

use crate::{
    backend::{Backend, Batch, Write},
    error::StoreError,
    snapshot::Snapshot,
    transaction::Outcome,
    watch::History,
};

/// The most transactions of one commit: bounds how long the first of them waits for the others.
const BATCH_TRANSACTIONS_MAX: usize = 1024;
/// The backend settles after this long without a transaction: long enough that the commits of one request, or of one task's
/// start, do not wait for it.
const SETTLE_AFTER: Duration = Duration::from_secs(1);

/// What transactions, readers and the writer thread share.
///
/// Lock order: `inline`, then `queue`, then `durable`.
pub(crate) struct Shared {
    queue: Mutex<Queue>,
    work: Condvar,
    durable: RwLock<Snapshot>,
    pub(crate) history: Arc<History>,
    /// Of a store without a writer thread.
    inline: Option<Mutex<Committer>>,
}

/// Makes batches durable, and says up to which revision all is.
pub(crate) struct Committer {
    pub(crate) backend: Box<dyn Backend>,
    pub(crate) history: Arc<History>,
}

/// Watchers must not wait for one who is gone.
impl Drop for Committer {
    fn drop(&mut self) {
        self.history.close();
    }
}

/// Executed transactions that are not committed yet.
pub(crate) struct Queue {
    /// The durable state with all of them (and those of the batch under way) applied.
    pub(crate) head: Snapshot,
    pending: VecDeque<Pending>,
    closed: bool,
}

struct Pending {
    outcome: Outcome,
    done: oneshot::Sender<Result<(), StoreError>>,
}

/// Resolves when a transaction is durable, or has failed.
pub(crate) type Done = oneshot::Receiver<Result<(), StoreError>>;

impl Shared {
    pub(crate) fn new(state: Snapshot, history: Arc<History>, inline: Option<Committer>) -> Self {
        let queue = Queue { head: state.clone(), pending: VecDeque::new(), closed: false };
        let inline = inline.map(Mutex::new);
        Self { queue: Mutex::new(queue), work: Condvar::new(), durable: RwLock::new(state), history, inline }
    }

    pub(crate) fn durable(&self) -> Snapshot {
        self.durable.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The queue, for one transaction to be executed. A panic in a transaction leaves it as it was, hence no poisoning.
    pub(crate) fn queue(&self) -> Result<MutexGuard<'_, Queue>, StoreError> {
        let queue = self.lock();
        if queue.closed { Err(StoreError::Closed) } else { Ok(queue) }
    }

    /// Appends a transaction that was executed on `queue.head`.
    pub(crate) fn push(&self, mut queue: MutexGuard<'_, Queue>, outcome: Outcome) -> Done {
        let (done, receiver) = oneshot::channel();
        queue.head = outcome.state.clone();
        queue.pending.push_back(Pending { outcome, done });
        drop(queue);
        match &self.inline {
            None => self.work.notify_one(),
            Some(committer) => {
                let mut committer = committer.lock().unwrap_or_else(PoisonError::into_inner);
                let batch = self.lock().take_batch();
                commit(&mut committer, self, batch);
            }
        }
        receiver
    }

    /// For a transaction that changes nothing: resolves when all that it may have read is durable. `None`: it already
    /// is.
    pub(crate) fn barrier(&self, queue: MutexGuard<'_, Queue>) -> Option<Done> {
        if queue.head.revision == self.durable.read().unwrap_or_else(PoisonError::into_inner).revision {
            return None;
        }
        let outcome = Outcome { state: queue.head.clone(), changes: Vec::new(), writes: Vec::new() };
        Some(self.push(queue, outcome))
    }

    /// Lets the writer thread finish what is queued and end.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.work.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for transactions; none when the store is closed and all are committed.
    fn take(&self) -> Vec<Pending> {
        let mut queue = self.work.wait_while(self.lock(), Queue::is_idle).unwrap_or_else(PoisonError::into_inner);
        queue.take_batch()
    }

    /// As [`Shared::take`], or `None` if nothing comes for some time.
    fn take_within(&self, time: Duration) -> Option<Vec<Pending>> {
        let waited = self.work.wait_timeout_while(self.lock(), time, Queue::is_idle);
        let (mut queue, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        (!timeout.timed_out()).then(|| queue.take_batch())
    }

    /// After a failed commit: what was executed on top of it goes too, and the head is what is durable.
    fn revert(&self) -> VecDeque<Pending> {
        let mut queue = self.lock();
        queue.head = self.durable();
        std::mem::take(&mut queue.pending)
    }
}

impl Queue {
    fn is_idle(&mut self) -> bool {
        self.pending.is_empty() && !self.closed
    }

    fn take_batch(&mut self) -> Vec<Pending> {
        let count = self.pending.len().min(BATCH_TRANSACTIONS_MAX);
        self.pending.drain(..count).collect()
    }
}

/// Closes the store when its writer thread ends, for whatever reason: nobody must wait for a thread that is gone.
struct Closing<'a>(&'a Shared);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        let mut queue = self.0.lock();
        queue.closed = true;
        queue.pending.clear();
    }
}

/// The writer thread's body.
pub(crate) fn run(mut committer: Committer, shared: &Shared) {
    let _closing = Closing(shared);
    // Also what a former process has left.
    let mut settled = false;
    loop {
        let batch = if settled { Some(shared.take()) } else { shared.take_within(SETTLE_AFTER) };
        settled = batch.is_none();
        match batch {
            Some(batch) if batch.is_empty() => break,
            Some(batch) => commit(&mut committer, shared, batch),
            None => committer.backend.settle(),
        }
    }
}

fn commit(committer: &mut Committer, shared: &Shared, mut batch: Vec<Pending>) {
    let base = shared.durable().revision;
    let Some(state) = batch.last().map(|last| last.outcome.state.clone()) else { return };
    let revision = state.revision;
    if revision > base {
        let writes = coalesce(&mut batch);
        if let Err(source) = committer.backend.commit(&Batch { base, revision, schema_version: None, writes }) {
            tracing::error!(base, revision, error = &source as &dyn std::error::Error, "commit failed");
            let error = StoreError::Commit { revisions: base + 1..=revision, source: Arc::new(source) };
            let later = shared.revert();
            for pending in batch.into_iter().chain(later) {
                // A caller that no longer waits is no concern of ours.
                _ = pending.done.send(Err(error.clone()));
            }
            return;
        }
        // First the state, then the news: whoever hears of a change finds it in a snapshot.
        *shared.durable.write().unwrap_or_else(PoisonError::into_inner) = state;
    }
    for pending in &mut batch {
        if !pending.outcome.changes.is_empty() {
            shared.history.push(std::mem::take(&mut pending.outcome.changes).into());
        }
    }
    shared.history.tell();
    for pending in batch {
        _ = pending.done.send(Ok(()));
    }
}

/// The last write of each row, in order of table and key.
fn coalesce(batch: &mut [Pending]) -> Vec<Write> {
    if let [single] = batch {
        return std::mem::take(&mut single.outcome.writes);
    }
    let writes = batch.iter_mut().flat_map(|pending| std::mem::take(&mut pending.outcome.writes));
    let last: BTreeMap<_, _> = writes.map(|write| ((write.table.clone(), Arc::clone(&write.key)), write)).collect();
    last.into_values().collect()
}
