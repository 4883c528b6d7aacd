//! The node's end of a session: requests the handshake, gives what the client types, takes what the terminal shows.

use std::time::Instant;

use serde_json::Value;

use crate::link::{Arrived, Link, SendError, SessionError, read};
use crate::message::{Message, MessageType, PayloadType};
use crate::payload::{
    self, ACTION_SESSION_TYPE, ActionStatus, ChannelClosed, Flag, HandshakeComplete, HandshakeRequest,
    HandshakeResponse, RequestedClientAction, SessionType, SessionTypeParameters, Size,
};
use crate::stream::RESEND_AFTER_MAX;

/// How often `channel_closed` is sent, a second apart, to a client that stays connected: nobody acknowledges it.
const CLOSED_SENDS_MAX: u32 = 30;
/// The most bytes of the text that a session ends with; JSON makes at most six of each.
const CLOSED_TEXT_BYTES_MAX: usize = 8 << 10;

/// What a session is about.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionOptions {
    /// The id that the API gave the client.
    pub session_id: String,
    /// What the session is with, as `ecs:CLUSTER_TASK_RUNTIME`.
    pub destination_id: String,
    /// The server's version, told in the handshake.
    pub agent_version: String,
    /// The kind of session.
    pub session_type: SessionType,
    /// What belongs to the kind; the plugin looks at none of a shell or a command.
    pub properties: Value,
    /// Shown to the user when the session starts, unless it is empty.
    pub customer_message: String,
}

/// What the client did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerEvent {
    /// The session is open: output is taken from now on.
    HandshakeDone {
        /// What the client says of itself.
        client_version: String,
    },
    /// Bytes for the terminal.
    Input(Vec<u8>),
    /// The client's terminal has this size.
    Size(Size),
    /// The client ends the session: the process is to be ended, then [`Server::close`] called.
    Terminate,
    /// A message that is not known or not expected here: for the log.
    Skipped(String),
}

enum Phase {
    Handshake,
    Open,
    /// All that was sent has to be acknowledged first: the client ends at `channel_closed`, whatever is still missing.
    Closing(String),
    Closed {
        frame: Vec<u8>,
        sent: Instant,
        sends: u32,
    },
}

/// The node's end of one session.
pub struct Server {
    options: SessionOptions,
    link: Link,
    phase: Phase,
}

impl Server {
    /// Starts a session whose client has shown its token. `now_ms` is the wall clock at `now`, in milliseconds since
    /// 1970, not 0. Fails when the properties are too large for one message.
    pub fn new(options: SessionOptions, now: Instant, now_ms: u64) -> Result<Self, SendError> {
        let mut link = Link::new(MessageType::OutputStreamData, now, now_ms);
        let request = payload::encode(&handshake_request(&options));
        link.send(PayloadType::HandshakeRequest, request, now)?;
        Ok(Self { options, link, phase: Phase::Handshake })
    }

    /// Takes a binary frame; gives what it brought, in order. An error ends the session: nothing but
    /// [`Self::close`] makes sense after it.
    pub fn receive(&mut self, frame: &[u8], now: Instant) -> Result<Vec<ServerEvent>, SessionError> {
        let mut events = Vec::new();
        for arrived in self.link.receive(frame, now)? {
            events.extend(self.arrived(arrived, now)?);
        }
        self.close_when_acknowledged(now);
        Ok(events)
    }

    fn arrived(&mut self, arrived: Arrived, now: Instant) -> Result<Option<ServerEvent>, SessionError> {
        match (arrived, &self.phase) {
            (_, Phase::Closed { .. }) => Ok(None),
            (Arrived::Stream(message), Phase::Handshake) => self.handshake_response(&message, now).map(Some),
            (Arrived::Stream(message), _) => event(message).map(Some),
            (Arrived::Closed(_), _) => Ok(Some(ServerEvent::Skipped("channel_closed is not for this end".to_owned()))),
            (Arrived::Skipped(why), _) => Ok(Some(ServerEvent::Skipped(why))),
        }
    }

    fn handshake_response(&mut self, message: &Message, now: Instant) -> Result<ServerEvent, SessionError> {
        if message.payload_type != PayloadType::HandshakeResponse {
            return Err(SessionError::BeforeHandshake(message.payload_type));
        }
        let response: HandshakeResponse = read(&message.payload, "handshake response")?;
        check_response(&response)?;
        let complete = HandshakeComplete {
            handshake_time_to_complete: i64::try_from(self.link.age(now).as_nanos()).unwrap_or(i64::MAX),
            customer_message: self.options.customer_message.clone(),
        };
        self.link.send(PayloadType::HandshakeComplete, payload::encode(&complete), now)?;
        self.phase = Phase::Open;
        Ok(ServerEvent::HandshakeDone { client_version: response.client_version })
    }

    /// How many bytes [`Self::output`] and [`Self::stderr`] take now. At 0, stop reading the terminal.
    pub fn room_bytes(&self) -> usize {
        if matches!(self.phase, Phase::Open) { self.link.room_bytes() } else { 0 }
    }

    /// Sends what the terminal shows. Gives how many bytes were taken: the rest has to be offered again.
    pub fn output(&mut self, bytes: &[u8], now: Instant) -> usize {
        self.data(PayloadType::Output, bytes, now)
    }

    /// Sends what the process wrote to its standard error, where it has no terminal. The plugin shows it with the
    /// rest. Gives how many bytes were taken.
    pub fn stderr(&mut self, bytes: &[u8], now: Instant) -> usize {
        self.data(PayloadType::StdErr, bytes, now)
    }

    fn data(&mut self, payload_type: PayloadType, bytes: &[u8], now: Instant) -> usize {
        if matches!(self.phase, Phase::Open) { self.link.send_data(payload_type, bytes, now) } else { 0 }
    }

