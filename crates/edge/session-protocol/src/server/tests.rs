//! The server's states, against a client written out by hand.

use std::time::Duration;

use serde_json::json;
use uuid::Uuid;

use super::*;
use crate::DATA_BYTES_MAX;
use crate::link::HANDSHAKE_TIMEOUT;
use crate::payload::Acknowledge;
use crate::stream::UNACKNOWLEDGED_DATA_MAX;

fn options() -> SessionOptions {
    SessionOptions {
        session_id: "s".to_owned(),
        destination_id: "ecs:c_t_r".to_owned(),
        agent_version: "1".to_owned(),
        session_type: SessionType::InteractiveCommands,
        properties: json!({"command": "ls"}),
        customer_message: String::new(),
    }
}

fn server(now: Instant) -> Server {
    Server::new(options(), now, 1_700_000_000_000).unwrap()
}

fn frame(message_type: MessageType, sequence_number: i64, payload_type: PayloadType, payload: &[u8]) -> Vec<u8> {
    let (id, payload) = (Uuid::nil(), payload.to_vec());
    Message { message_type, created_ms: 1, sequence_number, flags: 0, id, payload_type, payload }.encode()
}

fn input(sequence_number: i64, payload_type: PayloadType, payload: &[u8]) -> Vec<u8> {
    frame(MessageType::InputStreamData, sequence_number, payload_type, payload)
}

fn response(status: u32) -> Vec<u8> {
    let action = json!({"ActionType": "SessionType", "ActionStatus": status, "ActionResult": null, "Error": "why"});
    let response = json!({"ClientVersion": "v", "ProcessedClientActions": [action], "Errors": null});
    input(0, PayloadType::HandshakeResponse, response.to_string().as_bytes())
}

fn open(now: Instant) -> Server {
    let mut server = server(now);
    let events = server.receive(&response(1), now).unwrap();
    assert_eq!(events, [ServerEvent::HandshakeDone { client_version: "v".to_owned() }]);
    server
}

fn sent(server: &mut Server) -> Vec<Message> {
    server.take_frames().iter().map(|frame| Message::decode(frame).unwrap()).collect()
}

/// Acknowledges every stream message among those that were sent.
fn acknowledge(server: &mut Server, now: Instant) -> Vec<Message> {
    let messages = sent(server);
    for message in messages.iter().filter(|message| message.message_type == MessageType::OutputStreamData) {
        let acknowledge =
            Acknowledge { acknowledged_message_sequence_number: message.sequence_number, ..Acknowledge::default() };
        let frame = frame(MessageType::Acknowledge, 0, PayloadType::Undefined, &payload::encode(&acknowledge));
        server.receive(&frame, now).unwrap();
    }
    messages
}

#[test]
fn the_handshake_comes_first() {
    let now = Instant::now();
    let mut server = server(now);
    let messages = sent(&mut server);
    let [request] = messages.as_slice() else { panic!("{messages:?}") };
    assert_eq!((request.sequence_number, request.payload_type), (0, PayloadType::HandshakeRequest));
    assert_eq!(request.created_ms, 1_700_000_000_000);
    let action = json!({
        "ActionType": "SessionType",
        "ActionParameters": {"SessionType": "InteractiveCommands", "Properties": {"command": "ls"}},
    });
    let expected = json!({"AgentVersion": "1", "RequestedClientActions": [action]});
    assert_eq!(payload::decode::<Value>(&request.payload).unwrap(), expected);

    assert_eq!(server.output(b"early", now), 0);
    assert_eq!(server.exit_code(0, now), Err(SendError::NotOpen));
    server.receive(&response(1), now + Duration::from_millis(5)).unwrap();
    let messages = sent(&mut server);
    let [acknowledge, complete] = messages.as_slice() else { panic!("{messages:?}") };
    assert_eq!(acknowledge.message_type, MessageType::Acknowledge);
    assert_eq!((complete.sequence_number, complete.payload_type), (1, PayloadType::HandshakeComplete));
    let expected = json!({"HandshakeTimeToComplete": 5_000_000, "CustomerMessage": ""});
    assert_eq!(payload::decode::<Value>(&complete.payload).unwrap(), expected);
}

#[test]
fn a_client_may_refuse() {
    let now = Instant::now();
    let mut server = server(now);
    let error = server.receive(&response(2), now).unwrap_err();
    assert!(matches!(error, SessionError::HandshakeRefused(why) if why == "why"));
    server.close("not supported", now);
    assert!(server.is_closed());
}

#[test]
fn input_before_the_handshake_ends_the_session() {
    let now = Instant::now();
    let error = server(now).receive(&input(0, PayloadType::Output, b"x"), now).unwrap_err();
    assert!(matches!(error, SessionError::BeforeHandshake(PayloadType::Output)));
}

