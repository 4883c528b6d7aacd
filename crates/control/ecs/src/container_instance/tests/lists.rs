//! Which instances are found, and in which state.

use serde_json::{Value, json};

use super::bench::{Bench, merged, owner, reasons, refusal, text};

async fn listed(bench: &Bench, input: Value) -> Vec<String> {
    let answer = bench.list_container_instances(&owner(), input).await.unwrap();
    let mut names = Vec::new();
    for arn in answer["containerInstanceArns"].as_array().unwrap() {
        let shown = bench.instance(&text(arn)).await;
        let name = shown["attributes"].as_array().unwrap().iter().find(|it| it["name"] == "name").unwrap();
        names.push(text(&name["value"]));
    }
    names.sort();
    names
}

async fn set(bench: &Bench, arn: &str, status: &str) -> Value {
    let input = json!({ "containerInstances": [arn], "status": status });
    bench.update_container_instances_state(&owner(), input).await.unwrap()
}

#[tokio::test]
async fn a_draining_instance_is_listed_and_takes_no_tasks() {
    let bench = Bench::with_nodes(&["a"]).await;
    let b = bench.join("b", json!({})).await;
    let c = bench.join("c", json!({})).await;
    assert_eq!(set(&bench, &b, "DRAINING").await["containerInstances"][0]["status"], "DRAINING");
    bench.deregister_container_instance(&owner(), json!({ "containerInstance": c })).await.unwrap();

    assert_eq!(listed(&bench, json!({})).await, ["a", "b"]);
    assert_eq!(listed(&bench, json!({ "status": "DRAINING" })).await, ["b"]);
    assert_eq!(reasons(&set(&bench, &c, "ACTIVE").await), ["INACTIVE"]);
    for _ in 0..4 {
        bench.run("web").await;
    }
    let full = bench.run_task(&owner(), json!({ "taskDefinition": "web" })).await.unwrap();
    assert_eq!(reasons(&full), ["RESOURCE:CPU"]);
    set(&bench, &b, "ACTIVE").await;
    bench.run("web").await;
    assert_eq!(bench.reservation(&b), (768, 900, 0, 1));
}

#[tokio::test]
async fn instances_that_are_not_there_are_missing() {
    let bench = Bench::with_nodes(&["a"]).await;
    let missing = json!({ "containerInstances": ["0123456789abcdef0123456789abcdef"] });
    let answer = bench.describe_container_instances(&owner(), missing).await.unwrap();
    assert_eq!(reasons(&answer), ["MISSING"]);
    for input in [json!({ "containerInstances": [] }), json!({ "containerInstances": ["../x"] })] {
        let refused = refusal(bench.describe_container_instances(&owner(), input).await);
        assert!(refused.starts_with("InvalidParameterException"), "{refused}");
    }
}

#[tokio::test]
async fn filters_choose() {
    let bench = Bench::with_nodes(&["a", "b"]).await;
    bench.register("c", json!({})).await.unwrap();
    let filtered = async |filter: &str| listed(&bench, json!({ "filter": filter })).await;
    assert_eq!(filtered("attribute:name == b").await, ["b"]);
    assert_eq!(filtered("agentConnected == true and attribute:name != b").await, ["a"]);
    assert_eq!(filtered("agentConnected == false").await, ["c"]);
    assert_eq!(filtered("runningTasksCount > 0").await, [""; 0]);
    assert_eq!(filtered("attribute:gpu !exists").await, ["a", "b", "c"]);
    assert_eq!(filtered("not (task:group == x or attribute:name in [a, c])").await, ["b"]);
    let refused = refusal(bench.list_container_instances(&owner(), json!({ "filter": "task == x" })).await);
    assert!(refused.contains("expected agentConnected"), "{refused}");
}

#[tokio::test]
async fn pages_hold_each_instance_once() {
    let bench = Bench::with_nodes(&["a", "b", "c", "d", "e"]).await;
    let all = bench.list_container_instances(&owner(), json!({})).await.unwrap();
    let all: Vec<String> = all["containerInstanceArns"].as_array().unwrap().iter().map(text).collect();
    // Pages go across both statuses.
    set(&bench, &all[1], "DRAINING").await;
    set(&bench, &all[4], "DRAINING").await;
    let (mut seen, mut token) = (Vec::new(), Value::Null);
    loop {
        let mut input = json!({ "maxResults": 2 });
        if !token.is_null() {
            input["nextToken"] = token;
        }
        let page = bench.list_container_instances(&owner(), input).await.unwrap();
        let arns = page["containerInstanceArns"].as_array().unwrap();
        assert!(arns.len() <= 2);
        seen.extend(arns.iter().map(text));
        assert!(seen.len() <= all.len(), "the pages do not end");
        token = page["nextToken"].clone();
        if token.is_null() {
            break;
        }
    }
    assert_eq!(seen, all);
}

#[tokio::test]
async fn what_is_of_another_cluster_is_not_looked_for_here() {
    let bench = Bench::with_nodes(&["a"]).await;
    bench.create_cluster(&owner(), json!({ "clusterName": "other" })).await.unwrap();
    let task = bench.run("web").await;
    let instance = text(&bench.task(&task).await["containerInstanceArn"]);
    let there = |more| merged(json!({ "cluster": "other" }), more);
    let attribute = json!([{ "name": "rack", "value": "1", "targetId": instance }]);
    let start = json!({ "taskDefinition": "web", "containerInstances": [instance] });
    let drain = json!({ "containerInstances": [instance], "status": "DRAINING" });
    for answer in [
        bench.describe_tasks(&owner(), there(json!({ "tasks": [task] }))).await,
        bench.stop_task(&owner(), there(json!({ "task": task }))).await,
        bench.list_tasks(&owner(), there(json!({ "containerInstance": instance }))).await,
        bench.start_task(&owner(), there(start)).await,
        bench.describe_container_instances(&owner(), there(json!({ "containerInstances": [instance] }))).await,
        bench.update_container_instances_state(&owner(), there(drain)).await,
        bench.deregister_container_instance(&owner(), there(json!({ "containerInstance": instance }))).await,
        bench.put_attributes(&owner(), there(json!({ "attributes": attribute }))).await,
    ] {
        let expected = "Invalid identifier: Identifier is for cluster default. Your cluster is other.";
        assert_eq!(refusal(answer), format!("InvalidParameterException: {expected}"));
    }
}
