//! How many files and connections a process may have open: many for a process that serves many, and for what it starts as
//! many as it was given itself, as programs in containers may look at the limit.

use std::sync::OnceLock;

use nix::sys::resource::{Resource, getrlimit, rlim_t, setrlimit};
use tracing::{debug, warn};

/// The limits that this process was started with.
static GIVEN: OnceLock<(rlim_t, rlim_t)> = OnceLock::new();

/// Raises the limit of this process to what it may: the customary 1,024 descriptors are soon gone.
pub fn raise() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(soft, hard)| {
        let _ = GIVEN.set((soft, hard));
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard).map(|()| hard)
    });
    match raised {
        Ok(descriptors) => debug!(descriptors, "as many connections and files may be open"),
        Err(error) => warn!(%error, "the limit on open files stays as it is"),
    }
}

/// Undoes that, in a process that was forked and is about to become another program. Async-signal-safe.
pub fn restore() -> nix::Result<()> {
    GIVEN.get().map_or(Ok(()), |(soft, hard)| setrlimit(Resource::RLIMIT_NOFILE, *soft, *hard))
}
