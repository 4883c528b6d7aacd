//! The handle that the rest of the program holds: snapshots, updates, watches.

use std::{fmt, sync::Arc, thread::JoinHandle};

use tokio::sync::Semaphore;

use crate::{
    backend::Backend,
    error::{OpenError, StoreError, UpdateError},
    open,
    row::Revision,
    schema::Schema,
    snapshot::Snapshot,
    transaction::Tx,
    watch::{History, Watch},
    writer::{self, Committer, Done, Shared},
};

/// Bounds of a store. The default is right but for tests.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// How many changes are kept for watchers. A watcher that is further behind is told [`crate::Lagged`].
    pub history_changes_max: usize,
    /// How many transactions may wait for their commit; further ones wait to be executed.
    pub pending_transactions_max: usize,
    /// Whether a transaction's caller commits it, instead of a thread that commits many at a time: nothing then happens at
    /// a time of its own, as simulations want it.
    pub commit_inline: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { history_changes_max: 16 * 1024, pending_transactions_max: 4096, commit_inline: false }
    }
}

/// An open store. Clones are cheap and are the same store; dropping the last one waits until all that was executed is
/// durable, and closes the backend.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    schema: Schema,
    shared: Arc<Shared>,
    pending: Semaphore,
    writer: Option<JoinHandle<()>>,
}

impl Store {
    /// Opens the store that a backend holds, making or migrating it if need be, and reads all its rows. Blocks.
    pub fn open(backend: impl Backend, schema: Schema) -> Result<Self, OpenError> {
        Self::open_with(backend, schema, Options::default())
    }

    /// As [`Store::open`], with other bounds.
    pub fn open_with(backend: impl Backend, schema: Schema, options: Options) -> Result<Self, OpenError> {
        let mut backend: Box<dyn Backend> = Box::new(backend);
        let state = open::open(&mut *backend, &schema)?;
        let history = Arc::new(History::new(state.revision, options.history_changes_max));
        let committing = Committer { backend, history: Arc::clone(&history) };
        let (shared, writer) = if options.commit_inline {
            (Arc::new(Shared::new(state, history, Some(committing))), None)
        } else {
            let shared = Arc::new(Shared::new(state, history, None));
            let thread = std::thread::Builder::new().name("store-writer".to_owned());
            let writer = thread.spawn({
                let shared = Arc::clone(&shared);
                move || writer::run(committing, &shared)
            });
            (shared, Some(writer.map_err(OpenError::Thread)?))
        };
        let pending = Semaphore::new(options.pending_transactions_max);
        Ok(Self(Arc::new(Inner { schema, shared, pending, writer })))
    }

    /// The durable state as it is now. O(1).
    pub fn view(&self) -> Snapshot {
        self.0.shared.durable()
    }

    /// Executes a transaction, and returns when it is durable.
    ///
    /// The closure runs at once or after the transactions before it, never at the same time as another one; it must not
    /// block. Its error aborts the transaction, and nothing changes. A future that is dropped after the closure ran
    /// does not take the transaction back.
    pub async fn update<T, E>(
        &self,
        transaction: impl FnOnce(&mut Tx<'_>) -> Result<T, E>,
    ) -> Result<T, UpdateError<E>> {
        let _permit = self.0.pending.acquire().await.map_err(|_| StoreError::Closed)?;
        let (result, done) = self.execute(transaction)?;
        if let Some(done) = done {
            done.await.map_err(|_| StoreError::Closed)??;
        }
        result.map_err(UpdateError::Aborted)
    }

    fn execute<T, E>(
        &self,
        transaction: impl FnOnce(&mut Tx<'_>) -> Result<T, E>,
    ) -> Result<(Result<T, E>, Option<Done>), StoreError> {
        let shared = &self.0.shared;
        let queue = shared.queue()?;
        let mut tx = Tx::new(&self.0.schema, &queue.head);
        let result = transaction(&mut tx);
        if result.is_err() {
            return Ok((result, shared.barrier(queue)));
        }
        let outcome = tx.finish()?;
        let done = if outcome.changes.is_empty() { shared.barrier(queue) } else { Some(shared.push(queue, outcome)) };
        Ok((result, done))
    }

    /// The changes after a revision, which is that of a snapshot as a rule: `store.watch(snapshot.revision())`.
    pub fn watch(&self, from: Revision) -> Watch {
        Watch::new(Arc::clone(&self.0.shared.history), from)
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("revision", &self.view().revision()).finish_non_exhaustive()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shared.close();
        if let Some(writer) = self.writer.take() {
            // A panic of the writer has been reported by the panic hook, and its transactions as failed.
            _ = writer.join();
        }
    }
}
