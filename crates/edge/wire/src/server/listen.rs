//! The accept loop: connections in, HTTP/1.1 or HTTP/2 on each, an orderly end.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::select_all;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;

use super::admission::{Admission, Place, Source};
use super::edge::Edge;
use super::limits::Limits;
use super::patience::Patient;
use crate::stream::Stream;

/// The pause after a failed `accept` (out of descriptors, above all), in which connections may close.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What an HTTP/2 client may send ahead: HTTP's own default.
const WINDOW_BYTES: u32 = 65_535;

/// The other end of a request's connection: among the extensions of every request that a [`super::Handler`] gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// Whoever is at this address.
    Address(SocketAddr),
    /// A process that may open the server's socket in the file system.
    Socket,
}

impl Peer {
    /// Its address, if it has one.
    pub fn address(&self) -> Option<IpAddr> {
        match self {
            Self::Address(address) => Some(address.ip()),
            Self::Socket => None,
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(formatter),
            Self::Socket => formatter.write_str("the socket"),
        }
    }
}

/// What a server takes connections from.
#[derive(Debug)]
pub enum Listener {
    /// An address.
    Tcp(TcpListener),
    /// A socket in the file system.
    Socket(UnixListener),
}

/// Serves `edge` on `listeners` until `shutdown` is ready; then finishes what is under way, for as long as
/// [`Limits::drain`] allows, and cuts off the rest.
pub async fn serve(listeners: Vec<Listener>, edge: Edge, shutdown: impl Future<Output = ()>) {
    let edge = Arc::new(edge);
    let limits = edge.limits();
    let builder = Arc::new(connection_builder(limits));
    let admission = Admission::new(limits.shares);
    let doors: Vec<Door> = listeners.into_iter().map(|listener| Door::new(listener, limits.connections_max)).collect();
    let graceful = GracefulShutdown::new();
    let (end, ended) = watch::channel(false);
    let mut tasks = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut shutdown => break,
            accepted = accept(&doors) => accepted,
        };
        while tasks.try_join_next().is_some() {}
        let Some((stream, peer, slot)) = accepted else {
            continue;
        };
        let connection = Connection {
            edge: edge.clone(),
            builder: builder.clone(),
            watcher: graceful.watcher(),
            ended: ended.clone(),
            peer,
            place: place_of(&admission, peer),
        };
        tasks.spawn(async move {
            connection.drive(stream).await;
            drop(slot);
        });
    }
    drop((doors, ended));
    let orderly = async {
        graceful.shutdown().await;
        end.closed().await;
    };
    if tokio::time::timeout(limits.drain, orderly).await.is_err() {
        tracing::debug!("connections are cut off: they did not end in time");
    }
    end.send_replace(true);
    tasks.shutdown().await;
}

fn place_of(admission: &Admission, peer: Peer) -> Place {
    match peer {
        Peer::Address(address) => admission.enter(address.ip()),
        // Who may open the socket is the installation's owner, or one of its nodes.
        Peer::Socket => {
            let place = admission.enter(Source::Subject(peer.to_string()));
            place.standing().prove("socket", true);
            place
        }
    }
}

/// A listener and the places of those who came through it: a crowd at one keeps nobody out at another.
struct Door {
    listener: Listener,
    slots: Arc<Semaphore>,
}

type Accepted = (Stream, Peer, OwnedSemaphorePermit);

impl Door {
    fn new(listener: Listener, connections_max: usize) -> Self {
        Self { listener, slots: Arc::new(Semaphore::new(connections_max)) }
    }

    async fn accept(&self) -> Option<Accepted> {
        let slot = self.slots.clone().acquire_owned().await.ok()?;
        match self.listener.accept().await {
            Ok((stream, peer)) => Some((stream, peer, slot)),
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                None
            }
        }
    }
}

impl Listener {
    async fn accept(&self) -> io::Result<(Stream, Peer)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                // Answers are single small writes; a failure here only costs latency.
                let _ = stream.set_nodelay(true);
                Ok((Box::new(stream), Peer::Address(address)))
            }
            Self::Socket(listener) => Ok((Box::new(listener.accept().await?.0), Peer::Socket)),
        }
    }
}

/// The next connection, whichever door it comes through.
async fn accept(doors: &[Door]) -> Option<Accepted> {
    if doors.is_empty() {
        return std::future::pending().await;
    }
    select_all(doors.iter().map(|door| Box::pin(door.accept()))).await.0
}

fn connection_builder(limits: &Limits) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        // A client that has said all it has to say may still listen.
        .half_close(true)
        .header_read_timeout(limits.head_read_timeout)
        .max_buf_size(limits.head_bytes_max.max(8192));
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams_max)
        // Half a body that nobody reads yet is all that a connection may have here.
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .max_header_list_size(u32::try_from(limits.head_bytes_max).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(usize::try_from(limits.streams_max).unwrap_or(usize::MAX))
        .keep_alive_interval(limits.head_read_timeout)
        .keep_alive_timeout(limits.head_read_timeout);
    builder
}

struct Connection {
    edge: Arc<Edge>,
    builder: Arc<auto::Builder<TokioExecutor>>,
    watcher: Watcher,
    /// Held by every upgraded connection; becomes true when the server has no more patience.
    ended: watch::Receiver<bool>,
    peer: Peer,
    place: Place,
}

impl Connection {
    async fn drive(self, stream: Stream) {
        let Self { edge, builder, watcher, ended, peer, place } = self;
        let Limits { first_head_timeout, write_timeout, .. } = *edge.limits();
        let begun = Arc::new(AtomicBool::new(false));
        let service = service_fn({
            let begun = begun.clone();
            let standing = place.standing();
            move |mut request: http::Request<Incoming>| {
                begun.store(true, Ordering::Relaxed);
                request.extensions_mut().insert(peer);
                request.extensions_mut().insert(standing.clone());
                let underway = standing.begin();
                let (edge, ended) = (edge.clone(), ended.clone());
                async move {
                    let answer = edge.answer(request, ended).await;
                    drop(underway);
                    Ok::<_, Infallible>(answer)
                }
            }
        });
        let io = TokioIo::new(Patient::new(stream, write_timeout));
        let connection = builder.serve_connection_with_upgrades(io, service).into_owned();
        let mut connection = pin!(watcher.watch(connection));
        let mut evicted = pin!(place.evicted());
        // hyper times heads only once it knows the version; who sends nothing, or half a preface, is timed here.
        let ended_early = tokio::select! {
            biased;
            outcome = &mut connection => Some(outcome),
            () = &mut evicted => return tracing::debug!(%peer, "closed: others need the place"),
            () = tokio::time::sleep(first_head_timeout) => None,
        };
        let outcome = match ended_early {
            Some(outcome) => outcome,
            None if begun.load(Ordering::Relaxed) => tokio::select! {
                biased;
                outcome = &mut connection => outcome,
                () = evicted => return tracing::debug!(%peer, "closed: others need the place"),
            },
            None => return tracing::debug!(%peer, "closed: no request came in time"),
        };
        if let Err(error) = outcome {
            tracing::debug!(%peer, %error, "a connection ended in an error");
        }
    }
}
