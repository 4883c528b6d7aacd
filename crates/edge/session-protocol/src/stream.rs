//! One reliable direction, seen from each side: what is sent until it is acknowledged, and what arrives put in order.
//!
//! The rules are the plugin's: the oldest message that nobody acknowledged is sent again, after a time that follows
//! the round trip; whatever arrives early is kept and acknowledged. Unlike the plugin, a duplicate is acknowledged
//! again, so that a lost acknowledgement does not stop the stream; and the sender holds little, so that it can make
//! the terminal wait.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use crate::message::Message;
use crate::payload::Acknowledge;

/// How many messages may be unacknowledged before terminal data has to wait.
pub const UNACKNOWLEDGED_DATA_MAX: usize = 256;
/// How many messages may be unacknowledged at all: sizes, flags and the end of a session go out past full data.
pub const UNACKNOWLEDGED_MAX: usize = 320;
/// How many messages are kept that arrived before their turn.
pub const EARLY_MESSAGES_MAX: usize = 320;
/// How many bytes of payload are kept that arrived before their turn.
pub const EARLY_BYTES_MAX: usize = 1 << 20;
/// The first and shortest time before a message is sent again.
pub const RESEND_AFTER_MIN: Duration = Duration::from_millis(200);
/// The longest time before a message is sent again.
pub const RESEND_AFTER_MAX: Duration = Duration::from_secs(1);
/// How long a message may stay unacknowledged before the session is given up.
pub const GIVE_UP_AFTER: Duration = Duration::from_secs(5 * 60);

const ROUND_TRIP_AT_FIRST: Duration = Duration::from_millis(100);
const CLOCK_GRANULARITY: Duration = Duration::from_millis(10);

/// Nobody acknowledged a message for [`GIVE_UP_AFTER`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("message {sequence_number} was not acknowledged for {} s", GIVE_UP_AFTER.as_secs())]
pub struct GaveUp {
    /// The message's.
    pub sequence_number: i64,
}

/// The messages of one series that are not acknowledged yet.
#[derive(Debug)]
pub struct Outgoing {
    /// In the order of their numbers.
    pending: VecDeque<Pending>,
    next: i64,
    paused: bool,
    round_trip: RoundTrip,
}

#[derive(Debug)]
struct Pending {
    sequence_number: i64,
    frame: Vec<u8>,
    queued: Instant,
    /// `None` while publication is paused.
    sent: Option<Instant>,
    resends: u32,
}

impl Outgoing {
    /// A series from 0.
    pub fn new() -> Self {
        Self { pending: VecDeque::new(), next: 0, paused: false, round_trip: RoundTrip::new() }
    }

    /// The number that the next message must have.
    pub fn next_sequence_number(&self) -> i64 {
        self.next
    }

    /// How many more messages of terminal data may be sent now: none while publication is paused.
    pub fn room_for_data(&self) -> usize {
        if self.paused { 0 } else { UNACKNOWLEDGED_DATA_MAX.saturating_sub(self.pending.len()) }
    }

    /// Whether nothing more may be sent, not even what is no terminal data.
    pub fn is_full(&self) -> bool {
        self.pending.len() >= UNACKNOWLEDGED_MAX
    }

    /// Whether everything is acknowledged.
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Takes the message of [`Self::next_sequence_number`], encoded. Gives the frame to send now, unless publication
    /// is paused. The caller has asked [`Self::is_full`].
    pub fn push(&mut self, frame: Vec<u8>, now: Instant) -> Option<Vec<u8>> {
        let sent = (!self.paused).then_some(now);
        let to_send = sent.map(|_| frame.clone());
        self.pending.push_back(Pending { sequence_number: self.next, frame, queued: now, sent, resends: 0 });
        self.next = self.next.saturating_add(1);
        to_send
    }

    /// The message arrived. Whether it was awaited.
    pub fn acknowledge(&mut self, sequence_number: i64, now: Instant) -> bool {
        let found = self.pending.binary_search_by_key(&sequence_number, |pending| pending.sequence_number);
        let Some(pending) = found.ok().and_then(|index| self.pending.remove(index)) else { return false };
        // Of a message that was sent twice nobody knows which of the two was acknowledged.
        if let (Some(sent), 0) = (pending.sent, pending.resends) {
            self.round_trip.observe(now.saturating_duration_since(sent));
        }
        true
    }

    /// Nothing more is sent until [`Self::start`]. The time to give up goes on.
    pub fn pause(&mut self) {
        self.paused = true;
    }

    /// Ends a pause: the frames that waited, in order.
    pub fn start(&mut self, now: Instant) -> Vec<Vec<u8>> {
        self.paused = false;
        let mut frames = Vec::new();
        for pending in self.pending.iter_mut().filter(|pending| pending.sent.is_none()) {
            pending.sent = Some(now);
            frames.push(pending.frame.clone());
        }
        frames
    }

