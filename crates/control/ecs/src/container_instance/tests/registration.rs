//! Who joins, who joins again, and who leaves.

use serde_json::json;

use super::bench::{Bench, merged, node, offer, owner, refusal, text};

#[tokio::test]
async fn a_node_registers_into_a_cluster_that_comes_to_be() {
    let bench = Bench::new();
    let answer = bench.register_container_instance(&node("a"), offer("a")).await.unwrap();
    let shown = &answer["containerInstance"];
    let arn = text(&shown["containerInstanceArn"]);
    assert!(arn.starts_with("arn:aws:ecs:us-east-1:000000000000:container-instance/default/"), "{arn}");
    assert_eq!(shown["status"], "ACTIVE");
    assert_eq!(shown["agentConnected"], false);
    // An agent whose attributes do not come back refuses to run.
    for sent in offer("a")["attributes"].as_array().unwrap() {
        let same = |it: &&serde_json::Value| it["name"] == sent["name"] && it["value"] == sent["value"];
        assert_eq!(shown["attributes"].as_array().unwrap().iter().filter(same).count(), 1, "{sent}");
    }
    bench.connect(&arn, true).await;
    assert_eq!(bench.instance(&arn).await["agentConnected"], true);
    let other = refusal(bench.register("a", json!({ "cluster": "nowhere" })).await.map(serde_json::Value::from));
    assert!(other.starts_with("ClusterNotFoundException"), "{other}");
}

#[tokio::test]
async fn an_identity_document_names_the_instance() {
    let bench = Bench::new();
    let document = r#"{"instanceId":"i-0123456789abcdef0","region":"us-east-1"}"#;
    let named = bench.register("a", json!({ "instanceIdentityDocument": document })).await.unwrap();
    assert_eq!(bench.instance(&named).await["ec2InstanceId"], "i-0123456789abcdef0");
    let strange = bench.register("b", json!({ "instanceIdentityDocument": "{\"instanceId\":\"<x>\"}" })).await.unwrap();
    assert!(text(&bench.instance(&strange).await["ec2InstanceId"]).starts_with("i-"));
}

#[tokio::test]
async fn the_same_node_again_keeps_what_is_its_owners() {
    let bench = Bench::with_nodes(&[]).await;
    let arn = bench.join("a", json!({ "tags": [{ "key": "rack", "value": "7" }] })).await;
    let attribute = json!({ "name": "stack", "value": "prod", "targetId": arn });
    bench.put_attributes(&owner(), json!({ "attributes": [attribute] })).await.unwrap();
    let task = bench.run("web").await;
    bench.report("a", &task, json!({ "status": "RUNNING" })).await.unwrap();

    let smaller = json!([
        { "name": "CPU", "type": "INTEGER", "integerValue": 512 },
        { "name": "MEMORY", "type": "INTEGER", "integerValue": 900 },
    ]);
    let again = json!({ "containerInstanceArn": arn, "totalResources": smaller });
    bench.connect(&arn, false).await;
    assert_eq!(bench.register("a", again).await.unwrap(), arn);
    let input = json!({ "containerInstances": [arn], "include": ["TAGS"] });
    let answer = bench.describe_container_instances(&owner(), input).await.unwrap();
    let shown = &answer["containerInstances"][0];
    assert_eq!(shown["tags"], json!([{ "key": "rack", "value": "7" }]));
    let attributes = shown["attributes"].as_array().unwrap();
    assert_eq!(attributes.iter().filter(|it| it["name"] == "stack" && it["value"] == "prod").count(), 1);
    assert_eq!(bench.reservation(&arn), (256, 800, 1, 0));
}

#[tokio::test]
async fn a_registration_is_void_for_others_and_for_other_hardware() {
    let bench = Bench::new();
    let arn = bench.register("a", json!({})).await.unwrap();
    let again = merged(offer("a"), json!({ "containerInstanceArn": arn }));
    let thief = refusal(bench.register_container_instance(&node("b"), again.clone()).await);
    assert!(thief.starts_with("AccessDeniedException"), "{thief}");
    let moved = merged(again.clone(), json!({ "attributes": [{ "name": "ecs.os-type", "value": "windows" }] }));
    let moved = refusal(bench.register_container_instance(&node("a"), moved).await);
    assert_eq!(moved, "ClientException: Container instance type changes are not supported.");

    bench.deregister_container_instance(&node("a"), json!({ "containerInstance": arn })).await.unwrap();
    let gone = refusal(bench.register_container_instance(&node("a"), again).await);
    assert!(gone.starts_with("ClientException"), "{gone}");
}

#[tokio::test]
async fn an_agent_that_did_not_hear_the_answer_is_told_the_same_again() {
    let bench = Bench::new();
    let token = json!({ "clientToken": "0123" });
    let arn = bench.register("a", token.clone()).await.unwrap();
    assert_eq!(bench.register("a", token.clone()).await.unwrap(), arn);
    assert_ne!(bench.register("a", json!({ "clientToken": "4567" })).await.unwrap(), arn);
    assert_ne!(bench.register("a", json!({})).await.unwrap(), arn);
    assert_ne!(bench.register("b", token.clone()).await.unwrap(), arn, "a token is its principal's");
    bench.deregister_container_instance(&node("a"), json!({ "containerInstance": arn })).await.unwrap();
    let next = bench.register("a", token.clone()).await.unwrap();
    assert_ne!(next, arn);
    assert_eq!(bench.register("a", token).await.unwrap(), next);
}

