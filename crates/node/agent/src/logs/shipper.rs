//! Ships one container's spool to where its lines go. What was not taken stays in the spool.

use std::mem;
use std::path::PathBuf;

use estiva_shim::spool::{Reader, SpoolError};
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::warn;

use super::backend::Backend;
use super::lines::Assembler;
use super::news::News;
use crate::aside::aside;
use crate::backoff::Backoff;

/// Bytes read from a spool at one time: a few calls' worth.
const READ_BYTES: usize = 2 << 20;

/// How often an ended task's spool is tried that cannot be read: for some ten seconds.
const TRIES_AT_THE_END: u32 = 10;

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
    /// What the shim tells of the spool.
    pub news: News,
}

impl Shipper {
    /// Returns when the output's end has been shipped, or can never be.
    pub async fn run(mut self) {
        if let Err(error) = self.ship().await {
            warn!(task = self.task_id, spool = %self.spool.display(), error = &error as &dyn std::error::Error, "log lines cannot be read");
        }
    }

    async fn ship(&mut self) -> Result<(), SpoolError> {
        let Self { task_id, spool, backend, closed, news } = self;
        let mut reader = persistently(task_id, closed, || Reader::open(spool)).await?;
        let mut assembler = Assembler::default();
        while !reader.is_ended() {
            // Seen before the read: what is read after that is all there will ever be.
            let is_closed = *closed.borrow();
            let batch = persistently(task_id, closed, || reader.read(READ_BYTES)).await?;
            if batch.corrupt > 0 {
                warn!(task = task_id, places = batch.corrupt, "damaged log records were passed over");
            }
            if batch.records.is_empty() {
                if is_closed {
                    break;
                }
                tokio::select! {
                    () = news.written(reader.position()) => {}
                    _ = closed.wait_for(|closed| *closed) => {}
                    () = sleep_until(backend.deadline()) => {}
                }
            } else {
                backend.ship(task_id, assembler.lines(batch.records), closed).await;
            }
            backend.complete(task_id, false, closed).await;
            // What is held back is read again after a crash: it has not been shipped.
            let held_from = assembler.held_from().into_iter().chain(backend.held_from()).min();
            let shipped = held_from.unwrap_or(reader.position());
            if persistently(task_id, closed, || reader.commit(shipped)).await? {
                news.freed().await;
            }
        }
        backend.complete(task_id, true, closed).await;
        let shipped = assembler.held_from().unwrap_or(reader.position());
        persistently(task_id, closed, || reader.commit(shipped)).await?;
        Ok(())
    }
}

/// Tries again what a full disk or too many open files have stopped, for as long as the container may wait for room in its
/// spool; once the task has ended, for [`TRIES_AT_THE_END`] times more.
async fn persistently<T>(
    task_id: &str,
    closed: &watch::Receiver<bool>,
    mut step: impl FnMut() -> Result<T, SpoolError>,
) -> Result<T, SpoolError> {
    let mut backoff = Backoff::default();
    let (mut is_first, mut tries_left) = (true, TRIES_AT_THE_END);
    loop {
        let error = match aside(&mut step) {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        if *closed.borrow() {
            tries_left -= 1;
        }
        if tries_left == 0 {
            return Err(error);
        }
        if mem::take(&mut is_first) {
            let error: &dyn std::error::Error = &error;
            warn!(task = task_id, error, "log lines wait: their spool is tried again until it can be read");
        }
        backoff.wait().await;
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
