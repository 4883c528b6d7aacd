//! The session protocol: what AWS's Session Manager plugin and the agent at the other end of a shell exchange.
//!
//! A session is one WebSocket: a text frame with the token ([`payload::OpenDataChannel`]), then binary frames, one
//! [`Message`] each. Both ends number what they send, acknowledge what they get, and resend what was not
//! acknowledged. [`Server`] is the node's end, [`Client`] the plugin's. No I/O and no clock here: frames go in and
//! out as bytes, time comes in as an argument, and each end says when it next wants to be woken.

mod client;
mod link;
mod message;
pub mod payload;
mod server;
pub mod stream;

pub use client::{Client, ClientEvent};
pub use link::{FRAMES_MAX, HANDSHAKE_TIMEOUT, SendError, SessionError};
pub use message::{
    FLAG_FIN, FLAG_SYN, FRAME_BYTES_MAX, HEADER_BYTES, MalformedMessage, Message, MessageType, PAYLOAD_BYTES_MAX,
    PayloadType,
};
pub use server::{Server, ServerEvent, SessionOptions};

/// The most bytes of a terminal's input or output that go into one message. The plugin and the agent use the same.
pub const DATA_BYTES_MAX: usize = 1024;
