//! What payloads hold: JSON with AWS's names, except a flag and an exit code.
//!
//! AWS's ends are written in Go: a list that is empty comes as `null`, and fields that they do not fill in come as
//! `""`, 0 or `null`. Reading allows for all of these, and for fields that are absent.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// The version of [`OpenDataChannel`]'s schema.
pub const OPEN_SCHEMA_VERSION: &str = "1.0";
/// The action that tells the client what kind of session it is.
pub const ACTION_SESSION_TYPE: &str = "SessionType";
/// The action that asks for encryption with a key of KMS.
pub const ACTION_KMS_ENCRYPTION: &str = "KMSEncryption";

macro_rules! payloads {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
        #[serde(rename_all = "PascalCase", default)]
        pub struct $name { $($(#[$field_doc])* #[serde(deserialize_with = "or_default")] pub $field: $type,)* }
    )*};
}

payloads! {
    /// The first frame of a connection, as text: who opens it, and by which right.
    OpenDataChannel {
        /// [`OPEN_SCHEMA_VERSION`].
        message_schema_version: String,
        /// A UUID, unique to the request.
        request_id: String,
        /// The secret that the API's answer held.
        token_value: String,
        /// A UUID that the client keeps over its connections.
        client_id: String,
        /// The client's version.
        client_version: String,
    }
    /// Answers a stream message.
    Acknowledge {
        /// The name of the message's type.
        acknowledged_message_type: String,
        /// The message's id.
        acknowledged_message_id: String,
        /// The message's sequence number: by this alone the sender finds it.
        acknowledged_message_sequence_number: i64,
        /// Always true.
        is_sequential_message: bool,
    }
    /// The server's first message: what the client has to do before the session starts.
    HandshakeRequest {
        /// The server's version.
        agent_version: String,
        /// In order.
        requested_client_actions: Vec<RequestedClientAction>,
    }
    /// One thing to do.
    RequestedClientAction {
        /// [`ACTION_SESSION_TYPE`] or [`ACTION_KMS_ENCRYPTION`].
        action_type: String,
        /// By type; [`SessionTypeParameters`] for a session type.
        action_parameters: Value,
    }
    /// The kind of session.
    SessionTypeParameters {
        /// A [`SessionType`]'s name.
        session_type: String,
        /// By kind; a shell has none that the plugin looks at.
        properties: Value,
    }
    /// The client's first message.
    HandshakeResponse {
        /// The client's version.
        client_version: String,
        /// One for each that was requested.
        processed_client_actions: Vec<ProcessedClientAction>,
        /// What failed, for people.
        errors: Vec<String>,
    }
    /// How one action went.
    ProcessedClientAction {
        /// As it was requested.
        action_type: String,
        /// Whether it worked.
        action_status: ActionStatus,
        /// By type; nothing for a session type. The plugin puts 3 here, not into the status, for what it does not know.
        action_result: Value,
        /// Why it failed, or empty.
        error: String,
    }
    /// The server's second message: the session starts.
    HandshakeComplete {
        /// Nanoseconds since the request.
        handshake_time_to_complete: i64,
        /// The client shows it to the user, unless it is empty.
        customer_message: String,
    }
    /// The session is over.
    ChannelClosed {
        /// The id of the message.
        message_id: String,
        /// Milliseconds since 1970, as text.
        created_date: String,
        /// What the session was with.
        destination_id: String,
        /// The session.
        session_id: String,
        /// `channel_closed`.
        message_type: String,
        /// 1.
        schema_version: i64,
        /// The client shows it to the user; empty at an ordinary end.
        output: String,
    }
}

/// The size of the client's terminal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    /// Characters in a line.
    pub cols: u32,
    /// Lines.
    pub rows: u32,
}

/// How a [`ProcessedClientAction`] went: a number on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "u32", into = "u32")]
pub enum ActionStatus {
    /// 1.
    Success,
    /// 2.
    Failed,
    /// 3.
    Unsupported,
    /// Any other; the plugin leaves 0 for what it does not know.
    Other(u32),
}

impl Default for ActionStatus {
    fn default() -> Self {
        Self::Other(0)
    }
}

impl From<u32> for ActionStatus {
    fn from(number: u32) -> Self {
        match number {
            1 => Self::Success,
            2 => Self::Failed,
            3 => Self::Unsupported,
            other => Self::Other(other),
        }
    }
}

impl From<ActionStatus> for u32 {
    fn from(status: ActionStatus) -> Self {
        match status {
            ActionStatus::Success => 1,
            ActionStatus::Failed => 2,
            ActionStatus::Unsupported => 3,
            ActionStatus::Other(number) => number,
        }
    }
}

/// The kinds of session that have a terminal or a command at their other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionType {
    /// A shell.
    StandardStream,
    /// A command with a terminal.
    InteractiveCommands,
    /// A command without one.
    NonInteractiveCommands,
}

impl SessionType {
    const ALL: [Self; 3] = [Self::StandardStream, Self::InteractiveCommands, Self::NonInteractiveCommands];

    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::StandardStream => "Standard_Stream",
            Self::InteractiveCommands => "InteractiveCommands",
            Self::NonInteractiveCommands => "NonInteractiveCommands",
        }
    }

    /// The kind of that name, unless it is one that this crate does not speak, as `Port`.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// What a payload of type [`crate::PayloadType::Flag`] says: four bytes, big-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flag {
    /// 1: the port's peer is gone.
    DisconnectToPort,
    /// 2: the client ends the session.
    TerminateSession,
    /// 3: no connection to the port.
    ConnectToPortError,
    /// Any other.
    Other(u32),
}

impl Flag {
    /// The payload's bytes.
    pub fn encode(self) -> [u8; 4] {
        let number: u32 = match self {
            Self::DisconnectToPort => 1,
            Self::TerminateSession => 2,
            Self::ConnectToPortError => 3,
            Self::Other(number) => number,
        };
        number.to_be_bytes()
    }

    /// Reads a payload; `None` when it does not have four bytes.
    pub fn decode(payload: &[u8]) -> Option<Self> {
        let number = u32::from_be_bytes(payload.try_into().ok()?);
        Some(match number {
            1 => Self::DisconnectToPort,
            2 => Self::TerminateSession,
            3 => Self::ConnectToPortError,
            other => Self::Other(other),
        })
    }
}

const EXIT_CODE_LABEL: &str = "EXIT_CODE: ";

/// The payload that tells an exit code: text, as AWS's agent writes it.
pub fn encode_exit_code(code: i32) -> Vec<u8> {
    format!("{EXIT_CODE_LABEL}{code}").into_bytes()
}

/// Reads the payload of an exit code; `None` when it is none.
pub fn decode_exit_code(payload: &[u8]) -> Option<i32> {
    std::str::from_utf8(payload).ok()?.strip_prefix(EXIT_CODE_LABEL)?.trim().parse().ok()
}

/// A payload's JSON. Types of this module always encode: maps have string keys, numbers are finite.
pub fn encode<T: Serialize>(payload: &T) -> Vec<u8> {
    serde_json::to_vec(payload).unwrap_or_default()
}

/// Reads a payload's JSON.
pub fn decode<T: DeserializeOwned>(payload: &[u8]) -> Result<T, serde_json::Error> {
    serde_json::from_slice(payload)
}

fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

#[cfg(test)]
mod tests;