    /// Tells how the process ended. AWS's agent does so only for commands without a terminal, and the plugin prints
    /// the text of it: for clients that are known to understand it.
    pub fn exit_code(&mut self, code: i32, now: Instant) -> Result<(), SendError> {
        if !matches!(self.phase, Phase::Open) {
            return Err(SendError::NotOpen);
        }
        self.link.send(PayloadType::ExitCode, payload::encode_exit_code(code), now)
    }

    /// Ends the session. `channel_closed` goes out once everything before it is acknowledged, at once when the
    /// handshake is not done. The client shows `output_text`, of which 8 KiB are sent.
    pub fn close(&mut self, output_text: &str, now: Instant) {
        let text = truncated(output_text);
        match self.phase {
            Phase::Handshake => self.send_closed(text, now),
            Phase::Open => self.phase = Phase::Closing(text),
            Phase::Closing(_) | Phase::Closed { .. } => {}
        }
        self.close_when_acknowledged(now);
    }

    fn close_when_acknowledged(&mut self, now: Instant) {
        if let Phase::Closing(text) = &mut self.phase
            && self.link.is_all_acknowledged()
        {
            let text = std::mem::take(text);
            self.send_closed(text, now);
        }
    }

    fn send_closed(&mut self, output: String, now: Instant) {
        let mut message = self.link.message(MessageType::ChannelClosed, Vec::new(), now);
        let closed = ChannelClosed {
            message_id: message.id.to_string(),
            created_date: message.created_ms.to_string(),
            destination_id: self.options.destination_id.clone(),
            session_id: self.options.session_id.clone(),
            message_type: MessageType::ChannelClosed.name().to_owned(),
            schema_version: 1,
            output,
        };
        message.payload = payload::encode(&closed);
        let frame = message.encode();
        self.link.queue(frame.clone());
        self.phase = Phase::Closed { frame, sent: now, sends: 1 };
    }

    /// Whether `channel_closed` is among the frames that were or can be taken: once they are sent, close the
    /// connection.
    pub fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed { .. })
    }

    /// The binary frames to send, in order.
    pub fn take_frames(&mut self) -> Vec<Vec<u8>> {
        self.link.take_frames()
    }

    /// The client is back with a new connection and a new token: sends again what it may have missed.
    pub fn reconnected(&mut self, now: Instant) {
        self.link.reconnected(now);
        if let Phase::Closed { frame, sent, .. } = &mut self.phase {
            *sent = now;
            self.link.queue(frame.clone());
        }
    }

    /// When [`Self::tick`] is next to be called.
    pub fn deadline(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Handshake => self.link.deadline().into_iter().chain([self.link.handshake_deadline()]).min(),
            Phase::Open | Phase::Closing(_) => self.link.deadline(),
            Phase::Closed { sent, sends, .. } => (*sends < CLOSED_SENDS_MAX).then(|| *sent + RESEND_AFTER_MAX),
        }
    }

    /// Does what is due: resends, or says that the client is gone. Early calls do no harm.
    pub fn tick(&mut self, now: Instant) -> Result<(), SessionError> {
        match &mut self.phase {
            Phase::Closed { frame, sent, sends } if *sends < CLOSED_SENDS_MAX && now >= *sent + RESEND_AFTER_MAX => {
                *sent = now;
                *sends = sends.saturating_add(1);
                self.link.queue(frame.clone());
                Ok(())
            }
            Phase::Closed { .. } => Ok(()),
            Phase::Handshake if now >= self.link.handshake_deadline() => Err(SessionError::HandshakeTimeout),
            Phase::Handshake | Phase::Open | Phase::Closing(_) => Ok(self.link.tick(now)?),
        }
    }
}

fn handshake_request(options: &SessionOptions) -> HandshakeRequest {
    let parameters = serde_json::to_value(SessionTypeParameters {
        session_type: options.session_type.name().to_owned(),
        properties: options.properties.clone(),
    });
    let action = RequestedClientAction {
        action_type: ACTION_SESSION_TYPE.to_owned(),
        action_parameters: parameters.unwrap_or_default(),
    };
    HandshakeRequest { agent_version: options.agent_version.clone(), requested_client_actions: vec![action] }
}

/// The front of a text, of at most [`CLOSED_TEXT_BYTES_MAX`] bytes and whole characters.
fn truncated(text: &str) -> String {
    let is_within = |(start, character): &(usize, char)| start + character.len_utf8() <= CLOSED_TEXT_BYTES_MAX;
    text.char_indices().take_while(is_within).map(|(_, character)| character).collect()
}

fn check_response(response: &HandshakeResponse) -> Result<(), SessionError> {
    let action = response.processed_client_actions.iter().find(|action| action.action_type == ACTION_SESSION_TYPE);
    match action {
        Some(action) if action.action_status == ActionStatus::Success => Ok(()),
        Some(action) => Err(SessionError::HandshakeRefused(action.error.clone())),
        None => Err(SessionError::HandshakeRefused(format!("no answer to {ACTION_SESSION_TYPE}"))),
    }
}

fn event(message: Message) -> Result<ServerEvent, SessionError> {
    Ok(match message.payload_type {
        PayloadType::Output => ServerEvent::Input(message.payload),
        PayloadType::Size => ServerEvent::Size(read(&message.payload, "size")?),
        PayloadType::Flag => match Flag::decode(&message.payload).ok_or(SessionError::Payload("flag"))? {
            Flag::TerminateSession => ServerEvent::Terminate,
            other => ServerEvent::Skipped(format!("flag {other:?} is not for a session with a terminal")),
        },
        other => ServerEvent::Skipped(format!("payload type {other:?} is not for this end")),
    })
}

#[cfg(test)]
mod tests;
