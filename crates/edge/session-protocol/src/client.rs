//! The plugin's end of a session: answers the handshake, sends what the user types, gives what the container shows.

use std::time::Instant;

use serde_json::Value;
use uuid::Uuid;

use crate::link::{Arrived, Link, SendError, SessionError, read};
use crate::message::{Message, MessageType, PayloadType};
use crate::payload::{
    self, ACTION_SESSION_TYPE, ActionStatus, ChannelClosed, Flag, HandshakeComplete, HandshakeRequest,
    HandshakeResponse, OPEN_SCHEMA_VERSION, OpenDataChannel, ProcessedClientAction, RequestedClientAction, SessionType,
    SessionTypeParameters, Size,
};

/// What the server did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientEvent {
    /// The session is open: input is taken from now on.
    HandshakeDone {
        /// To be shown to the user, unless it is empty.
        customer_message: String,
    },
    /// Bytes for the user's terminal.
    Output(Vec<u8>),
    /// Bytes of the process's standard error.
    StdErr(Vec<u8>),
    /// How the process ended.
    ExitCode(i32),
    /// The session is over. The text is to be shown to the user, unless it is empty.
    Closed(String),
    /// A message that is not known or not expected here: for the log.
    Skipped(String),
}

#[derive(Clone, Copy, PartialEq)]
enum Phase {
    Handshake,
    Open,
    Closed,
}

/// The plugin's end of one session.
pub struct Client {
    version: String,
    id: Uuid,
    link: Link,
    phase: Phase,
}

impl Client {
    /// A session that is about to be opened. `now_ms` is the wall clock at `now`, in milliseconds since 1970, not 0.
    pub fn new(client_version: &str, now: Instant, now_ms: u64) -> Self {
        let link = Link::new(MessageType::InputStreamData, now, now_ms);
        Self { version: client_version.to_owned(), id: Uuid::new_v4(), link, phase: Phase::Handshake }
    }

    /// The text frame that comes first on a connection. `token` is the one that the API gave with the stream's URL.
    pub fn opening_frame(&self, token: &str) -> String {
        let open = OpenDataChannel {
            message_schema_version: OPEN_SCHEMA_VERSION.to_owned(),
            request_id: Uuid::new_v4().to_string(),
            token_value: token.to_owned(),
            client_id: self.id.to_string(),
            client_version: self.version.clone(),
        };
        String::from_utf8(payload::encode(&open)).unwrap_or_default()
    }

    /// Takes a binary frame; gives what it brought, in order. An error ends the session.
    pub fn receive(&mut self, frame: &[u8], now: Instant) -> Result<Vec<ClientEvent>, SessionError> {
        let mut events = Vec::new();
        for arrived in self.link.receive(frame, now)? {
            if self.phase != Phase::Closed {
                events.extend(self.arrived(arrived, now)?);
            }
        }
        Ok(events)
    }

    fn arrived(&mut self, arrived: Arrived, now: Instant) -> Result<Option<ClientEvent>, SessionError> {
        match arrived {
            Arrived::Stream(message) => self.stream_message(message, now),
            Arrived::Closed(payload) => {
                let closed: ChannelClosed = read(&payload, "channel_closed")?;
                self.phase = Phase::Closed;
                Ok(Some(ClientEvent::Closed(closed.output)))
            }
            Arrived::Skipped(why) => Ok(Some(ClientEvent::Skipped(why))),
        }
    }

    fn stream_message(&mut self, message: Message, now: Instant) -> Result<Option<ClientEvent>, SessionError> {
        Ok(Some(match message.payload_type {
            PayloadType::HandshakeRequest => {
                let request: HandshakeRequest = read(&message.payload, "handshake request")?;
                let response = payload::encode(&self.answer(request));
                self.link.send(PayloadType::HandshakeResponse, response, now)?;
                return Ok(None);
            }
            PayloadType::HandshakeComplete => {
                let complete: HandshakeComplete = read(&message.payload, "handshake complete")?;
                self.phase = Phase::Open;
                ClientEvent::HandshakeDone { customer_message: complete.customer_message }
            }
            PayloadType::Output => ClientEvent::Output(message.payload),
            PayloadType::StdErr => ClientEvent::StdErr(message.payload),
            PayloadType::ExitCode => {
                let code = payload::decode_exit_code(&message.payload);
                ClientEvent::ExitCode(code.ok_or(SessionError::Payload("exit code"))?)
            }
            other => ClientEvent::Skipped(format!("payload type {other:?} is not for this end")),
        }))
    }

