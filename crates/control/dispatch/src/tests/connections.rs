//! What the store has of connections, and how sessions end.

use estiva_agent_protocol::acs::ServerMessage;
use estiva_ecs::container_instance::table::ConnectionRow;
use serde_json::json;

use super::bench::{Bench, instance_key};
use crate::connections;
use crate::sessions::SESSIONS_MAX;

#[tokio::test]
async fn a_session_shows_as_long_as_it_lasts() {
    let bench = Bench::new().await;
    let arn = bench.register("a").await;
    let mut node = bench.connect("a", &arn).await;
    // What is sent is sent after it is noted.
    node.next().await;
    assert!(bench.store.view().get::<ConnectionRow>(&instance_key(&arn)).unwrap().connected);
    node.socket.close(None).await.unwrap();
    node.ended().await;
    bench.noted(&arn, false).await;
}

#[tokio::test]
async fn a_connection_that_breaks_is_noted_too() {
    let bench = Bench::new().await;
    let arn = bench.register("a").await;
    let mut node = bench.connect("a", &arn).await;
    node.next().await;
    bench.noted(&arn, true).await;
    drop(node);
    bench.noted(&arn, false).await;
}

#[tokio::test]
async fn a_second_session_is_refused_while_the_first_is_alive() {
    let bench = Bench::with_definition().await;
    let arn = bench.register("a").await;
    let mut first = bench.connect("a", &arn).await;
    first.next().await;
    // It answers pings while it is read.
    let reading = tokio::spawn(async move { first.told().await });
    assert!(matches!(bench.try_connect("a", &arn).await, Err((400, _))));
    let tasks = bench.run(1).await;
    assert_eq!(reading.await.unwrap(), [(tasks[0].clone(), "RUNNING".to_owned())]);
}

#[tokio::test]
async fn a_new_session_takes_over_from_one_that_does_not_answer() {
    let bench = Bench::with_definition().await;
    let arn = bench.register("a").await;
    let mut former = bench.connect("a", &arn).await;
    former.next().await;
    let mut current = bench.connect("a", &arn).await;
    current.next().await;
    former.ended().await;
    let tasks = bench.run(1).await;
    assert_eq!(current.told().await, [(tasks[0].clone(), "RUNNING".to_owned())]);
    assert!(bench.store.view().get::<ConnectionRow>(&instance_key(&arn)).unwrap().connected);
}

#[tokio::test]
async fn what_is_noted_last_is_true_whatever_the_order_of_notes() {
    let bench = Bench::new().await;
    let key = instance_key(&bench.register("a").await);
    let sessions = &bench.dispatch.0;
    let noted = || bench.store.view().get::<ConnectionRow>(&key).unwrap().connected;
    let former = sessions.enter(&key).unwrap();
    connections::note(sessions, &key).await.unwrap();
    assert!(noted());
    drop(former);
    // The next session has entered before the end of the former one is noted.
    let current = sessions.enter(&key).unwrap();
    connections::note(sessions, &key).await.unwrap();
    connections::note(sessions, &key).await.unwrap();
    assert!(noted());
    drop(current);
    connections::note(sessions, &key).await.unwrap();
    assert!(!noted());
}

#[tokio::test]
async fn nobody_is_connected_after_a_restart() {
    let bench = Bench::new().await;
    let arn = bench.register("a").await;
    let mut node = bench.connect("a", &arn).await;
    node.next().await;
    bench.noted(&arn, true).await;
    // Its rows outlive the process that wrote them.
    let later = Bench::with(bench.crash(), SESSIONS_MAX).await;
    assert!(!later.store.view().get::<ConnectionRow>(&instance_key(&arn)).unwrap().connected);
}

#[tokio::test]
async fn a_deregistered_node_is_told_at_once() {
    let bench = Bench::new().await;
    let arn = bench.register("a").await;
    let mut node = bench.connect("a", &arn).await;
    node.next().await;
    bench.deregister_container_instance("owner", json!({ "containerInstance": arn })).await;
    assert!(matches!(node.next().await, ServerMessage::InactiveInstance(_)));
    node.ended().await;
    bench.noted(&arn, false).await;
}

#[tokio::test]
async fn closing_ends_the_sessions_that_are_and_those_that_come() {
    let bench = Bench::new().await;
    let arn = bench.register("a").await;
    let mut node = bench.connect("a", &arn).await;
    node.next().await;
    bench.dispatch.close();
    assert!(matches!(node.next().await, ServerMessage::Close(_)));
    node.ended().await;
    bench.noted(&arn, false).await;
    bench.connect("a", &arn).await.ended().await;
    bench.noted(&arn, false).await;
}
