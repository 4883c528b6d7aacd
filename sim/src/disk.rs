//! The control plane's disk: rows in memory that outlive it, and a death that comes between two writes.

use std::sync::{Arc, Mutex};

use estiva_store::BackendError;
use estiva_store::backend::{Backend, Batch, Header, Memory, StoredRow};
use tokio::sync::Notify;

use crate::world::{World, lock};

/// What the control plane writes to. Clones are the same.
#[derive(Clone)]
pub struct Disk {
    world: Arc<World>,
    memory: Memory,
    state: Arc<Mutex<State>>,
    died: Arc<Notify>,
}

#[derive(Default)]
struct State {
    /// Counts the lives of the control plane; who writes on behalf of a former one is refused.
    life: u64,
    commits: u64,
    death: Option<Death>,
}

/// When the control plane is to die.
#[derive(Debug, Clone, Copy)]
pub struct Death {
    /// With which write of the run.
    pub commit: u64,
    /// Whether that one still becomes durable, though nobody is told.
    pub is_written: bool,
}

/// What becomes of a write.
enum Fate {
    Written,
    /// It is written, and then the control plane dies.
    WrittenLast,
    /// The control plane dies before it is written.
    Lost,
    /// The control plane is dead already.
    Refused,
}

/// The disk as one life of the control plane has it.
pub struct Mounted {
    disk: Disk,
    life: u64,
}

impl Disk {
    /// An empty one.
    pub fn new(world: Arc<World>) -> Self {
        Self { world, memory: Memory::new(), state: Arc::default(), died: Arc::default() }
    }

    /// For a new life of the control plane; those before can write no more.
    pub fn mount(&self) -> Mounted {
        Mounted { life: self.end_life(), disk: self.clone() }
    }

    /// Nobody can write any more; gives the number of the life to come.
    pub fn end_life(&self) -> u64 {
        let mut state = lock(&self.state);
        state.life += 1;
        state.life
    }

    /// The number of this life.
    pub fn life(&self) -> u64 {
        lock(&self.state).life
    }

    /// Writes up to now.
    pub fn commits(&self) -> u64 {
        lock(&self.state).commits
    }

    /// The control plane will die with that write.
    pub fn set_death(&self, death: Death) {
        lock(&self.state).death = Some(death);
    }

    /// Takes [`Self::set_death`] back.
    pub fn spare(&self) {
        lock(&self.state).death = None;
    }

    /// Resolves when the control plane has died of [`Self::set_death`].
    pub async fn death(&self) {
        self.died.notified().await;
    }

    fn die(&self) {
        lock(&self.state).life += 1;
        self.died.notify_one();
    }

    /// Counts a write, and says what becomes of it.
    fn count(&self, life: u64) -> Fate {
        let mut state = lock(&self.state);
        if state.life != life {
            return Fate::Refused;
        }
        state.commits += 1;
        let commits = state.commits;
        match state.death.take_if(|death| death.commit <= commits) {
            None => Fate::Written,
            Some(Death { is_written: true, .. }) => Fate::WrittenLast,
            Some(Death { is_written: false, .. }) => Fate::Lost,
        }
    }

    fn write(&self, batch: &Batch) -> Result<(), BackendError> {
        self.tell(batch);
        self.memory.clone().commit(batch)
    }

    fn tell(&self, batch: &Batch) {
        for write in &batch.writes {
            let json = write.json.as_deref().unwrap_or("gone");
            self.world.say(format_args!("tx {} {}/{} {json}", batch.revision, write.table, write.key));
        }
    }
}

fn dead(batch: &Batch) -> BackendError {
    BackendError::Fenced { expected: batch.base, found: batch.base }
}

impl Backend for Mounted {
    fn header(&mut self) -> Result<Option<Header>, BackendError> {
        self.disk.memory.header()
    }

    fn rows(&mut self, visit: &mut dyn FnMut(StoredRow<'_>)) -> Result<(), BackendError> {
        self.disk.memory.rows(visit)
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), BackendError> {
        match self.disk.count(self.life) {
            Fate::Written => return self.disk.write(batch),
            Fate::WrittenLast => self.disk.write(batch)?,
            Fate::Lost => {}
            Fate::Refused => return Err(dead(batch)),
        }
        self.disk.die();
        Err(dead(batch))
    }
}
