//! Bodies in and out.

use std::io;

use bytes::{Bytes, BytesMut};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};

use super::limits::Limits;

/// What is answered: whole, or a stream for handlers that send more than fits in memory.
pub type ResponseBody = UnsyncBoxBody<Bytes, io::Error>;

/// A body that is all there.
pub fn full(bytes: impl Into<Bytes>) -> ResponseBody {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
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
    /// The connection broke, or the framing is wrong.
    #[error("The request's body could not be read")]
    Broken(#[source] hyper::Error),
}

/// Reads a whole body within the limits. What is over the limit is never held, only thrown away for a short while.
pub async fn read_body(mut body: Incoming, limits: &Limits) -> Result<Bytes, BodyError> {
    let limit = limits.body_bytes_max;
    let outcome = if body.size_hint().lower() > limit as u64 {
        Err(BodyError::TooLarge { limit })
    } else {
        let collected = tokio::time::timeout(limits.body_read_timeout, collect(&mut body, limit)).await;
        collected.unwrap_or(Err(BodyError::TimedOut))
    };
    if matches!(outcome, Err(BodyError::TooLarge { .. })) {
        // Whether the sender hears the refusal or not changes nothing here.
        let _ = tokio::time::timeout(limits.linger, discard(&mut body)).await;
    }
    outcome
}

async fn collect(body: &mut Incoming, limit: usize) -> Result<Bytes, BodyError> {
    // Nearly every body is one frame, which is handed on without a copy.
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(BodyError::Broken)?.into_data() else {
            continue;
        };
        if first.len() + rest.len() + data.len() > limit {
            return Err(BodyError::TooLarge { limit });
        }
        if first.is_empty() {
            first = data;
        } else {
            rest.extend_from_slice(&data);
        }
    }
    if rest.is_empty() {
        return Ok(first);
    }
    let mut whole = BytesMut::with_capacity(first.len() + rest.len());
    whole.extend_from_slice(&first);
    whole.extend_from_slice(&rest);
    Ok(whole.freeze())
}

async fn discard(body: &mut Incoming) {
    while let Some(Ok(_)) = body.frame().await {}
}
