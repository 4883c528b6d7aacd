//! Further programs that run in a task's containers, and who waits for their end.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

type Waiting = HashMap<(String, String), oneshot::Sender<i32>>;

/// Of one task. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Execs(Arc<Mutex<Waiting>>);

impl Execs {
    /// The end of the program `id` of `container`: its exit code. To be called before the program is started, for it may
    /// end at once. Fails when the shim has gone, and so has the program.
    pub fn expect(&self, container: &str, id: &str) -> oneshot::Receiver<i32> {
        let (ended, receiver) = oneshot::channel();
        let mut waiting = self.lock();
        waiting.retain(|_, sender| !sender.is_closed());
        waiting.insert((container.to_owned(), id.to_owned()), ended);
        receiver
    }

    /// The shim says that a program has ended.
    pub fn ended(&self, container: String, id: String, code: i32) {
        if let Some(waiting) = self.lock().remove(&(container, id)) {
            // Nobody may want to know any more.
            let _ = waiting.send(code);
        }
    }

    /// The connection to the shim was lost, and with it every end that came meanwhile.
    pub fn lost(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
