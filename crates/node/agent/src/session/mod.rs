//! The node's two sessions with its control plane: one brings tasks, the other takes telemetry away.

pub(crate) mod acs;
mod connection;
mod measure;
pub(crate) mod tcs;

pub(crate) use connection::open_socket;

use std::time::Duration;

/// A connection on which nothing has arrived for this long is dead: the server speaks more often than that.
const SILENCE_MAX: Duration = Duration::from_secs(90);

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionError {
    /// The control plane did not say where to connect to.
    #[error("the control plane did not say where to connect to")]
    Discover(#[from] estiva_wire::client::ClientError),
    /// The endpoint cannot be connected to.
    #[error("cannot connect to {endpoint}")]
    Connect {
        /// The endpoint.
        endpoint: String,
        /// The system's word.
        source: std::io::Error,
    },
    /// The endpoint is no URL that a session can be made with.
    #[error("'{0}' is not the URL of a session")]
    Url(String),
    /// The request could not be signed.
    #[error("the session's request cannot be made")]
    Request(#[from] http::Error),
    /// The container instance is not registered any more.
    #[error("the container instance is inactive")]
    Inactive,
    /// The WebSocket broke.
    #[error("the session broke")]
    WebSocket(#[from] Box<tokio_tungstenite::tungstenite::Error>),
    /// Nothing arrived for too long.
    #[error("the control plane has been silent for {SILENCE_MAX:?}")]
    Silent,
}
