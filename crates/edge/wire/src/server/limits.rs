//! What a stranger may ask of the server.

use std::time::Duration;

use super::admission::Shares;

/// Bounds on connections and requests. The defaults suit a control plane: many small calls, no uploads.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Open connections at a time; who comes later waits to be accepted.
    pub connections_max: usize,
    /// Of these, what each source and each caller may have.
    pub shares: Shares,
    /// HTTP/2 streams at a time on one connection.
    pub streams_max: u32,
    /// Bytes of a request's head, all header fields together.
    pub head_bytes_max: usize,
    /// Bytes of a request's body, unless its operation is known to need more, or a path's own handler reads it.
    pub body_bytes_max: usize,
    /// Bytes of all bodies under way, but for the first [`Limits::BODY_BYTES_FREE`] of each.
    pub bodies_bytes_max: usize,
    /// Of these, what one caller may have, or one address whose requests do not prove a caller before their end.
    pub bodies_share_bytes_max: usize,
    /// How long a body waits for others' to end.
    pub bodies_wait: Duration,
    /// Calls under way of one caller that is neither owner nor node; further ones wait in line.
    pub calls_share_max: usize,
    /// How long a call waits for the caller's others.
    pub calls_wait: Duration,
    /// From a connection's opening to the end of its first request's head.
    pub first_head_timeout: Duration,
    /// From a connection's opening, or from the answer before, to the end of a request's head: also how long an idle
    /// connection is kept.
    pub head_read_timeout: Duration,
    /// From the head's end to the body's end, and a second more for each [`Limits::BODY_BYTES_PER_SECOND_MIN`].
    pub body_read_timeout: Duration,
    /// How long a client may read nothing of an answer.
    pub write_timeout: Duration,
    /// How long the rest of a refused body is read and thrown away, so that the sender gets to read the refusal
    /// instead of a reset connection.
    pub linger: Duration,
    /// How long requests and upgraded connections may go on once the server is told to stop.
    pub drain: Duration,
}

impl Limits {
    /// Most bodies have less, and never wait for others.
    pub const BODY_BYTES_FREE: usize = 16 * 1024;
    /// Of a long body.
    pub const BODY_BYTES_PER_SECOND_MIN: usize = 64 * 1024;
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 16_384,
            shares: Shares { source: 64, unproven: 1024, holder: 64 },
            streams_max: 32,
            head_bytes_max: 32 * 1024,
            body_bytes_max: 256 * 1024,
            bodies_bytes_max: 64 * 1024 * 1024,
            bodies_share_bytes_max: 24 * 1024 * 1024,
            bodies_wait: Duration::from_secs(2),
            calls_share_max: 16,
            calls_wait: Duration::from_secs(10),
            first_head_timeout: Duration::from_secs(10),
            head_read_timeout: Duration::from_secs(30),
            body_read_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(30),
            linger: Duration::from_secs(2),
            drain: Duration::from_secs(5),
        }
    }
}
