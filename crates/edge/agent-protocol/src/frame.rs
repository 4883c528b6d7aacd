//! The envelope around every message.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The largest frame that either end accepts, in bytes. AWS's agent sends at most 1 MiB; a payload of
/// ten tasks with definitions of 64 KiB each stays below it.
pub const FRAME_BYTES_MAX: usize = 4 << 20;

/// Why a frame is not a message.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The frame has more than [`FRAME_BYTES_MAX`] bytes.
    #[error("frame of {0} bytes is larger than {FRAME_BYTES_MAX}")]
    TooLarge(usize),
    /// The frame is not JSON of the envelope's form.
    #[error("frame is no message envelope")]
    Envelope(#[source] serde_json::Error),
    /// The message is not of the form that its type demands.
    #[error("message of type {kind} is malformed")]
    Message {
        /// The envelope's `type`.
        kind: String,
        /// What serde found.
        source: serde_json::Error,
    },
    /// This end does not know the type. AWS adds types over time: skip the frame.
    #[error("message type {0} is not known here")]
    UnknownType(String),
}

#[derive(Deserialize)]
pub(crate) struct Received<'a> {
    #[serde(rename = "type")]
    pub kind: String,
    #[serde(borrow)]
    message: Option<&'a RawValue>,
}

impl<'a> Received<'a> {
    pub fn parse(text: &'a str) -> Result<Self, FrameError> {
        if text.len() > FRAME_BYTES_MAX {
            return Err(FrameError::TooLarge(text.len()));
        }
        serde_json::from_str(text).map_err(FrameError::Envelope)
    }

    pub fn message<T: DeserializeOwned>(&self) -> Result<T, FrameError> {
        let json = self.message.map_or("{}", RawValue::get);
        serde_json::from_str(json).map_err(|source| FrameError::Message { kind: self.kind.clone(), source })
    }
}

/// Encodes one envelope. Types of this crate always encode: maps have string keys, numbers are finite.
pub(crate) fn encode<T: Serialize>(kind: &str, message: &T) -> String {
    #[derive(Serialize)]
    struct Sent<'a, T> {
        #[serde(rename = "type")]
        kind: &'a str,
        message: &'a T,
    }
    serde_json::to_string(&Sent { kind, message }).unwrap_or_default()
}

/// Makes an enum of messages with the wire name of each: encoding, decoding, and the names.
macro_rules! messages {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident($body:ty) = $kind:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq)]
        pub enum $name {
            $($(#[$variant_doc])* $variant($body),)*
        }

        impl $name {
            /// The envelope's `type`.
            pub fn kind(&self) -> &'static str {
                match self { $(Self::$variant(_) => $kind,)* }
            }

            /// The frame's text.
            pub fn encode(&self) -> String {
                match self { $(Self::$variant(body) => $crate::frame::encode($kind, body),)* }
            }

            /// Reads a frame's text.
            pub fn decode(text: &str) -> Result<Self, $crate::FrameError> {
                let received = $crate::frame::Received::parse(text)?;
                match received.kind.as_str() {
                    $($kind => received.message().map(Self::$variant),)*
                    _ => Err($crate::FrameError::UnknownType(received.kind)),
                }
            }
        }
    };
}
pub(crate) use messages;
