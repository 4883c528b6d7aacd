//! Bodies in and out.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame, Incoming, SizeHint};

use super::limits::Limits;
use super::shares::{Room, Taken};

/// What is answered: whole, or a stream for handlers that send more than fits in memory.
pub type ResponseBody = UnsyncBoxBody<Bytes, io::Error>;

/// A body that is all there.
pub fn full(bytes: impl Into<Bytes>) -> ResponseBody {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// A body that is all there; `held` is dropped when nearly all of it has been taken to be sent.
pub(super) fn held(bytes: impl Into<Bytes>, held: impl Send + 'static) -> ResponseBody {
    Held { rest: bytes.into(), _held: held }.boxed_unsync()
}

/// The bytes that are taken at a time, so that what is not read by the client is not taken.
const PART_BYTES: usize = 64 * 1024;

struct Held<T> {
    rest: Bytes,
    _held: T,
}

// Nothing here is pinned.
impl<T> Unpin for Held<T> {}

impl<T> Body for Held<T> {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        let bytes = self.rest.len().min(PART_BYTES);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(bytes)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}

/// Why a request's body could not be had.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// It is, or says it is, longer than allowed.
    #[error("Request size exceeds the limit of {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// It did not all come in time.
    #[error("The request's body was not received in time")]
    TimedOut,
    /// Others' bodies, or the sender's own, take all the room that there is.
    #[error("There are too many large requests under way. Please try again")]
    NoRoom,
    /// The connection broke, or the framing is wrong.
    #[error("The request's body could not be read")]
    Broken(#[source] hyper::Error),
}

/// Reads a whole body within the limits. What is over the limit is never held, only thrown away for a short while.
pub async fn read_body(body: Incoming, limits: &Limits) -> Result<Bytes, BodyError> {
    let read = read_within(body, limits.body_bytes_max, limits, None).await?;
    Ok(read.bytes)
}

/// A body, and the room that it takes.
pub(super) struct ReadBody {
    pub bytes: Bytes,
    pub _room: Option<Taken>,
}

/// Reads a whole body of at most `limit` bytes. One that is not short takes its room before it comes.
pub(super) async fn read_within(
    mut body: Incoming,
    limit: usize,
    limits: &Limits,
    room: Option<(&Room, Option<&str>)>,
) -> Result<ReadBody, BodyError> {
    let length = body.size_hint();
    let outcome = if length.lower() > limit as u64 {
        Err(BodyError::TooLarge { limit })
    } else {
        let expected = length.exact().and_then(|exact| usize::try_from(exact).ok()).unwrap_or(limit);
        let at_slowest = Duration::from_secs((expected / Limits::BODY_BYTES_PER_SECOND_MIN) as u64);
        let reserve = Reserve { expected, room, wait: limits.bodies_wait };
        let collected =
            tokio::time::timeout(limits.body_read_timeout + at_slowest, collect(&mut body, limit, reserve)).await;
        collected.unwrap_or(Err(BodyError::TimedOut))
    };
    if matches!(outcome, Err(BodyError::TooLarge { .. } | BodyError::NoRoom)) {
        // Whether the sender hears the refusal or not changes nothing here.
        let _ = tokio::time::timeout(limits.linger, discard(&mut body)).await;
    }
    outcome
}

/// The room for a body that turns out not to be short.
struct Reserve<'a> {
    expected: usize,
    room: Option<(&'a Room, Option<&'a str>)>,
    wait: Duration,
}

impl Reserve<'_> {
    async fn take(&self) -> Result<Option<Taken>, BodyError> {
        let Some((room, user)) = self.room else { return Ok(None) };
        room.take(user, kib(self.expected), self.wait).await.map(Some).ok_or(BodyError::NoRoom)
    }
}

/// What room for bodies is counted in: permits are, and there are no more of them than fit 32 bits.
pub(super) fn kib(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX)
}

async fn collect(body: &mut Incoming, limit: usize, reserve: Reserve<'_>) -> Result<ReadBody, BodyError> {
    // Nearly every body is one frame, which is handed on without a copy.
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    let mut room = None;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(BodyError::Broken)?.into_data() else {
            continue;
        };
        let length = first.len() + rest.len() + data.len();
        if length > limit {
            return Err(BodyError::TooLarge { limit });
        }
        if length > Limits::BODY_BYTES_FREE && room.is_none() {
            room = reserve.take().await?;
        }
        if first.is_empty() {
            first = data;
        } else {
            rest.extend_from_slice(&data);
        }
    }
    if rest.is_empty() {
        return Ok(ReadBody { bytes: first, _room: room });
    }
    let mut whole = BytesMut::with_capacity(first.len() + rest.len());
    whole.extend_from_slice(&first);
    whole.extend_from_slice(&rest);
    Ok(ReadBody { bytes: whole.freeze(), _room: room })
}

async fn discard(body: &mut Incoming) {
    while let Some(Ok(_)) = body.frame().await {}
}
