//! Who may open a session.

use estiva_agent_protocol::{ACS_PATH, TCS_PATH};
use estiva_store::backend::Memory;
use estiva_store::{Schema, Store};
use serde_json::json;

use super::bench::{Bench, Node, escape};

/// What is wrong with the session, on both paths.
async fn refusals(bench: &Bench, name: &str, cluster: &str, arn: &str) -> [String; 2] {
    let (cluster, arn) = (escape(cluster), escape(arn));
    let acs = bench.open(name, ACS_PATH, &format!("clusterArn={cluster}&containerInstanceArn={arn}")).await;
    let tcs = bench.open(name, TCS_PATH, &format!("cluster={cluster}&containerInstance={arn}")).await;
    [acs, tcs].map(kind)
}

/// The refusal's one member; empty when the session is open.
fn kind(outcome: Result<Node, (u16, String)>) -> String {
    let Err((status, body)) = outcome else { return String::new() };
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    let kind = body.as_object().unwrap().keys().next().unwrap().clone();
    assert_eq!(status, if kind == "ServerException" { 503 } else { 400 });
    kind
}

#[tokio::test]
async fn the_one_who_registered_an_instance_and_the_owner_speak_for_it() {
    let bench = Bench::new().await;
    let arn = bench.register("a").await;
    let cluster_arn = "arn:aws:ecs:us-east-1:000000000000:cluster/default";
    for name in ["a", "owner"] {
        for cluster in ["default", cluster_arn, ""] {
            assert_eq!(refusals(&bench, name, cluster, &arn).await, ["", ""], "{name} {cluster}");
        }
    }
    assert_eq!(refusals(&bench, "b", "default", &arn).await, ["AccessDeniedException"; 2]);
}

#[tokio::test]
async fn an_instance_that_does_not_exist_has_no_session() {
    let bench = Bench::new().await;
    let arn = bench.register("a").await;
    let id = arn.rsplit('/').next().unwrap();
    let unknown = [
        String::new(),
        id.to_owned(),
        format!("default/{id}"),
        arn.replace(id, "0123456789abcdef0123456789abcdef"),
        arn.replace("/default/", "/other/"),
        arn.replace("000000000000", "111111111111"),
        arn.replace("us-east-1", "eu-west-1"),
        arn.replace("container-instance", "task"),
        arn.replace(":ecs:", ":ec2:"),
        "arn:aws:ecs:us-east-1:000000000000:container-instance/default/\u{1f980}\"}".to_owned(),
    ];
    for arn in unknown {
        // Some of these are no URL unless all of them is escaped.
        let escaped: Vec<String> = arn.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let query = format!("clusterArn=default&containerInstanceArn={}", escaped.concat());
        assert_eq!(kind(bench.open("owner", ACS_PATH, &query).await), "InvalidInstanceException", "{arn}");
    }
}

#[tokio::test]
async fn an_instance_has_no_session_in_another_cluster() {
    let bench = Bench::new().await;
    let arn = bench.register("a").await;
    assert_eq!(refusals(&bench, "a", "other", &arn).await, ["InvalidClusterException"; 2]);
}

#[tokio::test]
async fn a_deregistered_instance_is_inactive() {
    let bench = Bench::new().await;
    let arn = bench.register("a").await;
    bench.deregister_container_instance("owner", json!({ "containerInstance": arn })).await;
    assert_eq!(refusals(&bench, "a", "default", &arn).await, ["InactiveInstanceException"; 2]);
    // Nobody else is told even that.
    assert_eq!(refusals(&bench, "b", "default", &arn).await, ["AccessDeniedException"; 2]);
}

#[tokio::test]
async fn beyond_the_bound_only_a_node_that_comes_again_is_let_in() {
    let store = Store::open(Memory::new(), estiva_ecs::tables(Schema::new(1))).unwrap();
    let bench = Bench::with(store, 1).await;
    let (a, b) = (bench.register("a").await, bench.register("b").await);
    let mut first = bench.connect("a", &a).await;
    first.next().await;
    let query = format!("containerInstance={}", escape(&a));
    let mut telemetry = bench.open("a", TCS_PATH, &query).await.unwrap();
    telemetry.next_text().await.unwrap();
    assert_eq!(refusals(&bench, "b", "default", &b).await, ["ServerException"; 2]);
    let mut second = bench.connect("a", &a).await;
    second.next().await;
    first.ended().await;
    // A place that is given up is free again.
    drop(second);
    bench.noted(&a, false).await;
    bench.connect("b", &b).await.next().await;
}
