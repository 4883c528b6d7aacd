//! Backends that a test can hold up or make fail.

use std::sync::{
    Arc, Mutex,
    mpsc::{self, Receiver, Sender},
};

use estiva_store::{
    BackendError, Revision,
    backend::{Backend, Batch, Header, Memory, StoredRow},
};

/// What a held-up commit is to do.
pub enum Verdict {
    Commit,
    Fail,
    Panic,
}

/// The test's end of a [`Gate`].
pub struct Gatekeeper {
    arrived: Receiver<()>,
    verdicts: Sender<Verdict>,
    committed: Arc<Mutex<Vec<Revision>>>,
}

/// A backend whose every commit, but the one that makes the store, waits for a verdict.
pub struct Gate {
    inner: Memory,
    arrived: Sender<()>,
    verdicts: Receiver<Verdict>,
    committed: Arc<Mutex<Vec<Revision>>>,
}

pub fn gate(inner: Memory) -> (Gate, Gatekeeper) {
    let (arrived_sender, arrived) = mpsc::channel();
    let (verdicts, verdict_receiver) = mpsc::channel();
    let committed = Arc::new(Mutex::new(Vec::new()));
    let gate = Gate { inner, arrived: arrived_sender, verdicts: verdict_receiver, committed: Arc::clone(&committed) };
    (gate, Gatekeeper { arrived, verdicts, committed })
}

impl Gatekeeper {
    /// Blocks until a commit waits.
    pub fn await_commit(&self) {
        self.arrived.recv().unwrap();
    }

    /// Lets the next commit go on.
    pub fn decide(&self, verdict: Verdict) {
        self.verdicts.send(verdict).unwrap();
    }

    /// The revisions after each commit so far.
    pub fn committed(&self) -> Vec<Revision> {
        self.committed.lock().unwrap().clone()
    }
}

impl Backend for Gate {
    fn header(&mut self) -> Result<Option<Header>, BackendError> {
        self.inner.header()
    }

    fn rows(&mut self, visit: &mut dyn FnMut(StoredRow<'_>)) -> Result<(), BackendError> {
        self.inner.rows(visit)
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), BackendError> {
        if batch.schema_version.is_some() {
            return self.inner.commit(batch);
        }
        self.arrived.send(()).unwrap();
        match self.verdicts.recv().unwrap() {
            Verdict::Commit => {
                self.committed.lock().unwrap().push(batch.revision);
                self.inner.commit(batch)
            }
            Verdict::Fail => Err(BackendError::Engine {
                doing: "commit to".to_owned(),
                subject: "a disk".to_owned(),
                source: "it is full".into(),
            }),
            Verdict::Panic => panic!("a backend with a defect"),
        }
    }
}
