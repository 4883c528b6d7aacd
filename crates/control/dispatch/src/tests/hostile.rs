//! What a node may say without harm to anyone, itself aside.

use estiva_agent_protocol::FRAME_BYTES_MAX;
use estiva_agent_protocol::acs::{AgentMessage, HeartbeatAck};
use futures_util::SinkExt;
use tokio_tungstenite::tungstenite::{Bytes, Message};

use super::bench::Bench;

#[tokio::test]
async fn what_cannot_be_read_is_passed_over() {
    let bench = Bench::with_definition().await;
    let mut node = bench.join("a").await;
    let deep = format!(r#"{{"type":"AckRequest","message":{}}}"#, "[".repeat(100_000));
    for text in ["", "{", "null", r#"{"type":7}"#, r#"{"type":"AckRequest","message":[1]}"#, r#"{"type":"New"}"#, &deep]
    {
        node.write(text.to_owned()).await;
    }
    node.socket.send(Message::binary(Bytes::from_static(&[0xff; 16]))).await.unwrap();
    node.ack("of no message").await;
    node.say(AgentMessage::HeartbeatAck(HeartbeatAck { message_id: "of no heartbeat".to_owned() })).await;
    bench.run(1).await;
    assert_eq!(node.told().await.len(), 1);
}

#[tokio::test]
async fn a_frame_without_measure_ends_that_session_alone() {
    let bench = Bench::with_definition().await;
    let arn = bench.register("a").await;
    let mut node = bench.connect("a", &arn).await;
    node.next().await;
    let mut other = bench.join("b").await;
    // The server need not read it all.
    let _ = node.socket.send(Message::text("x".repeat(FRAME_BYTES_MAX + 1))).await;
    node.ended().await;
    bench.noted(&arn, false).await;
    bench.run(1).await;
    assert_eq!(other.told().await.len(), 1);
}

#[tokio::test]
async fn a_session_begins_with_a_sign_of_life() {
    let bench = Bench::new().await;
    let arn = bench.register("a").await;
    let heartbeat = bench.connect("a", &arn).await.heartbeat().await;
    assert!(heartbeat.healthy && !heartbeat.message_id.is_empty());
}