#[test]
fn a_handshake_does_not_take_for_ever() {
    let now = Instant::now();
    let mut server = server(now);
    assert!(server.deadline().unwrap() < now + HANDSHAKE_TIMEOUT);
    assert!(matches!(server.tick(now + HANDSHAKE_TIMEOUT), Err(SessionError::HandshakeTimeout)));
}

#[test]
fn what_the_client_does_comes_as_events() {
    let now = Instant::now();
    let mut server = open(now);
    assert!(server.receive(&input(2, PayloadType::Size, br#"{"cols":80,"rows":24}"#), now).unwrap().is_empty());
    let events = server.receive(&input(1, PayloadType::Output, b"ls\r"), now).unwrap();
    assert_eq!(events, [ServerEvent::Input(b"ls\r".to_vec()), ServerEvent::Size(Size { cols: 80, rows: 24 })]);
    let events = server.receive(&input(3, PayloadType::Flag, &[0, 0, 0, 2]), now).unwrap();
    assert_eq!(events, [ServerEvent::Terminate]);
    let events = server.receive(&input(4, PayloadType::Other(99), b""), now).unwrap();
    assert!(matches!(events.as_slice(), [ServerEvent::Skipped(_)]));
    let events = server.receive(&frame(MessageType::OutputStreamData, 0, PayloadType::Output, b""), now).unwrap();
    assert!(matches!(events.as_slice(), [ServerEvent::Skipped(_)]));
    assert!(server.receive(&input(5, PayloadType::Size, b"wide"), now).is_err());
}

#[test]
fn output_is_cut_and_has_a_limit() {
    let now = Instant::now();
    let mut server = open(now);
    acknowledge(&mut server, now);
    let room = server.room_bytes();
    assert_eq!(room, UNACKNOWLEDGED_DATA_MAX * DATA_BYTES_MAX);
    let lots = vec![b'x'; room + 1];
    assert_eq!(server.output(&lots, now), room);
    assert_eq!((server.room_bytes(), server.output(&lots, now)), (0, 0));
    server.exit_code(1, now).unwrap();
    let messages = acknowledge(&mut server, now);
    assert!(messages.iter().all(|message| message.payload.len() <= DATA_BYTES_MAX));
    assert_eq!(server.room_bytes(), room);
}

#[test]
fn a_pause_holds_output_back() {
    let now = Instant::now();
    let mut server = open(now);
    sent(&mut server);
    server.receive(&frame(MessageType::PausePublication, 0, PayloadType::Undefined, b""), now).unwrap();
    assert_eq!(server.output(b"x", now), 0);
    server.exit_code(0, now).unwrap();
    assert!(sent(&mut server).is_empty());
    server.receive(&frame(MessageType::StartPublication, 0, PayloadType::Undefined, b""), now).unwrap();
    assert_eq!(sent(&mut server).len(), 1);
    assert_eq!(server.output(b"x", now), 1);
}

#[test]
fn the_end_waits_for_the_output() {
    let now = Instant::now();
    let mut server = open(now);
    assert_eq!(server.output(b"last words", now), 10);
    server.close("é".repeat(CLOSED_TEXT_BYTES_MAX).as_str(), now);
    assert!(!server.is_closed());
    assert_eq!(server.output(b"x", now), 0);
    server.reconnected(now);
    acknowledge(&mut server, now);
    assert!(server.is_closed());
    let messages = sent(&mut server);
    let closed = messages.last().unwrap();
    assert_eq!(closed.message_type, MessageType::ChannelClosed);
    let closed: ChannelClosed = payload::decode(&closed.payload).unwrap();
    assert_eq!((closed.session_id.as_str(), closed.created_date.as_str()), ("s", "1700000000000"));
    assert_eq!(closed.output.len(), CLOSED_TEXT_BYTES_MAX);

    let mut repeats = 0;
    while let Some(deadline) = server.deadline() {
        server.tick(deadline).unwrap();
        repeats += sent(&mut server).len();
    }
    assert_eq!(repeats + 1, usize::try_from(CLOSED_SENDS_MAX).unwrap());
    server.reconnected(now);
    assert_eq!(sent(&mut server).len(), 1);
}

#[test]
fn no_frames_pile_up() {
    let now = Instant::now();
    let mut server = open(now);
    for number in 1..3000 {
        server.receive(&input(number, PayloadType::Output, b"x"), now).unwrap();
    }
    assert_eq!(server.take_frames().len(), crate::FRAMES_MAX);
}

#[test]
fn a_request_has_to_fit() {
    let options = SessionOptions { properties: Value::String("x".repeat(70_000)), ..options() };
    assert!(matches!(Server::new(options, Instant::now(), 1), Err(SendError::TooLarge(_))));
}