    fn answer(&self, request: HandshakeRequest) -> HandshakeResponse {
        let processed: Vec<_> = request.requested_client_actions.into_iter().map(process).collect();
        let errors = processed.iter().map(|action| action.error.clone()).filter(|error| !error.is_empty()).collect();
        HandshakeResponse { client_version: self.version.clone(), processed_client_actions: processed, errors }
    }

    /// How many bytes [`Self::input`] takes now. At 0, stop reading what the user types.
    pub fn room_bytes(&self) -> usize {
        if self.phase == Phase::Open { self.link.room_bytes() } else { 0 }
    }

    /// Sends what the user typed. Gives how many bytes were taken: the rest has to be offered again.
    pub fn input(&mut self, bytes: &[u8], now: Instant) -> usize {
        if self.phase == Phase::Open { self.link.send_data(PayloadType::Output, bytes, now) } else { 0 }
    }

    /// Says that nothing more will be typed: an input of no bytes, which the plugin never sends. For servers that are known to
    /// understand it.
    pub fn end_input(&mut self, now: Instant) -> Result<(), SendError> {
        self.send(PayloadType::Output, Vec::new(), now)
    }

    /// Tells the terminal's size: at the start, and whenever it changes.
    pub fn size(&mut self, size: Size, now: Instant) -> Result<(), SendError> {
        self.send(PayloadType::Size, payload::encode(&size), now)
    }

    /// Asks the server to end the session; [`ClientEvent::Closed`] follows.
    pub fn terminate(&mut self, now: Instant) -> Result<(), SendError> {
        self.send(PayloadType::Flag, Flag::TerminateSession.encode().to_vec(), now)
    }

    fn send(&mut self, payload_type: PayloadType, payload: Vec<u8>, now: Instant) -> Result<(), SendError> {
        if self.phase != Phase::Open {
            return Err(SendError::NotOpen);
        }
        self.link.send(payload_type, payload, now)
    }

    /// Whether [`ClientEvent::Closed`] was given.
    pub fn is_closed(&self) -> bool {
        self.phase == Phase::Closed
    }

    /// The binary frames to send, in order.
    pub fn take_frames(&mut self) -> Vec<Vec<u8>> {
        self.link.take_frames()
    }

    /// There is a new connection, and [`Self::opening_frame`] was sent on it: sends again what may have been missed.
    pub fn reconnected(&mut self, now: Instant) {
        self.link.reconnected(now);
    }

    /// When [`Self::tick`] is next to be called.
    pub fn deadline(&self) -> Option<Instant> {
        let handshake = (self.phase == Phase::Handshake).then(|| self.link.handshake_deadline());
        let resend = self.link.deadline().filter(|_| self.phase != Phase::Closed);
        handshake.into_iter().chain(resend).min()
    }

    /// Does what is due: resends, or says that the server is gone. Early calls do no harm.
    pub fn tick(&mut self, now: Instant) -> Result<(), SessionError> {
        match self.phase {
            Phase::Closed => Ok(()),
            Phase::Handshake if now >= self.link.handshake_deadline() => Err(SessionError::HandshakeTimeout),
            Phase::Handshake | Phase::Open => Ok(self.link.tick(now)?),
        }
    }
}

/// Does one action of the handshake. Encryption is refused: the server then ends the session.
fn process(action: RequestedClientAction) -> ProcessedClientAction {
    let (action_status, error) = match action.action_type.as_str() {
        ACTION_SESSION_TYPE => session_type(action.action_parameters),
        other => (ActionStatus::Unsupported, format!("Unsupported action {other}")),
    };
    ProcessedClientAction { action_type: action.action_type, action_status, action_result: Value::Null, error }
}

fn session_type(parameters: Value) -> (ActionStatus, String) {
    let parameters: SessionTypeParameters = match serde_json::from_value(parameters) {
        Ok(parameters) => parameters,
        Err(error) => return (ActionStatus::Failed, format!("Malformed session type: {error}")),
    };
    match SessionType::from_name(&parameters.session_type) {
        Some(_) => (ActionStatus::Success, String::new()),
        None => (ActionStatus::Failed, format!("Unknown session type {}", parameters.session_type)),
    }
}