    /// There is a new connection: everything unacknowledged goes out again, in order.
    pub fn restart(&mut self, now: Instant) -> Vec<Vec<u8>> {
        for pending in self.pending.iter_mut().filter(|pending| pending.sent.is_some()) {
            pending.sent = None;
            pending.resends = pending.resends.saturating_add(1);
        }
        self.start(now)
    }

    /// When [`Self::tick`] next has something to do.
    pub fn deadline(&self) -> Option<Instant> {
        let oldest = self.pending.front()?;
        let give_up = oldest.queued + GIVE_UP_AFTER;
        Some(self.resend_at(oldest).map_or(give_up, |resend| resend.min(give_up)))
    }

    /// Gives the oldest message's frame when it is due again.
    pub fn tick(&mut self, now: Instant) -> Result<Option<Vec<u8>>, GaveUp> {
        let Some(oldest) = self.pending.front() else { return Ok(None) };
        if now >= oldest.queued + GIVE_UP_AFTER {
            return Err(GaveUp { sequence_number: oldest.sequence_number });
        }
        let is_due = self.resend_at(oldest).is_some_and(|at| now >= at);
        let Some(oldest) = self.pending.front_mut().filter(|_| is_due) else { return Ok(None) };
        oldest.sent = Some(now);
        oldest.resends = oldest.resends.saturating_add(1);
        Ok(Some(oldest.frame.clone()))
    }

    fn resend_at(&self, pending: &Pending) -> Option<Instant> {
        let sent = pending.sent.filter(|_| !self.paused)?;
        Some(sent + self.round_trip.resend_after(pending.resends))
    }
}

impl Default for Outgoing {
    fn default() -> Self {
        Self::new()
    }
}

/// How long a message and its acknowledgement take, smoothed as TCP does it.
#[derive(Debug)]
struct RoundTrip {
    mean: Duration,
    variation: Duration,
    /// `None` before the first measurement.
    timeout: Option<Duration>,
}

impl RoundTrip {
    fn new() -> Self {
        Self { mean: ROUND_TRIP_AT_FIRST, variation: Duration::ZERO, timeout: None }
    }

    fn observe(&mut self, measured: Duration) {
        let measured = measured.min(GIVE_UP_AFTER);
        self.variation = (self.variation * 3 + self.mean.abs_diff(measured)) / 4;
        self.mean = (self.mean * 7 + measured) / 8;
        self.timeout = Some(self.mean + CLOCK_GRANULARITY.max(self.variation * 4));
    }

    /// Doubles with each time that the message was sent again.
    fn resend_after(&self, resends: u32) -> Duration {
        let first = self.timeout.unwrap_or(RESEND_AFTER_MIN).max(RESEND_AFTER_MIN);
        first.saturating_mul(1 << resends.min(8)).min(RESEND_AFTER_MAX)
    }
}

/// The messages of one series that arrive.
#[derive(Debug, Default)]
pub struct Incoming {
    expected: i64,
    early: BTreeMap<i64, Message>,
    early_bytes: usize,
}

/// What came of a message.
#[derive(Debug, Default)]
pub struct Received {
    /// To send; `None` when there was no room for a message that came early, so that it is sent again.
    pub acknowledge: Option<Acknowledge>,
    /// The messages whose turn it is, in order.
    pub delivered: Vec<Message>,
}

impl Incoming {
    /// A series from 0.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a stream message.
    pub fn receive(&mut self, message: Message) -> Received {
        let acknowledge = Some(acknowledgement(&message));
        if message.sequence_number == self.expected {
            return Received { acknowledge, delivered: self.deliver(message) };
        }
        let is_known = message.sequence_number < self.expected || self.early.contains_key(&message.sequence_number);
        if !is_known && !self.keep(message) {
            return Received::default();
        }
        Received { acknowledge, delivered: Vec::new() }
    }

    /// Whether there was room.
    fn keep(&mut self, message: Message) -> bool {
        let bytes = self.early_bytes.saturating_add(message.payload.len());
        let has_room = self.early.len() < EARLY_MESSAGES_MAX && bytes <= EARLY_BYTES_MAX;
        if has_room {
            self.early_bytes = bytes;
            self.early.insert(message.sequence_number, message);
        }
        has_room
    }

    fn deliver(&mut self, message: Message) -> Vec<Message> {
        let mut delivered = vec![message];
        self.expected = self.expected.saturating_add(1);
        while let Some(message) = self.early.remove(&self.expected) {
            self.early_bytes = self.early_bytes.saturating_sub(message.payload.len());
            self.expected = self.expected.saturating_add(1);
            delivered.push(message);
        }
        delivered
    }
}

fn acknowledgement(message: &Message) -> Acknowledge {
    Acknowledge {
        acknowledged_message_type: message.message_type.name().to_owned(),
        acknowledged_message_id: message.id.to_string(),
        acknowledged_message_sequence_number: message.sequence_number,
        is_sequential_message: true,
    }
}

#[cfg(test)]
mod tests;
