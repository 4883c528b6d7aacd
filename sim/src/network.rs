//! The network between a node and the control plane: connections that cut, stall in one direction, and come back.
//!
//! As with TCP, what is sent while nothing passes arrives late and in order, or never, when the connection breaks first;
//! and an end that is gone is noticed by the other only when the news gets through.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::sync::Notify;

use crate::world::lock;

/// A node's access to the network. Clones are the same.
#[derive(Clone, Default)]
pub struct Link(Arc<Mutex<State>>, Arc<Notify>);

#[derive(Default)]
struct State {
    /// Nothing comes from the control plane.
    is_deaf: bool,
    /// Nothing gets to the control plane.
    is_mute: bool,
    /// Connections of a former number are cut.
    cuts: u64,
    wakers: Vec<Waker>,
    /// Ends that were closed while the news of it could not get through.
    limbo: Vec<DuplexStream>,
}

impl Link {
    /// Lets nothing through: to the node (`is_deaf`), or from it (`is_mute`).
    pub fn block(&self, is_deaf: bool, is_mute: bool) {
        let mut state = lock(&self.0);
        state.is_deaf = is_deaf;
        state.is_mute = is_mute;
        if !is_mute {
            state.limbo.clear();
        }
        self.wake(state);
    }

    /// Breaks all connections; both ends see it, as far as they hear of anything.
    pub fn cut(&self) {
        let mut state = lock(&self.0);
        state.cuts += 1;
        self.wake(state);
    }

    /// Whether nothing comes from the control plane.
    pub fn is_deaf(&self) -> bool {
        lock(&self.0).is_deaf
    }

    /// Whether nothing gets to the control plane.
    pub fn is_mute(&self) -> bool {
        lock(&self.0).is_mute
    }

    /// Resolves with the next change.
    pub async fn changed(&self) {
        self.1.notified().await;
    }

    /// The node's end of a new connection.
    pub fn attach(&self, stream: DuplexStream) -> Wire {
        Wire { link: self.clone(), number: lock(&self.0).cuts, stream: Some(stream) }
    }

    fn wake(&self, mut state: std::sync::MutexGuard<'_, State>) {
        let wakers = std::mem::take(&mut state.wakers);
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
        self.1.notify_waiters();
    }
}

/// A node's end of a connection.
pub struct Wire {
    link: Link,
    number: u64,
    stream: Option<DuplexStream>,
}

impl Wire {
    /// The stream, if it works now and in this direction.
    fn open(&mut self, blocked: fn(&State) -> bool, context: &Context<'_>) -> Poll<io::Result<&mut DuplexStream>> {
        let mut state = lock(&self.link.0);
        if state.cuts != self.number {
            if let Some(stream) = self.stream.take().filter(|_| state.is_mute) {
                state.limbo.push(stream);
            }
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if blocked(&state) {
            state.wakers.push(context.waker().clone());
            return Poll::Pending;
        }
        // A cut must be seen also by who waits for the other end.
        if !state.wakers.iter().any(|waker| waker.will_wake(context.waker())) {
            state.wakers.push(context.waker().clone());
        }
        Poll::Ready(self.stream.as_mut().ok_or_else(|| io::ErrorKind::ConnectionReset.into()))
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        let mut state = lock(&self.link.0);
        if let Some(stream) = self.stream.take().filter(|_| state.is_mute) {
            state.limbo.push(stream);
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let stream = std::task::ready!(self.open(|state| state.is_deaf, context))?;
        Pin::new(stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let stream = std::task::ready!(self.open(|state| state.is_mute, context))?;
        Pin::new(stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let stream = std::task::ready!(self.open(|state| state.is_mute, context))?;
        Pin::new(stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let stream = std::task::ready!(self.open(|state| state.is_mute, context))?;
        Pin::new(stream).poll_shutdown(context)
    }
}
