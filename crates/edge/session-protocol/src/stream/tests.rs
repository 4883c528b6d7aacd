//! When a message is sent again, and in which order messages come out.

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::message::{MessageType, PayloadType};

const MS: Duration = Duration::from_millis(1);

fn message(sequence_number: i64) -> Message {
    Message {
        message_type: MessageType::InputStreamData,
        created_ms: 1,
        sequence_number,
        flags: 0,
        id: Uuid::nil(),
        payload_type: PayloadType::Output,
        payload: sequence_number.to_string().into_bytes(),
    }
}

fn numbers(messages: &[Message]) -> Vec<i64> {
    messages.iter().map(|message| message.sequence_number).collect()
}

#[test]
fn the_oldest_is_sent_again_with_growing_pauses() {
    let start = Instant::now();
    let mut outgoing = Outgoing::new();
    outgoing.push(vec![0], start);
    outgoing.push(vec![1], start);
    let mut now = start;
    for pause_ms in [200, 400, 800, 1000, 1000] {
        assert_eq!(outgoing.deadline(), Some(now + MS * pause_ms));
        assert_eq!(outgoing.tick(now + MS * (pause_ms - 1)), Ok(None));
        now += MS * pause_ms;
        assert_eq!(outgoing.tick(now), Ok(Some(vec![0])));
    }
    assert!(outgoing.acknowledge(0, now));
    assert_eq!(outgoing.tick(now), Ok(Some(vec![1])));
}

#[test]
fn a_silent_end_is_given_up() {
    let start = Instant::now();
    let mut outgoing = Outgoing::new();
    outgoing.push(vec![0], start);
    let mut ticks = 0;
    let error = loop {
        let now = outgoing.deadline().unwrap();
        assert!(now <= start + GIVE_UP_AFTER);
        ticks += 1;
        if let Err(error) = outgoing.tick(now) {
            break error;
        }
    };
    assert_eq!(error, GaveUp { sequence_number: 0 });
    assert!((300..320).contains(&ticks));
}

#[test]
fn a_slow_end_is_given_more_time() {
    let start = Instant::now();
    let mut outgoing = Outgoing::new();
    outgoing.push(vec![0], start);
    assert!(outgoing.acknowledge(0, start + MS * 600));
    outgoing.push(vec![1], start + MS * 600);
    let waits = outgoing.deadline().unwrap() - (start + MS * 600);
    assert!(waits > RESEND_AFTER_MIN && waits <= RESEND_AFTER_MAX, "{waits:?}");
}

#[test]
fn what_nobody_sent_cannot_be_acknowledged() {
    let mut outgoing = Outgoing::new();
    outgoing.push(vec![0], Instant::now());
    assert!(!outgoing.acknowledge(1, Instant::now()));
    assert!(!outgoing.acknowledge(-1, Instant::now()));
    assert!(outgoing.acknowledge(0, Instant::now()));
    assert!(!outgoing.acknowledge(0, Instant::now()));
    assert!(outgoing.is_empty());
}

#[test]
fn data_waits_before_the_rest_does() {
    let now = Instant::now();
    let mut outgoing = Outgoing::new();
    for _ in 0..UNACKNOWLEDGED_DATA_MAX {
        assert!(outgoing.room_for_data() > 0);
        outgoing.push(Vec::new(), now);
    }
    assert_eq!(outgoing.room_for_data(), 0);
    for _ in UNACKNOWLEDGED_DATA_MAX..UNACKNOWLEDGED_MAX {
        assert!(!outgoing.is_full());
        outgoing.push(Vec::new(), now);
    }
    assert!(outgoing.is_full());
}

#[test]
fn nothing_is_sent_in_a_pause() {
    let now = Instant::now();
    let mut outgoing = Outgoing::new();
    outgoing.push(vec![0], now);
    outgoing.pause();
    assert_eq!(outgoing.room_for_data(), 0);
    assert_eq!(outgoing.push(vec![1], now), None);
    assert_eq!(outgoing.tick(now + MS * 5000), Ok(None));
    assert_eq!(outgoing.deadline(), Some(now + GIVE_UP_AFTER));
    assert_eq!(outgoing.start(now + MS * 5000), [[1]]);
    assert_eq!(outgoing.tick(now + MS * 5000), Ok(Some(vec![0])));
}

#[test]
fn a_new_connection_gets_everything_again() {
    let now = Instant::now();
    let mut outgoing = Outgoing::new();
    for number in 0..3 {
        outgoing.push(vec![number], now);
    }
    outgoing.acknowledge(1, now);
    assert_eq!(outgoing.restart(now), [[0], [2]]);
}

#[test]
fn a_duplicate_is_acknowledged_and_not_delivered() {
    let mut incoming = Incoming::new();
    assert_eq!(numbers(&incoming.receive(message(0)).delivered), [0]);
    let again = incoming.receive(message(0));
    assert_eq!(again.acknowledge.unwrap().acknowledged_message_sequence_number, 0);
    assert!(again.delivered.is_empty());
}

#[test]
fn what_is_too_early_to_keep_is_not_acknowledged() {
    let mut incoming = Incoming::new();
    for number in 1..=i64::try_from(EARLY_MESSAGES_MAX).unwrap() {
        assert!(incoming.receive(message(number)).acknowledge.is_some());
    }
    assert_eq!(incoming.receive(message(i64::MAX)).acknowledge, None);
    assert!(incoming.receive(message(1)).acknowledge.is_some());
    assert_eq!(incoming.receive(message(0)).delivered.len(), EARLY_MESSAGES_MAX + 1);
    let large = |number| Message { payload: vec![0; EARLY_BYTES_MAX / 2 + 1], ..message(number) };
    assert!(incoming.receive(large(1000)).acknowledge.is_some());
    assert_eq!(incoming.receive(large(1001)).acknowledge, None);
}

proptest! {
    #[test]
    fn any_order_comes_out_in_order(order in Just((0..50_i64).collect::<Vec<_>>()).prop_shuffle(), twice in 0_usize..50) {
        let mut incoming = Incoming::new();
        let mut delivered = Vec::new();
        for number in order.iter().chain(order.iter().take(twice)) {
            delivered.extend(numbers(&incoming.receive(message(*number)).delivered));
        }
        prop_assert_eq!(delivered, (0..50).collect::<Vec<_>>());
    }
}
