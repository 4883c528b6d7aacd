//! The session protocol: whatever frames the other end sends, neither end panics, and a message that was read is written as it was.

#![no_main]

use std::time::Instant;

use estiva_session_protocol::payload::SessionType;
use estiva_session_protocol::{Client, Message, Server, SessionOptions};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let now = Instant::now();
    let options = SessionOptions {
        session_id: "session".to_owned(),
        destination_id: "ecs:task".to_owned(),
        agent_version: "1".to_owned(),
        session_type: SessionType::StandardStream,
        properties: serde_json::Value::Null,
        customer_message: String::new(),
    };
    let Ok(mut server) = Server::new(options, now, 1) else { return };
    let mut client = Client::new("1", now, 1);
    // Frames of the fuzzer's own making, each behind its length; digests are made right, or nothing would pass.
    let mut rest = data;
    while let Some((length, after)) = rest.split_first() {
        let (frame, after) = after.split_at(after.len().min(usize::from(*length) * 4));
        rest = after;
        let frame = with_digest(frame);
        if let Ok(message) = Message::decode(&frame) {
            assert_eq!(Message::decode(&message.encode()).as_ref(), Ok(&message));
        }
        let _ = server.receive(&frame, now);
        let _ = client.receive(&frame, now);
    }
    server.take_frames();
    client.take_frames();
});

fn with_digest(frame: &[u8]) -> Vec<u8> {
    use sha2::Digest;
    let mut frame = frame.to_vec();
    if frame.len() > 120 {
        let payload = frame[120..].to_vec();
        let length = u32::try_from(payload.len()).unwrap_or(0);
        frame[80..112].copy_from_slice(&sha2::Sha256::digest(&payload));
        frame[116..120].copy_from_slice(&length.to_be_bytes());
        frame[..4].copy_from_slice(&116_u32.to_be_bytes());
    }
    frame
}
