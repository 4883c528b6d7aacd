//! One binary frame: a header of 120 bytes, big-endian, and its payload.
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 4 | length of the header up to the payload's length: 116 |
//! | 4 | 32 | type, ASCII, padded with spaces |
//! | 36 | 4 | version of the schema: 1 |
//! | 40 | 8 | created, ms since 1970 |
//! | 48 | 8 | sequence number, signed |
//! | 56 | 8 | flags |
//! | 64 | 16 | id, a UUID, its less significant half first |
//! | 80 | 32 | SHA-256 of the payload |
//! | 112 | 4 | type of the payload |
//! | 116 | 4 | bytes of the payload |

use sha2::{Digest, Sha256};
use uuid::Uuid;

/// The bytes before the payload.
pub const HEADER_BYTES: usize = 120;
/// The most bytes of one payload. The plugin sends 1 KiB of input at a time; a handshake with a long command is the
/// longest payload that there is.
pub const PAYLOAD_BYTES_MAX: usize = 64 << 10;
/// The most bytes of one frame: what a WebSocket need accept.
pub const FRAME_BYTES_MAX: usize = HEADER_BYTES + PAYLOAD_BYTES_MAX;
/// Set on the first message of a series.
pub const FLAG_SYN: u64 = 1;
/// Set on the last message of a series.
pub const FLAG_FIN: u64 = 2;

const HEADER_LENGTH: u32 = 116;
const SCHEMA_VERSION: u32 = 1;

/// Why a frame is not a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MalformedMessage {
    /// The frame ends within the header.
    #[error("frame of {0} bytes is shorter than a header")]
    Truncated(usize),
    /// The payload has more than [`PAYLOAD_BYTES_MAX`] bytes.
    #[error("payload of {0} bytes is larger than {PAYLOAD_BYTES_MAX}")]
    TooLarge(usize),
    /// The header is not of the length that this version of the protocol has.
    #[error("header length is {0}, not {HEADER_LENGTH}")]
    HeaderLength(u32),
    /// The message is of another version of the schema.
    #[error("schema version {0} is not {SCHEMA_VERSION}")]
    SchemaVersion(u32),
    /// The header names another length than the payload has.
    #[error("payload has {found} bytes where the header says {said}")]
    PayloadLength {
        /// In the header.
        said: u32,
        /// In the frame.
        found: usize,
    },
    /// The payload is not the one that the header was made for.
    #[error("payload does not have the digest that the header says")]
    Digest,
    /// This end does not know the type. Skip the frame, as the plugin does.
    #[error("message type {0:?} is not known here")]
    UnknownType(String),
}

/// What a message is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageType {
    /// From the client's terminal: keystrokes, sizes, flags, its part of the handshake.
    InputStreamData,
    /// From the container: output and the server's part of the handshake.
    OutputStreamData,
    /// Answers either of the two.
    Acknowledge,
    /// The session is over.
    ChannelClosed,
    /// The receiver may send stream messages again.
    StartPublication,
    /// Nobody is there to read stream messages: the receiver holds them back.
    PausePublication,
}

impl MessageType {
    const ALL: [Self; 6] = [
        Self::InputStreamData,
        Self::OutputStreamData,
        Self::Acknowledge,
        Self::ChannelClosed,
        Self::StartPublication,
        Self::PausePublication,
    ];

    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::InputStreamData => "input_stream_data",
            Self::OutputStreamData => "output_stream_data",
            Self::Acknowledge => "acknowledge",
            Self::ChannelClosed => "channel_closed",
            Self::StartPublication => "start_publication",
            Self::PausePublication => "pause_publication",
        }
    }

    fn encode(self) -> [u8; 32] {
        let mut field = [b' '; 32];
        for (to, from) in field.iter_mut().zip(self.name().bytes()) {
            *to = from;
        }
        field
    }

    fn decode(field: [u8; 32]) -> Result<Self, MalformedMessage> {
        let text = String::from_utf8_lossy(&field);
        let name = text.trim_matches([' ', '\0']);
        let known = Self::ALL.into_iter().find(|kind| kind.name() == name);
        known.ok_or_else(|| MalformedMessage::UnknownType(name.to_owned()))
    }
}

