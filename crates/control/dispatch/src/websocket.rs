//! A session's WebSocket: texts in and out, within bounds.

use std::time::Duration;

use estiva_agent_protocol::FRAME_BYTES_MAX;
use estiva_wire::server::UpgradedIo;
use futures_util::{SinkExt, StreamExt};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

/// A node that does not read for this long is not there.
const SEND_TIMEOUT: Duration = Duration::from_secs(20);

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionError {
    #[error("the node does not read")]
    SendTimedOut,
    #[error("the WebSocket broke")]
    WebSocket(#[from] Box<Error>),
    #[error("the node did not answer two heartbeats")]
    Silent,
}

/// One WebSocket.
pub(crate) struct WebSocket(WebSocketStream<UpgradedIo>);

impl WebSocket {
    pub async fn new(io: UpgradedIo) -> Self {
        let limit = Some(FRAME_BYTES_MAX);
        let config = WebSocketConfig::default().max_message_size(limit).max_frame_size(limit);
        Self(WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await)
    }

    /// The next text; `None` when the node has closed the connection. Cancel safe.
    pub async fn next(&mut self) -> Result<Option<String>, SessionError> {
        loop {
            match self.0.next().await.transpose().map_err(Box::new)? {
                None | Some(Message::Close(_)) => return Ok(None),
                Some(Message::Text(text)) => return Ok(Some(text.as_str().to_owned())),
                Some(_) => {}
            }
        }
    }

    pub async fn send(&mut self, text: String) -> Result<(), SessionError> {
        let sent = timeout(SEND_TIMEOUT, self.0.send(Message::text(text))).await;
        Ok(sent.map_err(|_| SessionError::SendTimedOut)?.map_err(Box::new)?)
    }

    pub async fn close(mut self) {
        // Whoever is not there any more need not be told.
        let _ = timeout(SEND_TIMEOUT, self.0.close(None)).await;
    }
}
