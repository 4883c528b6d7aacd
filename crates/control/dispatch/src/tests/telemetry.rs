//! TCS: every publication is acknowledged in its own words.

use estiva_agent_protocol::TCS_PATH;
use estiva_agent_protocol::tcs::{AgentMessage, PublishHealth, PublishInstanceStatus, PublishMetrics, ServerMessage};

use super::bench::{Bench, Node, escape};

async fn connect(bench: &Bench) -> Node {
    let arn = bench.register("a").await;
    bench.open("a", TCS_PATH, &format!("cluster=default&containerInstance={}", escape(&arn))).await.unwrap()
}

/// The kind of the next message, heartbeats aside.
async fn answer(node: &mut Node) -> &'static str {
    loop {
        let kind = ServerMessage::decode(&node.next_text().await.unwrap()).unwrap().kind();
        if kind != "HeartbeatMessage" {
            return kind;
        }
    }
}

#[tokio::test]
async fn publications_are_acknowledged() {
    let bench = Bench::new().await;
    let mut node = connect(&bench).await;
    let publications = [
        (AgentMessage::PublishMetrics(PublishMetrics::default()), "AckPublishMetric"),
        (AgentMessage::PublishHealth(PublishHealth::default()), "AckPublishHealth"),
        (AgentMessage::PublishInstanceStatus(PublishInstanceStatus::default()), "AckPublishInstanceStatus"),
    ];
    for (publication, expected) in publications {
        node.write(publication.encode()).await;
        assert_eq!(answer(&mut node).await, expected);
        // As AWS's agent frames it.
        node.write(format!("Authorization: x\r\nHost: h\r\n\r\n{}", publication.encode())).await;
        assert_eq!(answer(&mut node).await, expected);
    }
}

#[tokio::test]
async fn a_session_begins_with_a_sign_of_life_and_outlives_nonsense() {
    let bench = Bench::new().await;
    let mut node = connect(&bench).await;
    assert_eq!(ServerMessage::decode(&node.next_text().await.unwrap()).unwrap().kind(), "HeartbeatMessage");
    for text in ["", "no JSON", "Host: h\r\n\r\n{", r#"{"type":"New","message":{}}"#] {
        node.write(text.to_owned()).await;
    }
    node.write(AgentMessage::PublishHealth(PublishHealth::default()).encode()).await;
    assert_eq!(answer(&mut node).await, "AckPublishHealth");
}

#[tokio::test]
async fn closing_ends_the_session() {
    let bench = Bench::new().await;
    let mut node = connect(&bench).await;
    node.next_text().await.unwrap();
    bench.dispatch.close();
    node.ended().await;
}

#[tokio::test]
async fn a_node_has_one_telemetry_session() {
    let bench = Bench::new().await;
    let arn = bench.register("a").await;
    let query = format!("containerInstance={}", escape(&arn));
    let former = bench.open("a", TCS_PATH, &query).await.unwrap();
    let mut current = bench.open("a", TCS_PATH, &query).await.unwrap();
    former.ended().await;
    current.write(AgentMessage::PublishHealth(PublishHealth::default()).encode()).await;
    assert_eq!(answer(&mut current).await, "AckPublishHealth");
}
