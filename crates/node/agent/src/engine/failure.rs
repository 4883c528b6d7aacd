//! Why a task did not start, in the words that ECS uses.

use estiva_shim::client::ClientError;
use estiva_shim::protocol::FailureKind;

use super::firelens::FirelensError;
use super::record::RecordError;
use super::translate::TranslateError;
use crate::logs::LogSetupError;

/// Why a task did not start. Its text is the task's `stoppedReason`.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartFailure {
    #[error("stop was requested before the task had started")]
    StopRequested,
    #[error("CannotPullContainerError: {reason}")]
    Pull { container: String, reason: String },
    #[error("ResourceInitializationError: {0}")]
    Network(String),
    #[error("CannotStartContainerError: {0}")]
    PortTaken(String),
    #[error("CannotCreateContainerError: {reason}")]
    Create { container: String, reason: String },
    #[error("CannotStartContainerError: {reason}")]
    Start { container: String, reason: String },
    #[error("CannotStartContainerError: {reason}")]
    Dependency { container: String, reason: String },
    #[error("CannotCreateVolumeError: {0}")]
    Volume(String),
    #[error("ResourceInitializationError: cannot make the task's ephemeral storage: {0}")]
    Storage(String),
    #[error("ContainerRuntimeError: {0}")]
    Shim(String),
    #[error("ContainerRuntimeError: the task's shim is gone: it was killed, or the machine was restarted")]
    ShimGone,
    #[error("ResourceInitializationError: the node cannot record the task: {0}")]
    Record(String),
}

impl StartFailure {
    /// Something about the shim itself failed.
    #[allow(clippy::needless_pass_by_value, reason = "made for map_err")]
    pub fn shim(error: ClientError) -> Self {
        Self::Shim(with_sources(&error))
    }

    /// A container was refused by the shim.
    pub fn container(name: &str, error: ClientError) -> Self {
        let container = name.to_owned();
        let reason = with_sources(&error);
        match error {
            ClientError::Failed(failure) => match failure.kind {
                FailureKind::ProgramNotFound | FailureKind::ProgramNotExecutable => Self::Start { container, reason },
                _ => Self::Create { container, reason },
            },
            _ => Self::Shim(reason),
        }
    }

    /// The node's network refused.
    pub fn network(error: estiva_network::Error) -> Self {
        match error {
            estiva_network::Error::PortInUse { .. } | estiva_network::Error::PortsExhausted { .. } => {
                Self::PortTaken(with_sources(&error))
            }
            other => Self::Network(with_sources(&other)),
        }
    }

    /// What the task is to be taken up from after a crash could not be written.
    #[allow(clippy::needless_pass_by_value, reason = "made for map_err")]
    pub fn record(error: RecordError) -> Self {
        Self::Record(with_sources(&error))
    }

    /// A log router cannot be set up.
    pub fn firelens(name: &str, error: &FirelensError) -> Self {
        Self::Create { container: name.to_owned(), reason: with_sources(error) }
    }

    /// A container's output has nowhere to go.
    pub fn logs(name: &str, error: &LogSetupError) -> Self {
        Self::Start { container: name.to_owned(), reason: with_sources(error) }
    }

    /// A container cannot be run as the task definition and the image have it.
    pub fn translate(name: &str, error: &TranslateError) -> Self {
        Self::Create { container: name.to_owned(), reason: with_sources(error) }
    }

    /// The container at fault, if one is.
    pub fn container_name(&self) -> Option<&str> {
        match self {
            Self::Pull { container, .. }
            | Self::Create { container, .. }
            | Self::Start { container, .. }
            | Self::Dependency { container, .. } => Some(container),
            _ => None,
        }
    }
}

/// An error with everything that caused it: users see no more than this one line.
pub(crate) fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
