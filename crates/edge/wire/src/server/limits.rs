//! What a stranger may ask of the server.

use std::time::Duration;

/// Bounds on connections and requests. The defaults suit a control plane: many small calls, no uploads.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Open connections at a time; who comes later waits to be accepted.
    pub connections_max: usize,
    /// HTTP/2 streams at a time on one connection.
    pub streams_max: u32,
    /// Bytes of a request's head, all header fields together.
    pub head_bytes_max: usize,
    /// Bytes of a request's body, unless a path's own handler reads it.
    pub body_bytes_max: usize,
    /// From a connection's opening, or from the answer before, to the end of a request's head: also how long an idle
    /// connection is kept.
    pub head_read_timeout: Duration,
    /// From the head's end to the body's end.
    pub body_read_timeout: Duration,
    /// How long the rest of a refused body is read and thrown away, so that the sender gets to read the refusal
    /// instead of a reset connection.
    pub linger: Duration,
    /// How long requests and upgraded connections may go on once the server is told to stop.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 16_384,
            streams_max: 128,
            head_bytes_max: 64 * 1024,
            body_bytes_max: 6 * 1024 * 1024,
            head_read_timeout: Duration::from_secs(30),
            body_read_timeout: Duration::from_secs(30),
            linger: Duration::from_secs(2),
            drain: Duration::from_secs(5),
        }
    }
}
