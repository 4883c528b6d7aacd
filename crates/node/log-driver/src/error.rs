//! What can be wrong with options, and what can go wrong on the way.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Why a log configuration is refused, in Docker's words where the words matter to its users. No token and no variable
/// of the environment is in it.
#[derive(Debug, thiserror::Error)]
pub enum OptionError {
    /// No such driver.
    #[error("logger: no log driver named '{driver}' is registered")]
    Driver {
        /// As it was asked for.
        driver: String,
    },
    /// The driver has no such option.
    #[error("unknown log opt '{option}' for {driver} log driver")]
    Unknown {
        /// Its name.
        option: String,
        /// The driver.
        driver: &'static str,
    },
    /// The driver cannot do without the option.
    #[error("{driver}: {option} is expected")]
    Missing {
        /// Its name.
        option: &'static str,
        /// The driver.
        driver: &'static str,
    },
    /// The value makes no sense.
    #[error("invalid value for {option}: {reason}")]
    Invalid {
        /// Its name.
        option: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A file that an option names cannot be used.
    #[error("{option}: cannot use {}", path.display())]
    File {
        /// The option's name.
        option: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// TLS cannot be set up with these options on this machine.
    #[error("cannot set up TLS")]
    Tls(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Why lines were not taken.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// No connection.
    #[error("cannot connect to {address}")]
    Connect {
        /// Of the backend.
        address: String,
        /// Why not.
        source: io::Error,
    },
    /// The connection broke.
    #[error("cannot send to {address}")]
    Write {
        /// Of the backend.
        address: String,
        /// How.
        source: io::Error,
    },
    /// The backend took too long.
    #[error("{address} took longer than {limit:?} to {operation}")]
    Timeout {
        /// Of the backend.
        address: String,
        /// What it was to do.
        operation: &'static str,
        /// For how long it was waited.
        limit: Duration,
    },
    /// The backend answered with something else than an acknowledgement.
    #[error("no acknowledgement from {address}: {reason}")]
    Acknowledgement {
        /// Of the backend.
        address: String,
        /// What came.
        reason: &'static str,
    },
    /// An HTTP request could not be made or was not answered.
    #[error("cannot reach {address}")]
    Http {
        /// Of the backend.
        address: String,
        /// Why not.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The backend says no.
    #[error("{address} answered with status {status}: {answer}")]
    Status {
        /// Of the backend.
        address: String,
        /// The HTTP status.
        status: u16,
        /// The beginning of the answer.
        answer: String,
    },
    /// What goes with each line (labels, environment) leaves no room for the line.
    #[error("labels and environment make a message of {bytes} bytes, too large for {address}")]
    TooLarge {
        /// Of the backend.
        address: String,
        /// Of the message.
        bytes: usize,
    },
}

impl SendError {
    /// Whether the same lines may be taken later. If not, they never will.
    pub fn is_retryable(&self) -> bool {
        match self {
            // Both mean: later.
            Self::Status { status: 408 | 429, .. } => true,
            Self::Status { status, .. } => *status >= 500,
            Self::TooLarge { .. } => false,
            _ => true,
        }
    }
}
