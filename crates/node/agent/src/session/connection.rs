//! One WebSocket to the control plane.

use std::time::Duration;

use estiva_model::percent_encoded;
use estiva_wire::Stream;
use estiva_wire::client::{Client, signed_upgrade_request};
use futures_util::{SinkExt, StreamExt};
use http::{Request, StatusCode};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use super::SessionError;
use crate::engine::ControlPlane;

/// A control plane that takes longer to begin a session is stopped, or cut off: the connection alone would never tell.
const OPEN_WAIT: Duration = Duration::from_secs(15);
/// A control plane that reads nothing for so long is not there.
const SEND_WAIT: Duration = Duration::from_secs(15);
/// A connection has it all its life.
const READ_BUFFER_BYTES: usize = 4 << 10;
/// Of a refusal's text.
const REASON_CHARS_MAX: usize = 500;

/// One WebSocket.
pub(super) struct Connection {
    stream: WebSocketStream<Stream>,
    silence_max: Duration,
    /// When something last arrived.
    heard_at: Instant,
}

/// Connects to `endpoint`, such as `http://127.0.0.1:4566/acs`, at `/ws` with this query. Messages have `limit` bytes at most.
pub(crate) async fn open_socket(
    control_plane: &ControlPlane,
    endpoint: &str,
    query: &[(&str, &str)],
    limit: usize,
) -> Result<WebSocketStream<Stream>, SessionError> {
    let address = endpoint.strip_prefix("http://").ok_or_else(|| SessionError::Url(endpoint.to_owned()))?;
    let authority = address.split('/').next().unwrap_or(address);
    let host = if authority.contains(':') { authority.to_owned() } else { format!("{authority}:80") };
    let pairs: Vec<String> = query.iter().map(|(name, value)| format!("{name}={}", percent_encoded(value))).collect();
    let url = format!("ws://{}/ws?{}", address.trim_end_matches('/'), pairs.join("&"));
    let now = control_plane.client.now();
    let request = signed_upgrade_request(&url, &control_plane.credentials, control_plane.region.as_str(), now)?;
    let opened = timeout(OPEN_WAIT, connect(&control_plane.client, endpoint, &host, request, limit)).await;
    opened.map_err(|_| SessionError::NoAnswer { endpoint: endpoint.to_owned(), wait: OPEN_WAIT })?
}

async fn connect(
    client: &Client,
    endpoint: &str,
    host: &str,
    request: Request<()>,
    limit: usize,
) -> Result<WebSocketStream<Stream>, SessionError> {
    let unreachable = |source| SessionError::Connect { endpoint: endpoint.to_owned(), source };
    let stream = client.connect(host).await.map_err(unreachable)?;
    let config = WebSocketConfig::default().max_message_size(Some(limit)).max_frame_size(Some(limit));
    let config = config.read_buffer_size(READ_BUFFER_BYTES);
    match client_async_with_config(request, stream, Some(config)).await {
        Ok((socket, _)) => Ok(socket),
        Err(Error::Http(answer)) => Err(refusal(answer.status(), answer.body().as_deref().unwrap_or_default())),
        Err(error) => Err(Box::new(error).into()),
    }
}

fn refusal(status: StatusCode, body: &[u8]) -> SessionError {
    let reason = String::from_utf8_lossy(body);
    if reason.contains("InactiveInstanceException") {
        return SessionError::Inactive;
    }
    SessionError::Refused { status, reason: reason.chars().take(REASON_CHARS_MAX).collect() }
}

impl Connection {
    /// Connects to `endpoint` at `/ws` with this query. A connection on which nothing arrives for `silence_max` is dead.
    pub async fn open(
        control_plane: &ControlPlane,
        endpoint: &str,
        query: &[(&str, &str)],
        silence_max: Duration,
    ) -> Result<Self, SessionError> {
        let limit = estiva_agent_protocol::FRAME_BYTES_MAX;
        let stream = open_socket(control_plane, endpoint, query, limit).await?;
        Ok(Self { stream, silence_max, heard_at: Instant::now() })
    }

