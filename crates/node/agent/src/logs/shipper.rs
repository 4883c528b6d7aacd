//! Ships one container's spool to its log stream. What was not accepted stays in the spool.

use std::path::PathBuf;

use estiva_api_logs::PutLogEvents;
use estiva_api_logs::types::{InputLogEvent, PutLogEventsRequest};
use estiva_shim::spool::{Reader, SpoolError};
use estiva_wire::client::ClientError;
use tokio::sync::watch;
use tracing::warn;

use super::batch::{Assembler, batches};
use super::destination::{Destination, is_not_found};
use crate::backoff::Backoff;

/// Bytes read from a spool at one time: a few calls' worth.
const READ_BYTES: usize = 2 << 20;

/// One container's shipper.
pub(super) struct Shipper {
    /// For the log.
    pub task_id: String,
    /// The spool's directory.
    pub spool: PathBuf,
    /// Where the output goes.
    pub destination: Destination,
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
        let mut reader = Reader::open(&self.spool)?;
        let mut assembler = Assembler::default();
        while !reader.is_ended() {
            // Seen before the read: what is read after that is all there will ever be.
            let closed = *self.closed.borrow();
            let batch = reader.read(READ_BYTES)?;
            if batch.corrupt > 0 {
                warn!(task = self.task_id, places = batch.corrupt, "damaged log records were passed over");
            }
            if batch.records.is_empty() {
                if closed {
                    break;
                }
                tokio::select! {
                    written = reader.wait() => written?,
                    _ = self.closed.wait_for(|closed| *closed) => {}
                }
                continue;
            }
            for events in batches(assembler.events(batch.records)) {
                self.put(events).await;
            }
            // Half a line is read again after a crash: it has not been shipped.
            if assembler.is_empty() {
                reader.commit()?;
            }
        }
        Ok(())
    }

    /// Tries until CloudWatch Logs takes the events, or refuses them for good.
    async fn put(&self, events: Vec<InputLogEvent>) {
        let mut backoff = Backoff::default();
        let request = PutLogEventsRequest {
            log_group_name: self.destination.group.clone(),
            log_stream_name: self.destination.stream.clone(),
            log_events: events,
            ..PutLogEventsRequest::default()
        };
        loop {
            let result = match self.destination.client.call::<PutLogEvents>(&request).await {
                Err(error) if is_not_found(&error) => match self.destination.create().await {
                    Ok(()) => continue,
                    Err(error) => Err(error),
                },
                other => other.map(drop),
            };
            let Err(error) = result else { return };
            if self.is_final(&error) {
                let lost = request.log_events.len();
                warn!(
                    task = self.task_id,
                    group = self.destination.group,
                    lost,
                    error = &error as &dyn std::error::Error,
                    "log lines were refused"
                );
                return;
            }
            backoff.wait().await;
        }
    }

    /// A running container's group may be made again by its owner; nobody waits for that once the task has ended.
    fn is_final(&self, error: &ClientError) -> bool {
        !error.is_retryable() && (*self.closed.borrow() || !is_not_found(error))
    }
}