macro_rules! payload_types {
    ($($(#[$doc:meta])* $name:ident = $number:literal,)*) => {
        /// What a payload holds.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum PayloadType {
            $($(#[$doc])* $name,)*
            /// A number that this crate has no name for.
            Other(u32),
        }

        impl From<u32> for PayloadType {
            fn from(number: u32) -> Self {
                match number { $($number => Self::$name,)* other => Self::Other(other) }
            }
        }

        impl From<PayloadType> for u32 {
            fn from(kind: PayloadType) -> Self {
                match kind { $(PayloadType::$name => $number,)* PayloadType::Other(number) => number }
            }
        }
    };
}

payload_types! {
    /// Not told: acknowledgements and the end of the channel.
    Undefined = 0,
    /// Bytes of the terminal, either way.
    Output = 1,
    /// An error's text.
    Error = 2,
    /// The terminal's size: [`crate::payload::Size`].
    Size = 3,
    /// Parameters of a port session.
    Parameter = 4,
    /// [`crate::payload::HandshakeRequest`].
    HandshakeRequest = 5,
    /// [`crate::payload::HandshakeResponse`].
    HandshakeResponse = 6,
    /// [`crate::payload::HandshakeComplete`].
    HandshakeComplete = 7,
    /// The server tries the key of an encrypted session.
    EncryptionChallengeRequest = 8,
    /// Answers it.
    EncryptionChallengeResponse = 9,
    /// [`crate::payload::Flag`].
    Flag = 10,
    /// Bytes of the process's standard error, where it is kept apart.
    StdErr = 11,
    /// How the process ended: [`crate::payload::encode_exit_code`].
    ExitCode = 12,
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// What it is for.
    pub message_type: MessageType,
    /// Milliseconds since 1970. The plugin refuses 0.
    pub created_ms: u64,
    /// Of a stream message: from 0, one series each way. 0 in others.
    pub sequence_number: i64,
    /// [`FLAG_SYN`] and [`FLAG_FIN`]. The plugin sets none on its stream messages.
    pub flags: u64,
    /// Unique to the message.
    pub id: Uuid,
    /// What the payload holds.
    pub payload_type: PayloadType,
    /// At most [`PAYLOAD_BYTES_MAX`] bytes.
    pub payload: Vec<u8>,
}

impl Message {
    /// The frame's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut frame = Vec::with_capacity(HEADER_BYTES + self.payload.len());
        let (high, low) = self.id.as_u64_pair();
        frame.extend_from_slice(&HEADER_LENGTH.to_be_bytes());
        frame.extend_from_slice(&self.message_type.encode());
        frame.extend_from_slice(&SCHEMA_VERSION.to_be_bytes());
        frame.extend_from_slice(&self.created_ms.to_be_bytes());
        frame.extend_from_slice(&self.sequence_number.to_be_bytes());
        frame.extend_from_slice(&self.flags.to_be_bytes());
        frame.extend_from_slice(&low.to_be_bytes());
        frame.extend_from_slice(&high.to_be_bytes());
        frame.extend_from_slice(&Sha256::digest(&self.payload));
        frame.extend_from_slice(&u32::from(self.payload_type).to_be_bytes());
        frame.extend_from_slice(&u32::try_from(self.payload.len()).unwrap_or(u32::MAX).to_be_bytes());
        frame.extend_from_slice(&self.payload);
        frame
    }

    /// Reads a frame. An empty payload's digest is not looked at: the plugin does not either.
    pub fn decode(frame: &[u8]) -> Result<Self, MalformedMessage> {
        let mut fields = Fields { rest: frame, frame_bytes: frame.len() };
        let header_length = u32::from_be_bytes(fields.take()?);
        if header_length != HEADER_LENGTH {
            return Err(MalformedMessage::HeaderLength(header_length));
        }
        let type_field = fields.take()?;
        let schema_version = u32::from_be_bytes(fields.take()?);
        let created_ms = u64::from_be_bytes(fields.take()?);
        let sequence_number = i64::from_be_bytes(fields.take()?);
        let flags = u64::from_be_bytes(fields.take()?);
        let low = u64::from_be_bytes(fields.take()?);
        let high = u64::from_be_bytes(fields.take()?);
        let digest: [u8; 32] = fields.take()?;
        let payload_type = PayloadType::from(u32::from_be_bytes(fields.take()?));
        let said = u32::from_be_bytes(fields.take()?);
        if schema_version != SCHEMA_VERSION {
            return Err(MalformedMessage::SchemaVersion(schema_version));
        }
        check_payload(fields.rest, said, digest)?;
        let message_type = MessageType::decode(type_field)?;
        let id = Uuid::from_u64_pair(high, low);
        let payload = fields.rest.to_vec();
        Ok(Self { message_type, created_ms, sequence_number, flags, id, payload_type, payload })
    }
}

/// What is left of a frame.
struct Fields<'a> {
    rest: &'a [u8],
    frame_bytes: usize,
}

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], MalformedMessage> {
        let (field, rest) = self.rest.split_first_chunk().ok_or(MalformedMessage::Truncated(self.frame_bytes))?;
        self.rest = rest;
        Ok(*field)
    }
}

fn check_payload(payload: &[u8], said: u32, digest: [u8; 32]) -> Result<(), MalformedMessage> {
    let found = payload.len();
    if found > PAYLOAD_BYTES_MAX {
        return Err(MalformedMessage::TooLarge(found));
    }
    if usize::try_from(said) != Ok(found) {
        return Err(MalformedMessage::PayloadLength { said, found });
    }
    if found > 0 && Sha256::digest(payload).as_slice() != digest {
        return Err(MalformedMessage::Digest);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
