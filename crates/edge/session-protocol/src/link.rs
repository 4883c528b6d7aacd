//! What both ends of a session do alike: numbering, acknowledging, resending, and the frames that wait to be taken.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::DATA_BYTES_MAX;
use crate::message::{FLAG_FIN, FLAG_SYN, MalformedMessage, Message, MessageType, PAYLOAD_BYTES_MAX, PayloadType};
use crate::payload::{self, Acknowledge};
use crate::stream::{GaveUp, Incoming, Outgoing};

/// How many frames wait to be taken. Those beyond are dropped, as a network might: they are sent again when due.
pub const FRAMES_MAX: usize = 1024;
/// How long the handshake may take.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(30);

/// Why something cannot be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The handshake is not done, or the session is over.
    #[error("session is not open")]
    NotOpen,
    /// The other end has not acknowledged what was sent: try again later.
    #[error("too many messages are unacknowledged")]
    Full,
    /// The payload has more than [`PAYLOAD_BYTES_MAX`] bytes.
    #[error("payload of {0} bytes is larger than {PAYLOAD_BYTES_MAX}")]
    TooLarge(usize),
}

/// Why a session cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// A frame is no message.
    #[error("frame is no message")]
    Malformed(#[from] MalformedMessage),
    /// A payload's JSON is not of the form that its type demands.
    #[error("payload of {kind} is malformed")]
    Json {
        /// What the payload is.
        kind: &'static str,
        /// What serde found.
        source: serde_json::Error,
    },
    /// A payload's bytes are not of the form that its type demands.
    #[error("payload of {0} is malformed")]
    Payload(&'static str),
    /// A message came that only an open session has.
    #[error("payload type {0:?} came before the handshake was done")]
    BeforeHandshake(PayloadType),
    /// The client cannot do what the server requested.
    #[error("client refused the session: {0}")]
    HandshakeRefused(String),
    /// The other end took longer than [`HANDSHAKE_TIMEOUT`].
    #[error("handshake was not done after {} s", HANDSHAKE_TIMEOUT.as_secs())]
    HandshakeTimeout,
    /// The other end is silent.
    #[error("the other end is silent")]
    GaveUp(#[from] GaveUp),
    /// An answer cannot be sent.
    #[error("cannot answer")]
    Send(#[from] SendError),
}

/// What a frame brought that the link has no use for itself.
pub(crate) enum Arrived {
    /// A stream message whose turn it is.
    Stream(Message),
    /// The payload of `channel_closed`.
    Closed(Vec<u8>),
    /// A message that this end does not know or expect: for the log.
    Skipped(String),
}

pub(crate) struct Link {
    sends: MessageType,
    started: Instant,
    started_ms: u64,
    outgoing: Outgoing,
    incoming: Incoming,
    frames: VecDeque<Vec<u8>>,
}

impl Link {
    /// An end that sends stream messages of type `sends`; `now_ms` is the wall clock at `now`, since 1970.
    pub fn new(sends: MessageType, now: Instant, now_ms: u64) -> Self {
        let (outgoing, incoming) = (Outgoing::new(), Incoming::new());
        Self { sends, started: now, started_ms: now_ms, outgoing, incoming, frames: VecDeque::new() }
    }

    pub fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.started)
    }

    pub fn handshake_deadline(&self) -> Instant {
        self.started + HANDSHAKE_TIMEOUT
    }

    /// How many bytes of terminal data [`Self::send_data`] takes now.
    pub fn room_bytes(&self) -> usize {
        self.outgoing.room_for_data().saturating_mul(DATA_BYTES_MAX)
    }

    pub fn is_all_acknowledged(&self) -> bool {
        self.outgoing.is_empty()
    }

    /// Sends terminal data in messages of at most [`DATA_BYTES_MAX`] bytes. Gives how many bytes there was room for.
    pub fn send_data(&mut self, payload_type: PayloadType, bytes: &[u8], now: Instant) -> usize {
        let mut taken = 0_usize;
        for chunk in bytes.chunks(DATA_BYTES_MAX).take(self.outgoing.room_for_data()) {
            if self.send(payload_type, chunk.to_vec(), now).is_err() {
                break;
            }
            taken = taken.saturating_add(chunk.len());
        }
        taken
    }

    pub fn send(&mut self, payload_type: PayloadType, payload: Vec<u8>, now: Instant) -> Result<(), SendError> {
        if payload.len() > PAYLOAD_BYTES_MAX {
            return Err(SendError::TooLarge(payload.len()));
        }
        if self.outgoing.is_full() {
            return Err(SendError::Full);
        }
        let sequence_number = self.outgoing.next_sequence_number();
        let flags = if sequence_number == 0 { FLAG_SYN } else { 0 };
        let message = Message { sequence_number, flags, payload_type, ..self.message(self.sends, payload, now) };
        if let Some(frame) = self.outgoing.push(message.encode(), now) {
            self.queue(frame);
        }
        Ok(())
    }

    /// A message that stands alone: it is neither numbered nor acknowledged.
    pub fn message(&self, message_type: MessageType, payload: Vec<u8>, now: Instant) -> Message {
        Message {
            message_type,
            created_ms: self.wall_ms(now),
            sequence_number: 0,
            flags: FLAG_SYN | FLAG_FIN,
            id: Uuid::new_v4(),
            payload_type: PayloadType::Undefined,
            payload,
        }
    }

    pub fn queue(&mut self, frame: Vec<u8>) {
        if self.frames.len() < FRAMES_MAX {
            self.frames.push_back(frame);
        }
    }

    pub fn take_frames(&mut self) -> Vec<Vec<u8>> {
        self.frames.drain(..).collect()
    }

    pub fn receive(&mut self, frame: &[u8], now: Instant) -> Result<Vec<Arrived>, SessionError> {
        let message = match Message::decode(frame) {
            Ok(message) => message,
            Err(unknown @ MalformedMessage::UnknownType(_)) => return Ok(vec![Arrived::Skipped(unknown.to_string())]),
            Err(malformed) => return Err(malformed.into()),
        };
        match message.message_type {
            MessageType::Acknowledge => self.acknowledged(&message.payload, now)?,
            MessageType::StartPublication => self.start_publication(now),
            MessageType::PausePublication => self.outgoing.pause(),
            MessageType::ChannelClosed => return Ok(vec![Arrived::Closed(message.payload)]),
            kind if kind != self.sends => return Ok(self.stream_message(message, now)),
            own => return Ok(vec![Arrived::Skipped(format!("message type {} is not for this end", own.name()))]),
        }
        Ok(Vec::new())
    }

    fn acknowledged(&mut self, payload: &[u8], now: Instant) -> Result<(), SessionError> {
        let acknowledge: Acknowledge = read(payload, "acknowledge")?;
        self.outgoing.acknowledge(acknowledge.acknowledged_message_sequence_number, now);
        Ok(())
    }

    fn start_publication(&mut self, now: Instant) {
        for frame in self.outgoing.start(now) {
            self.queue(frame);
        }
    }

    fn stream_message(&mut self, message: Message, now: Instant) -> Vec<Arrived> {
        let received = self.incoming.receive(message);
        if let Some(acknowledge) = received.acknowledge {
            let message = self.message(MessageType::Acknowledge, payload::encode(&acknowledge), now);
            self.queue(message.encode());
        }
        received.delivered.into_iter().map(Arrived::Stream).collect()
    }

    /// There is a new connection: what waited for the old one goes, what is unacknowledged is sent again.
    pub fn reconnected(&mut self, now: Instant) {
        self.frames.clear();
        for frame in self.outgoing.restart(now) {
            self.queue(frame);
        }
    }

    pub fn deadline(&self) -> Option<Instant> {
        self.outgoing.deadline()
    }

    pub fn tick(&mut self, now: Instant) -> Result<(), GaveUp> {
        if let Some(frame) = self.outgoing.tick(now)? {
            self.queue(frame);
        }
        Ok(())
    }

    /// The wall clock at `now`, in milliseconds since 1970.
    fn wall_ms(&self, now: Instant) -> u64 {
        self.started_ms.saturating_add(u64::try_from(self.age(now).as_millis()).unwrap_or(u64::MAX))
    }
}

/// Reads a payload's JSON.
pub(crate) fn read<T: DeserializeOwned>(payload: &[u8], kind: &'static str) -> Result<T, SessionError> {
    payload::decode(payload).map_err(|source| SessionError::Json { kind, source })
}
