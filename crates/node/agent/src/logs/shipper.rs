//! Ships one container's spool to where its lines go. What was not taken stays in the spool.

use std::path::PathBuf;

use estiva_shim::spool::{Reader, SpoolError};
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::warn;

use super::backend::Backend;
use super::lines::Assembler;

/// Bytes read from a spool at one time: a few calls' worth.
const READ_BYTES: usize = 2 << 20;

/// One container's shipper.
pub(super) struct Shipper {
    /// For the log.
    pub task_id: String,
    /// The spool's directory.
    pub spool: PathBuf,
    /// Where the output goes.
    pub backend: Backend,
    /// Once true, nothing more is written to the spool: it ends where it ends, though its end may never have been noted.
    pub closed: watch::Receiver<bool>,
}

impl Shipper {
    /// Returns when the output's end has been shipped, or can never be.
    pub async fn run(mut self) {
        if let Err(error) = self.ship().await {
            warn!(task = self.task_id, spool = %self.spool.display(), error = &error as &dyn std::error::Error, "log lines cannot be read");
        }
    }

    async fn ship(&mut self) -> Result<(), SpoolError> {
        let Self { task_id, spool, backend, closed } = self;
        let mut reader = Reader::open(spool)?;
        let mut assembler = Assembler::default();
        while !reader.is_ended() {
            // Seen before the read: what is read after that is all there will ever be.
            let is_closed = *closed.borrow();
            let batch = reader.read(READ_BYTES)?;
            if batch.corrupt > 0 {
                warn!(task = task_id, places = batch.corrupt, "damaged log records were passed over");
            }
            if batch.records.is_empty() {
                if is_closed {
                    break;
                }
                tokio::select! {
                    written = reader.wait() => written?,
                    _ = closed.wait_for(|closed| *closed) => {}
                    () = sleep_until(backend.deadline()) => {}
                }
            } else {
                backend.ship(task_id, assembler.lines(batch.records), closed).await;
            }
            backend.complete(task_id, false, closed).await;
            // What is held back is read again after a crash: it has not been shipped.
            if assembler.is_empty() && backend.is_empty() {
                reader.commit()?;
            }
        }
        backend.complete(task_id, true, closed).await;
        if assembler.is_empty() { reader.commit() } else { Ok(()) }
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
