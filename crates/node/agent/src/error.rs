//! Why an agent cannot begin, or go on.

use std::io;
use std::path::PathBuf;

/// Why an agent cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// A directory or file of the node cannot be used.
    #[error("cannot use {}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
    /// The kernel refused the node's network.
    #[error("cannot set up the node's network")]
    Network(#[from] estiva_network::Error),
    /// What runs on the node cannot be ended.
    #[error("cannot end what runs on the node")]
    Shim(#[from] estiva_shim::client::ClientError),
    /// A file of the node is broken, and to guess would cost its tasks.
    #[error("{}: {reason}", path.display())]
    Broken {
        /// Which.
        path: PathBuf,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// Tasks did not end in time.
    #[error("{0} tasks did not end in time; what they ran was killed")]
    Unended(usize),
    /// The images' directory cannot be used.
    #[error("cannot open the node's images")]
    Images(#[from] estiva_image::OpenError),
    /// The control plane's URL is none.
    #[error("the control plane's endpoint cannot be used")]
    Endpoint(#[from] estiva_wire::client::EndpointError),
    /// The control plane said no.
    #[error("the node was not registered")]
    Registration(#[source] estiva_wire::client::ClientError),
    /// The control plane registered something else than what was asked for.
    #[error("the control plane's answer to the registration lacks {0}")]
    RegistrationAnswer(String),
}

impl AgentError {
    /// Whether another process works on the node: one that was told to end may need a moment.
    pub fn is_taken(&self) -> bool {
        matches!(self, Self::Network(estiva_network::Error::AlreadyOpen { .. }))
    }

    /// Something about a file.
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
}