    /// The next text; `None` when the server has closed the connection. Cancelled, it has lost nothing, and goes on to count
    /// the silence.
    pub async fn next(&mut self) -> Result<Option<String>, SessionError> {
        loop {
            let next = timeout_at(self.heard_at + self.silence_max, self.stream.next()).await;
            let message = next.map_err(|_| SessionError::Silent(self.silence_max))?;
            self.heard_at = Instant::now();
            match message.transpose().map_err(Box::new)? {
                None | Some(Message::Close(_)) => return Ok(None),
                Some(Message::Text(text)) => return Ok(Some(text.as_str().to_owned())),
                Some(_) => {}
            }
        }
    }

    /// Sends a text.
    pub async fn send(&mut self, text: String) -> Result<(), SessionError> {
        let sent = timeout(SEND_WAIT, self.stream.send(Message::text(text))).await;
        Ok(sent.map_err(|_| SessionError::NotRead(SEND_WAIT))?.map_err(Box::new)?)
    }
}

#[cfg(test)]
mod tests {
    use estiva_model::Region;
    use estiva_wire::sigv4::{Secret, SigningCredentials};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::time::interval;
    use tokio_tungstenite::accept_async;

    use super::*;

    const SILENCE_MAX: Duration = Duration::from_secs(90);

    async fn control_plane() -> (TcpListener, ControlPlane, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let credentials =
            SigningCredentials { access_key_id: "a".to_owned(), secret: Secret::new("s"), session_token: None };
        let client = Client::new(&endpoint, credentials.clone(), Region::default()).unwrap();
        let control_plane = ControlPlane { client, credentials, region: Region::default() };
        (listener, control_plane, endpoint)
    }

    async fn connected() -> (WebSocketStream<TcpStream>, Connection) {
        let (listener, control_plane, endpoint) = control_plane().await;
        let accept = async { accept_async(listener.accept().await.unwrap().0).await.unwrap() };
        let open = Connection::open(&control_plane, &endpoint, &[], SILENCE_MAX);
        let (server, connection) = tokio::join!(accept, open);
        (server, connection.unwrap())
    }

    #[test]
    fn a_refusal_for_an_inactive_instance_is_told_from_others() {
        let refused = |body: &str| refusal(StatusCode::BAD_REQUEST, body.as_bytes());
        assert!(matches!(refused(r#"{"InactiveInstanceException":"gone"}"#), SessionError::Inactive));
        let other = refused(r#"{"AccessDeniedException":"another's"}"#);
        assert!(other.to_string().contains("another's"), "{other}");
        assert!(refused(&"x".repeat(100_000)).to_string().len() < 1000);
    }

    #[tokio::test(start_paused = true)]
    async fn a_control_plane_that_takes_the_connection_and_says_nothing_is_not_waited_for() {
        let (listener, control_plane, endpoint) = control_plane().await;
        let opened = Connection::open(&control_plane, &endpoint, &[], SILENCE_MAX).await;
        assert!(matches!(opened, Err(SessionError::NoAnswer { .. })));
        drop(listener);
    }

    /// As telemetry does: something else happens again and again while nothing comes.
    #[tokio::test]
    async fn silence_is_noticed_whatever_is_done_meanwhile() {
        let (server, mut connection) = connected().await;
        tokio::time::pause();
        let mut ticks = interval(SILENCE_MAX / 4);
        let mut ticked = 0;
        let ended = loop {
            tokio::select! {
                _ = ticks.tick() => ticked += 1,
                ended = connection.next() => break ended,
            }
            assert!(ticked < 100, "nobody noticed");
        };
        assert!(matches!(ended, Err(SessionError::Silent(_))));
        drop(server);
    }

    #[tokio::test]
    async fn a_control_plane_that_does_not_read_is_noticed() {
        let (server, mut connection) = connected().await;
        tokio::time::pause();
        let text = "x".repeat(1 << 20);
        let error = loop {
            if let Err(error) = connection.send(text.clone()).await {
                break error;
            }
        };
        assert!(matches!(error, SessionError::NotRead(_)));
        drop(server);
    }
}
