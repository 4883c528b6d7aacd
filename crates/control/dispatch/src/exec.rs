//! Sessions with programs in containers: where the caller's WebSocket and the node's meet. What passes between them is the
//! session protocol of AWS's Session Manager plugin; the server looks at the first frame alone, which has the token.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use estiva_ecs::container_instance::table::ContainerInstanceRow;
use estiva_ecs::exec_session::{self, table::ExecSessionRow};
use estiva_model::Principal;
use estiva_session_protocol::FRAME_BYTES_MAX;
use estiva_session_protocol::payload::{self, OpenDataChannel};
use estiva_wire::server::{
    Admission, Refusal, Shares, Source, TokenUpgradeHandler, Upgrade, UpgradeHandler, UpgradedIo,
};
use futures_util::{SinkExt, StreamExt};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tracing::{debug, error, info};

use crate::admission;
use crate::sessions::Sessions;
use crate::websocket::{Io, READ_BUFFER_BYTES};

/// How long a stranger may take to show its token: clients send it at once.
const TOKEN_WAIT: Duration = Duration::from_secs(5);
/// How long an end may take to say goodbye.
const CLOSE_WAIT: Duration = Duration::from_secs(10);
/// How long the first to come waits for the other.
const MEETING_WAIT: Duration = Duration::from_secs(60);
/// An end that takes nothing for so long is not there: what is under way is bounded by the protocol, and fits into sockets.
const SEND_WAIT: Duration = Duration::from_secs(60);
/// Callers' connections at one time that have shown their token.
const CALLERS_MAX: usize = 1000;
/// Those that have not have a pool of their own, a small part of it for each session: who knows of one harms no other.
const STRANGERS: Shares = Shares { source: 4, unproven: 256, holder: 0 };

type Socket = WebSocketStream<UpgradedIo>;

/// Where both ends of a session meet.
pub(crate) struct Exchange {
    waiting: Mutex<HashMap<String, Waiting>>,
    callers: Semaphore,
    strangers: Admission,
}

struct Waiting {
    end: End,
    socket: oneshot::Sender<Socket>,
}

/// Whether the ends of a session have met.
enum Meeting {
    /// This end was the first: both are its affair.
    Begun(Box<(Socket, Socket)>),
    /// The other end was there, and goes on with both.
    HandedOver,
    /// The other end did not come.
    Vain,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Caller,
    Node,
}

impl Default for Exchange {
    fn default() -> Self {
        Self { waiting: Mutex::default(), callers: Semaphore::new(CALLERS_MAX), strangers: Admission::new(STRANGERS) }
    }
}