#[tokio::test]
async fn an_agent_over_a_copy_changes_nothing_of_a_node_that_is_there() {
    let bench = Bench::new();
    let range = |range: &str| {
        let mut attributes = offer("a")["attributes"].as_array().unwrap().clone();
        attributes.push(json!({ "name": "estiva.eni-range", "value": range }));
        json!({ "attributes": attributes })
    };
    let arn = bench.register("a", range("10.0.0.8-10.0.0.15")).await.unwrap();
    let again = |more: serde_json::Value| merged(json!({ "containerInstanceArn": arn }), more);
    bench.connect(&arn, true).await;
    let before = bench.instance(&arn).await;
    let smaller =
        json!({ "totalResources": [{ "name": "CPU", "integerValue": 1 }, { "name": "MEMORY", "integerValue": 1 }] });
    let smaller = merged(range("10.0.0.8-10.0.0.15"), smaller);
    for other in [range("10.1.0.8-10.1.0.15"), json!({}), smaller] {
        let refused = refusal(bench.register("a", again(other)).await.map(serde_json::Value::from));
        assert!(refused.starts_with("ServerException"), "{refused}");
        assert_eq!(bench.instance(&arn).await, before);
    }
    // The node itself, whose former session is not known to be over yet.
    assert_eq!(bench.register("a", again(range("10.0.0.8-10.0.0.15"))).await.unwrap(), arn);
    bench.connect(&arn, false).await;
    assert_eq!(bench.register("a", again(range("10.1.0.8-10.1.0.15"))).await.unwrap(), arn);
    assert_ne!(bench.instance(&arn).await["attributes"], before["attributes"]);
}

#[tokio::test]
async fn what_a_stranger_sends_has_limits() {
    let bench = Bench::new();
    let many: Vec<_> = (0..201).map(|number| json!({ "name": format!("a{number}") })).collect();
    let port = |port: &str| {
        json!([
            { "name": "CPU", "integerValue": 1 },
            { "name": "MEMORY", "integerValue": 1 },
            { "name": "PORTS", "stringSetValue": [port] },
        ])
    };
    for more in [
        json!({ "attributes": many }),
        json!({ "attributes": [{ "name": "long", "value": "x".repeat(129) }] }),
        json!({ "attributes": [{ "name": "" }] }),
        json!({ "totalResources": [{ "name": "CPU", "integerValue": -1 }, { "name": "MEMORY", "integerValue": 1 }] }),
        json!({ "totalResources": [{ "name": "CPU", "integerValue": 1 }] }),
        json!({ "totalResources": port("70000") }),
        json!({ "versionInfo": { "agentVersion": "x".repeat(256) } }),
        json!({ "clientToken": "x".repeat(65) }),
    ] {
        let refused = refusal(bench.register_container_instance(&node("a"), merged(offer("a"), more.clone())).await);
        assert!(refused.starts_with("InvalidParameterException"), "{more}: {refused}");
    }
}

#[tokio::test]
async fn an_instance_with_tasks_leaves_by_force_alone() {
    let bench = Bench::with_nodes(&[]).await;
    let arn = bench.join("a", json!({})).await;
    let task = bench.run("web").await;
    let plain = refusal(bench.deregister_container_instance(&owner(), json!({ "containerInstance": arn })).await);
    assert_eq!(plain, "InvalidParameterException: Found running tasks on the instance.");
    let force = json!({ "containerInstance": arn, "force": true });
    let other = refusal(bench.deregister_container_instance(&node("b"), force.clone()).await);
    assert!(other.starts_with("AccessDeniedException"), "{other}");

    let answer = bench.deregister_container_instance(&node("a"), force.clone()).await.unwrap();
    assert_eq!(answer["containerInstance"]["status"], "INACTIVE");
    let task = bench.task(&task).await;
    assert_eq!(task["lastStatus"], "STOPPED");
    assert_eq!(task["desiredStatus"], "STOPPED");
    assert_eq!(task["stoppedReason"], "Container instance deregistration forced by user");
    let twice = refusal(bench.deregister_container_instance(&owner(), force).await);
    assert!(twice.starts_with("ClientException"), "{twice}");
}

#[tokio::test]
async fn a_node_is_told_where_to_connect_for_itself_alone() {
    let bench = Bench::new();
    let arn = bench.register("a", json!({})).await.unwrap();
    let answer = bench.discover_poll_endpoint(&node("a"), json!({ "containerInstance": arn })).await.unwrap();
    assert_eq!(answer["endpoint"], "http://127.0.0.1:4566/acs");
    assert_eq!(answer["telemetryEndpoint"], "http://127.0.0.1:4566/tcs");
    let other = refusal(bench.discover_poll_endpoint(&node("b"), json!({ "containerInstance": arn })).await);
    assert!(other.starts_with("AccessDeniedException"), "{other}");
}
