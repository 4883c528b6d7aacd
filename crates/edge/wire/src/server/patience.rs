//! A client that does not read: what is to be written must go out at a minimum rate.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// A reader may be slow, down to a modem's speed. Who reads a little now and then only to keep the answer in memory is not.
const BYTES_PER_SECOND_MIN: u64 = 4 * 1024;

/// A stream whose writes fail when the other end has taken too little for too long.
#[derive(Debug)]
pub struct Patient<S> {
    stream: S,
    patience: Duration,
    /// Since a write had to wait; until the other end has caught up.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl<S> Patient<S> {
    /// `patience` is how long the other end may take nothing at all.
    pub fn new(stream: S, patience: Duration) -> Self {
        Self { stream, patience, deadline: None }
    }

    /// The other end has taken so much: it gains time, and once it has all of it again it is not watched any more.
    fn taken(&mut self, bytes: usize) {
        let Some(deadline) = &mut self.deadline else { return };
        let gained = Duration::from_micros(bytes as u64 * 1_000_000 / BYTES_PER_SECOND_MIN);
        let (until, full) = (deadline.deadline() + gained, Instant::now() + self.patience);
        if until >= full {
            self.deadline = None;
        } else {
            deadline.as_mut().reset(until);
        }
    }

    fn watch<T>(&mut self, outcome: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if outcome.is_pending() {
            let patience = self.patience;
            let deadline = self.deadline.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
            ready!(deadline.as_mut().poll(context));
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the other end does not read")));
        }
        outcome
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(context, from);
        if let Poll::Ready(Ok(bytes)) = &outcome {
            self.taken(*bytes);
        }
        self.watch(outcome, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        from: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(context, from);
        if let Poll::Ready(Ok(bytes)) = &outcome {
            self.taken(*bytes);
        }
        self.watch(outcome, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_flush(context);
        self.watch(outcome, context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn who_reads_nothing_is_given_up() {
        let (ours, _theirs) = tokio::io::duplex(64);
        let error = Patient::new(ours, PATIENCE).write_all(&[0; 1000]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn a_little_now_and_then_is_not_enough() {
        let (ours, mut theirs) = tokio::io::duplex(64);
        let reading = tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_secs(5)).await;
                if theirs.read(&mut [0; 64]).await.unwrap() == 0 {
                    break;
                }
            }
        });
        let error = Patient::new(ours, PATIENCE).write_all(&vec![0; 1 << 20]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        reading.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_reader_that_goes_on_gets_everything() {
        let (ours, mut theirs) = tokio::io::duplex(64 * 1024);
        let reading = tokio::spawn(async move {
            let (mut all, mut part) = (0, vec![0; 64 * 1024]);
            loop {
                tokio::time::sleep(Duration::from_secs(8)).await;
                match theirs.read(&mut part).await.unwrap() {
                    0 => return all,
                    some => all += some,
                }
            }
        });
        let mut ours = Patient::new(ours, PATIENCE);
        ours.write_all(&vec![0; 1 << 20]).await.unwrap();
        drop(ours);
        assert_eq!(reading.await.unwrap(), 1 << 20);
    }
}