impl Exchange {
    /// Both ends' sockets, for the first who comes.
    async fn meet(&self, id: &str, end: End, socket: Socket) -> Meeting {
        let receiver = {
            let mut waiting = self.lock();
            match waiting.remove(id) {
                Some(other) if other.end != end => {
                    // It may have given up in this moment.
                    let _ = other.socket.send(socket);
                    return Meeting::HandedOver;
                }
                // The same end once more: whoever waited so far has been let go with this.
                _ => {}
            }
            let (sender, receiver) = oneshot::channel();
            waiting.insert(id.to_owned(), Waiting { end, socket: sender });
            receiver
        };
        match timeout(MEETING_WAIT, receiver).await {
            Ok(Ok(other)) => Meeting::Begun(Box::new((socket, other))),
            // Another has taken the place.
            Ok(Err(_)) => Meeting::HandedOver,
            Err(_) => {
                self.lock().remove(id);
                Meeting::Vain
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The node's end.
pub(crate) struct NodeEnd(pub Arc<Sessions>);

impl NodeEnd {
    fn session(&self, upgrade: &Upgrade) -> Option<Arc<ExecSessionRow>> {
        let view = self.0.store.view();
        let row = view.get::<ExecSessionRow>(upgrade.parameter("sessionId")?)?;
        let instance = view.get::<ContainerInstanceRow>(&row.container_instance_key)?;
        let own = upgrade.caller.principal == Principal::Root || upgrade.caller.arn() == instance.registered_by;
        own.then_some(row)
    }
}

#[async_trait]
impl UpgradeHandler for NodeEnd {
    async fn admit(&self, upgrade: &Upgrade) -> Result<(), Refusal> {
        self.session(upgrade).map(|_| ()).ok_or_else(|| admission::refused("There is no such session for this node."))
    }

    async fn serve(&self, upgrade: Upgrade, io: UpgradedIo) {
        let Some(row) = self.session(&upgrade) else { return };
        serve(&self.0, &row.id, End::Node, socket(io).await).await;
    }
}

/// The caller's end, at `/v1/data-channel/ID`.
pub(crate) struct CallerEnd(pub Arc<Sessions>);

#[async_trait]
impl TokenUpgradeHandler for CallerEnd {
    /// No session is there for ids of another shape, and none that a stranger could guess.
    fn admit(&self, path: &str) -> Result<(), Refusal> {
        let exists = exec_session::exists(&self.0.store.view(), session_of(path));
        exists.then_some(()).ok_or_else(admission::no_session)
    }

    async fn serve(&self, path: String, io: UpgradedIo) {
        let place = self.0.exchange.strangers.enter(Source::Subject(session_of(&path).to_owned()));
        let mut socket = socket(io).await;
        let id = session_of(&path);
        let first = tokio::select! {
            first = timeout(TOKEN_WAIT, socket.next()) => first,
            () = place.evicted() => return,
        };
        let Ok(Some(Ok(Message::Text(text)))) = first else { return };
        let Ok(opening) = payload::decode::<OpenDataChannel>(text.as_bytes()) else { return };
        // Before the token is used up, so that it may be shown again later.
        let Ok(_permit) = self.0.exchange.callers.try_acquire() else { return };
        match exec_session::redeem(&self.0.store, id, &opening.token_value, self.0.feeds.ambient.now()).await {
            Ok(Some(row)) => {
                drop(place);
                info!(session = id, task = row.task_arn, container = row.container, "a session is opened");
                serve(&self.0, id, End::Caller, socket).await;
            }
            Ok(None) => {
                debug!(session = id, "a token that opens no session was shown");
                let _ = timeout(CLOSE_WAIT, socket.close(None)).await;
            }
            Err(error) => error!(session = id, error = &error as &dyn std::error::Error, "a session was not opened"),
        }
    }
}

async fn serve(sessions: &Sessions, id: &str, end: End, socket: Socket) {
    match sessions.exchange.meet(id, end, socket).await {
        Meeting::HandedOver => return,
        Meeting::Vain => info!(session = id, ?end, "a session is over before it began: the other end did not come"),
        Meeting::Begun(sockets) => {
            let (one, other) = *sockets;
            tokio::select! {
                () = relay(one, other) => {}
                () = sessions.closed() => {}
            }
            info!(session = id, "a session is over");
        }
    }
    if let Err(error) = exec_session::end(&sessions.store, id).await {
        debug!(session = id, error = &error as &dyn std::error::Error, "the session's row stays until the next start");
    }
}

/// Hands frames over until one end has enough.
async fn relay<S: Io>(mut one: WebSocketStream<S>, mut other: WebSocketStream<S>) {
    loop {
        let (message, from, to) = tokio::select! {
            message = one.next() => (message, &mut one, &mut other),
            message = other.next() => (message, &mut other, &mut one),
        };
        match message {
            Some(Ok(message @ (Message::Binary(_) | Message::Text(_)))) => {
                if !matches!(timeout(SEND_WAIT, to.send(message)).await, Ok(Ok(()))) {
                    // It has gone, or hangs. What it said before, its program's exit code above all, may not be read yet.
                    let _ = timeout(TOKEN_WAIT, last_words(to, from)).await;
                    break;
                }
            }
            // Each connection answers its own pings.
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
            Some(Ok(Message::Close(_)) | Err(_)) | None => break,
        }
    }
    // Whoever is not there any more need not be told.
    let _ = timeout(CLOSE_WAIT, one.close(None)).await;
    let _ = timeout(CLOSE_WAIT, other.close(None)).await;
}

fn session_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

async fn last_words<S: Io>(gone: &mut WebSocketStream<S>, to: &mut WebSocketStream<S>) {
    while let Some(Ok(message @ (Message::Binary(_) | Message::Text(_)))) = gone.next().await {
        if to.send(message).await.is_err() {
            return;
        }
    }
}

async fn socket(io: UpgradedIo) -> Socket {
    let limit = Some(FRAME_BYTES_MAX);
    let config = WebSocketConfig::default().max_message_size(limit).max_frame_size(limit);
    let config = config.read_buffer_size(READ_BUFFER_BYTES);
    WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await
}

#[cfg(test)]
mod tests {
    use tokio::io::DuplexStream;

    use super::*;

    /// The server's socket, and the stranger's.
    async fn pair() -> (WebSocketStream<DuplexStream>, WebSocketStream<DuplexStream>) {
        let (server, client) = tokio::io::duplex(1 << 12);
        let server = WebSocketStream::from_raw_socket(server, Role::Server, None).await;
        (server, WebSocketStream::from_raw_socket(client, Role::Client, None).await)
    }

    #[tokio::test]
    async fn frames_go_both_ways_until_one_end_leaves() {
        let ((one, mut caller), (other, mut node)) = (pair().await, pair().await);
        let relaying = tokio::spawn(relay(one, other));
        caller.send(Message::text("a question")).await.unwrap();
        assert_eq!(node.next().await.unwrap().unwrap(), Message::text("a question"));
        node.send(Message::text("an answer")).await.unwrap();
        assert_eq!(caller.next().await.unwrap().unwrap(), Message::text("an answer"));
        caller.close(None).await.unwrap();
        assert!(node.next().await.unwrap().unwrap().is_close());
        drop((caller, node));
        relaying.await.unwrap();
    }

    #[tokio::test]
    async fn what_an_end_said_before_it_left_is_handed_over() {
        // Which end is looked at first is left to chance.
        for _ in 0..50 {
            let ((one, mut caller), (other, mut node)) = (pair().await, pair().await);
            node.send(Message::text("exit code 7")).await.unwrap();
            drop(node);
            caller.send(Message::text("too late")).await.unwrap();
            let relaying = tokio::spawn(relay(one, other));
            assert_eq!(caller.next().await.unwrap().unwrap(), Message::text("exit code 7"));
            drop(caller);
            relaying.await.unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_end_that_does_not_read_does_not_hold_the_session_for_ever() {
        let ((one, caller), (other, mut node)) = (pair().await, pair().await);
        let relaying = tokio::spawn(relay(one, other));
        let writing = tokio::spawn(async move { while node.send(Message::text("x".repeat(1000))).await.is_ok() {} });
        relaying.await.unwrap();
        writing.await.unwrap();
        drop(caller);
    }
}
