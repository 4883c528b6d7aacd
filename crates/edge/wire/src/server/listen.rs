//! The accept loop: connections in, HTTP/1.1 or HTTP/2 on each, an orderly end.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::admission::{Admission, Place};
use super::edge::Edge;
use super::limits::Limits;
use super::patience::Patient;

/// The pause after a failed `accept` (out of descriptors, above all), in which connections may close.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What an HTTP/2 client may send ahead: HTTP's own default.
const WINDOW_BYTES: u32 = 65_535;

/// The other end of a request's connection: among the extensions of every request that a [`super::Handler`] gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

/// Serves `edge` on `listener` until `shutdown` is ready; then finishes what is under way, for as long as
/// [`Limits::drain`] allows, and cuts off the rest.
pub async fn serve(listener: TcpListener, edge: Edge, shutdown: impl Future<Output = ()>) {
    let edge = Arc::new(edge);
    let limits = edge.limits();
    let builder = Arc::new(connection_builder(limits));
    let admission = Admission::new(limits.shares);
    let slots = Arc::new(Semaphore::new(limits.connections_max));
    let graceful = GracefulShutdown::new();
    let (end, ended) = watch::channel(false);
    let mut tasks = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut shutdown => break,
            accepted = accept(&listener, &slots) => accepted,
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
            peer: Peer(peer),
            place: admission.enter(peer.ip()),
        };
        tasks.spawn(async move {
            connection.drive(stream).await;
            drop(slot);
        });
    }
    drop((listener, ended));
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

async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> Option<(TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit)> {
    let slot = slots.clone().acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, peer)) => Some((stream, peer, slot)),
        Err(error) => {
            tracing::warn!(%error, "a connection could not be accepted");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
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
    async fn drive(self, stream: TcpStream) {
        let Self { edge, builder, watcher, ended, peer, place } = self;
        // Answers are single small writes; a failure here only costs latency.
        let _ = stream.set_nodelay(true);
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
            () = &mut evicted => return tracing::debug!(peer = %peer.0, "closed: others need the place"),
            () = tokio::time::sleep(first_head_timeout) => None,
        };
        let outcome = match ended_early {
            Some(outcome) => outcome,
            None if begun.load(Ordering::Relaxed) => tokio::select! {
                biased;
                outcome = &mut connection => outcome,
                () = evicted => return tracing::debug!(peer = %peer.0, "closed: others need the place"),
            },
            None => return tracing::debug!(peer = %peer.0, "closed: no request came in time"),
        };
        if let Err(error) = outcome {
            tracing::debug!(peer = %peer.0, %error, "a connection ended in an error");
        }
    }
}
