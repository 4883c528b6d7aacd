//! What a session showed, written to a log group.

use std::mem;

use estiva_api_logs::types::{CreateLogStreamRequest, InputLogEvent, PutLogEventsRequest};
use estiva_api_logs::{CreateLogStream, PutLogEvents};
use estiva_model::Timestamp;
use estiva_wire::client::Client;
use tracing::warn;

/// An event's worth: well below what PutLogEvents takes.
const EVENT_BYTES_MAX: usize = 64 << 10;

/// Collects a session's output, and writes it as it grows.
pub(super) struct Transcript {
    client: Client,
    group: String,
    stream: String,
    collected: Vec<u8>,
    /// Whether the stream is there; a group that is missing ends the writing.
    is_open: Option<bool>,
}

impl Transcript {
    /// `None` if nothing is to be written.
    pub fn new(client: &Client, group: &str, session_id: &str) -> Option<Self> {
        let (group, stream) = (group.to_owned(), session_id.to_owned());
        (!group.is_empty()).then(|| Self {
            client: client.clone(),
            group,
            stream,
            collected: Vec::new(),
            is_open: None,
        })
    }

    /// Adds what was shown.
    pub async fn add(&mut self, bytes: &[u8]) {
        self.collected.extend_from_slice(bytes);
        if self.collected.len() >= EVENT_BYTES_MAX {
            self.write().await;
        }
    }

    /// Writes what has been collected.
    pub async fn write(&mut self) {
        let bytes = mem::take(&mut self.collected);
        if bytes.is_empty() || !self.open().await {
            return;
        }
        let event = InputLogEvent {
            message: String::from_utf8_lossy(&bytes).into_owned(),
            timestamp: Timestamp::now().as_millis(),
        };
        let request = PutLogEventsRequest {
            log_group_name: self.group.clone(),
            log_stream_name: self.stream.clone(),
            log_events: vec![event],
            ..PutLogEventsRequest::default()
        };
        if let Err(error) = self.client.call::<PutLogEvents>(&request).await {
            let error: &dyn std::error::Error = &error;
            warn!(session = self.stream, group = self.group, error, "a part of a session's output was not logged");
        }
    }

    async fn open(&mut self) -> bool {
        if let Some(is_open) = self.is_open {
            return is_open;
        }
        let request =
            CreateLogStreamRequest { log_group_name: self.group.clone(), log_stream_name: self.stream.clone() };
        let made = self.client.call::<CreateLogStream>(&request).await;
        if let Err(error) = &made {
            let error: &dyn std::error::Error = error;
            warn!(session = self.stream, group = self.group, error, "a session's output cannot be logged");
        }
        self.is_open = Some(made.is_ok());
        made.is_ok()
    }
}
