//! A session's WebSocket: texts in and out, within bounds, and whether the node is still there.

use std::time::Duration;

use estiva_agent_protocol::FRAME_BYTES_MAX;
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Bytes, Error, Message};

/// A node that does not read for this long is not there.
const SEND_TIMEOUT: Duration = Duration::from_secs(7);
/// A node of which nothing comes after so many probes is not there.
const UNANSWERED_MAX: u32 = 2;

/// A connection has it all its life, and it is cleared before each read: thousands of nodes that say little have one each.
pub(crate) const READ_BUFFER_BYTES: usize = 4 << 10;

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionError {
    #[error("the node does not read")]
    SendTimedOut,
    #[error("the WebSocket broke")]
    WebSocket(#[from] Box<Error>),
    #[error("the node did not answer {UNANSWERED_MAX} pings")]
    Silent,
}

/// One WebSocket.
pub(crate) struct WebSocket<S> {
    stream: WebSocketStream<S>,
    /// Probes since the last frame from the node.
    unanswered: u32,
    /// Counts the frames from the node, for whoever wants to know that it is there.
    heard: watch::Sender<u64>,
}

/// What a WebSocket is spoken over.
pub trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Io for S {}

impl<S: Io> WebSocket<S> {
    pub async fn new(io: S) -> Self {
        Self::heard_by(io, watch::Sender::new(0)).await
    }

    /// As [`Self::new`]; `heard` changes with each frame from the node.
    pub async fn heard_by(io: S, heard: watch::Sender<u64>) -> Self {
        let limit = Some(FRAME_BYTES_MAX);
        let config = WebSocketConfig::default().max_message_size(limit).max_frame_size(limit);
        let config = config.read_buffer_size(READ_BUFFER_BYTES);
        let stream = WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await;
        Self { stream, unanswered: 0, heard }
    }

    /// The next text; `None` when the node has closed the connection. Cancel safe.
    pub async fn next(&mut self) -> Result<Option<String>, SessionError> {
        loop {
            let message = match self.stream.next().await.transpose().map_err(Box::new)? {
                // Whoever leaves is not there any more.
                None | Some(Message::Close(_)) => return Ok(None),
                Some(message) => message,
            };
            self.unanswered = 0;
            self.heard.send_modify(|count| *count = count.wrapping_add(1));
            if let Message::Text(text) = message {
                return Ok(Some(text.as_str().to_owned()));
            }
        }
    }

    pub async fn send(&mut self, text: String) -> Result<(), SessionError> {
        self.write(Message::text(text)).await
    }

    /// Asks for a sign of life, unless too many have been asked for since the node was last heard of.
    pub async fn probe(&mut self) -> Result<(), SessionError> {
        if self.unanswered >= UNANSWERED_MAX {
            return Err(SessionError::Silent);
        }
        self.unanswered += 1;
        self.ping().await
    }

    /// Asks for a sign of life that every WebSocket gives, whatever is spoken over it.
    pub async fn ping(&mut self) -> Result<(), SessionError> {
        self.write(Message::Ping(Bytes::new())).await
    }

    pub async fn close(mut self) {
        // Whoever is not there any more need not be told.
        let _ = timeout(SEND_TIMEOUT, self.stream.close(None)).await;
    }

    async fn write(&mut self, message: Message) -> Result<(), SessionError> {
        let sent = timeout(SEND_TIMEOUT, self.stream.send(message)).await;
        Ok(sent.map_err(|_| SessionError::SendTimedOut)?.map_err(Box::new)?)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::DuplexStream;

    use super::*;

    async fn pair() -> (WebSocket<DuplexStream>, WebSocketStream<DuplexStream>) {
        let (server, client) = tokio::io::duplex(1 << 16);
        (WebSocket::new(server).await, WebSocketStream::from_raw_socket(client, Role::Client, None).await)
    }

    #[tokio::test]
    async fn a_node_that_answers_no_probe_is_not_there() {
        let (mut server, _client) = pair().await;
        for _ in 0..UNANSWERED_MAX {
            server.probe().await.unwrap();
        }
        assert!(matches!(server.probe().await, Err(SessionError::Silent)));
    }

    #[tokio::test]
    async fn whatever_comes_from_a_node_is_a_sign_of_life() {
        let (mut server, mut client) = pair().await;
        for _ in 0..3 * UNANSWERED_MAX {
            server.probe().await.unwrap();
            client.send(Message::text("here")).await.unwrap();
            assert_eq!(server.next().await.unwrap().as_deref(), Some("here"));
        }
    }

    #[tokio::test]
    async fn whoever_closes_the_connection_shows_no_sign_of_life() {
        let (server, client) = tokio::io::duplex(1 << 16);
        let heard = watch::Sender::new(0);
        let mut server = WebSocket::heard_by(server, heard.clone()).await;
        let mut client = WebSocketStream::from_raw_socket(client, Role::Client, None).await;
        client.send(Message::text("here")).await.unwrap();
        client.close(None).await.unwrap();
        assert_eq!(server.next().await.unwrap().as_deref(), Some("here"));
        assert_eq!(*heard.borrow(), 1);
        assert_eq!(server.next().await.unwrap(), None);
        assert_eq!(*heard.borrow(), 1);
    }

    #[tokio::test]
    async fn a_probe_alone_makes_a_node_answer() {
        let (mut server, mut client) = pair().await;
        server.probe().await.unwrap();
        // The client answers the ping while it reads, up to the end.
        let reading = tokio::spawn(async move {
            while let Some(Ok(message)) = client.next().await {
                if message.is_ping() {
                    client.send(Message::text("end")).await.unwrap();
                }
            }
        });
        assert_eq!(server.next().await.unwrap().as_deref(), Some("end"));
        for _ in 0..UNANSWERED_MAX {
            server.probe().await.unwrap();
        }
        reading.abort();
    }

    #[tokio::test]
    async fn a_frame_without_measure_ends_the_session() {
        let (mut server, mut client) = pair().await;
        let sending =
            tokio::spawn(async move { client.send(Message::text("x".repeat(FRAME_BYTES_MAX + 1))).await.is_ok() });
        assert!(matches!(server.next().await, Err(SessionError::WebSocket(_))));
        sending.abort();
    }
}
