//! The node's two sessions with its control plane: one brings tasks, the other takes telemetry away.

pub(crate) mod acs;
mod connection;
mod measure;
pub(crate) mod tcs;

pub(crate) use connection::open_socket;

use std::time::Duration;

use http::StatusCode;

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
    /// Nobody answered at the endpoint.
    #[error("{endpoint} takes connections, but no session began within {wait:?}")]
    NoAnswer {
        /// The endpoint.
        endpoint: String,
        /// How long was waited.
        wait: Duration,
    },
    /// The control plane does not want the session.
    #[error("the control plane refused the session ({status}): {reason}")]
    Refused {
        /// The answer's status.
        status: StatusCode,
        /// The control plane's word.
        reason: String,
    },
    /// The container instance is not registered any more.
    #[error("the container instance is inactive")]
    Inactive,
    /// The WebSocket broke.
    #[error("the session broke")]
    WebSocket(#[from] Box<tokio_tungstenite::tungstenite::Error>),
    /// Nothing arrived for too long.
    #[error("the control plane has been silent for {0:?}")]
    Silent(Duration),
    /// What was sent was not taken for too long.
    #[error("the control plane has not read for {0:?}")]
    NotRead(Duration),
}
