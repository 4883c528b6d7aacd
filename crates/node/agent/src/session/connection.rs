//! One WebSocket to the control plane.

use estiva_model::percent_encoded;
use estiva_wire::client::signed_upgrade_request;
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use super::{SILENCE_MAX, SessionError};
use crate::engine::ControlPlane;

/// One WebSocket.
pub(super) struct Connection(WebSocketStream<TcpStream>);

/// Connects to `endpoint`, such as `http://127.0.0.1:4566/acs`, at `/ws` with this query. Messages have `limit` bytes at most.
pub(crate) async fn open_socket(
    control_plane: &ControlPlane,
    endpoint: &str,
    query: &[(&str, &str)],
    limit: usize,
) -> Result<WebSocketStream<TcpStream>, SessionError> {
    let address = endpoint.strip_prefix("http://").ok_or_else(|| SessionError::Url(endpoint.to_owned()))?;
    let authority = address.split('/').next().unwrap_or(address);
    let host = if authority.contains(':') { authority.to_owned() } else { format!("{authority}:80") };
    let pairs: Vec<String> = query.iter().map(|(name, value)| format!("{name}={}", percent_encoded(value))).collect();
    let url = format!("ws://{}/ws?{}", address.trim_end_matches('/'), pairs.join("&"));
    let request = signed_upgrade_request(&url, &control_plane.credentials, control_plane.region.as_str())?;
    let refused = |source| SessionError::Connect { endpoint: endpoint.to_owned(), source };
    let stream = TcpStream::connect(&host).await.map_err(refused)?;
    stream.set_nodelay(true).map_err(refused)?;
    let config = WebSocketConfig::default().max_message_size(Some(limit)).max_frame_size(Some(limit));
    match client_async_with_config(request, stream, Some(config)).await {
        Ok((socket, _)) => Ok(socket),
        Err(Error::Http(answer)) if is_inactive(answer.body().as_deref()) => Err(SessionError::Inactive),
        Err(error) => Err(Box::new(error).into()),
    }
}

impl Connection {
    /// Connects to `endpoint` at `/ws` with this query.
    pub async fn open(
        control_plane: &ControlPlane,
        endpoint: &str,
        query: &[(&str, &str)],
    ) -> Result<Self, SessionError> {
        let limit = estiva_agent_protocol::FRAME_BYTES_MAX;
        open_socket(control_plane, endpoint, query, limit).await.map(Self)
    }

    /// The next text; `None` when the server has closed the connection.
    pub async fn next(&mut self) -> Result<Option<String>, SessionError> {
        loop {
            let message = tokio::time::timeout(SILENCE_MAX, self.0.next()).await.map_err(|_| SessionError::Silent)?;
            match message.transpose().map_err(Box::new)? {
                None | Some(Message::Close(_)) => return Ok(None),
                Some(Message::Text(text)) => return Ok(Some(text.as_str().to_owned())),
                Some(_) => {}
            }
        }
    }

    /// Sends a text.
    pub async fn send(&mut self, text: String) -> Result<(), SessionError> {
        Ok(self.0.send(Message::text(text)).await.map_err(Box::new)?)
    }
}

fn is_inactive(body: Option<&[u8]>) -> bool {
    body.is_some_and(|body| String::from_utf8_lossy(body).contains("InactiveInstanceException"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_for_an_inactive_instance_is_told_from_others() {
        assert!(is_inactive(Some(br#"{"InactiveInstanceException":"gone"}"#)));
        assert!(!is_inactive(Some(b"busy")) && !is_inactive(None));
    }
}
