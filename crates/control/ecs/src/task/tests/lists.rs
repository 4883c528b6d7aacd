//! ListTasks: its filters, alone and together, and its pages.

use serde_json::{Value, json};

use crate::container_instance::tests::bench::{Bench, merged, owner, refusal, text};

async fn list(bench: &Bench, input: Value) -> Vec<String> {
    let answer = bench.list_tasks(&owner(), input).await.unwrap();
    answer["taskArns"].as_array().unwrap().iter().map(text).collect()
}

async fn run(bench: &Bench, more: Value) -> String {
    let answer = bench.run_task(&owner(), merged(json!({ "taskDefinition": "web" }), more)).await.unwrap();
    text(&answer["tasks"][0]["taskArn"])
}

#[tokio::test]
async fn filters_choose_alone_and_together() {
    let bench = Bench::with_nodes(&[]).await;
    bench.define("job", json!({ "memory": 4 }), json!({})).await;
    let a = bench.join("a", json!({})).await;
    let mine = run(&bench, json!({ "startedBy": "me" })).await;
    let b = bench.join("b", json!({})).await;
    let drain = json!({ "containerInstances": [a], "status": "DRAINING" });
    bench.update_container_instances_state(&owner(), drain).await.unwrap();
    let job = run(&bench, json!({ "taskDefinition": "job", "startedBy": "me" })).await;
    let other = run(&bench, json!({})).await;
    bench.stop_task(&owner(), json!({ "task": other })).await.unwrap();

    let mut both = vec![mine.clone(), job.clone()];
    both.sort();
    for (input, expected) in [
        (json!({}), both.clone()),
        (json!({ "startedBy": "me" }), both.clone()),
        (json!({ "launchType": "EC2" }), both),
        (json!({ "launchType": "FARGATE" }), vec![]),
        (json!({ "family": "job" }), vec![job.clone()]),
        (json!({ "family": "web" }), vec![mine.clone()]),
        (json!({ "containerInstance": a }), vec![mine.clone()]),
        (json!({ "containerInstance": b, "family": "job", "startedBy": "me" }), vec![job]),
        (json!({ "containerInstance": b, "family": "web" }), vec![]),
        (json!({ "startedBy": "me", "family": "web" }), vec![mine]),
        (json!({ "desiredStatus": "STOPPED" }), vec![other.clone()]),
        (json!({ "desiredStatus": "STOPPED", "containerInstance": b }), vec![other]),
        (json!({ "desiredStatus": "STOPPED", "startedBy": "me" }), vec![]),
        (json!({ "desiredStatus": "PENDING" }), vec![]),
    ] {
        assert_eq!(list(&bench, input.clone()).await, expected, "{input}");
    }
    let service = refusal(bench.list_tasks(&owner(), json!({ "serviceName": "s" })).await);
    assert!(service.starts_with("ServiceNotFoundException"), "{service}");
    let unknown = json!({ "containerInstance": "0123456789abcdef0123456789abcdef" });
    assert!(refusal(bench.list_tasks(&owner(), unknown).await).starts_with("InvalidParameterException"));
}

#[tokio::test]
async fn pages_hold_each_task_once() {
    let bench = Bench::with_nodes(&["a", "b"]).await;
    for _ in 0..7 {
        run(&bench, json!({})).await;
    }
    let all = list(&bench, json!({})).await;
    assert_eq!(all.len(), 7);
    assert_pages_hold(&bench, json!({ "maxResults": 3 }), &all).await;
}

/// On an instance these are two lists.
#[tokio::test]
async fn pages_hold_tasks_that_are_ending_and_those_that_have_ended() {
    let bench = Bench::new();
    bench.define("web", json!({ "memory": 100, "cpu": 128 }), json!({})).await;
    let a = bench.join("a", json!({})).await;
    for number in 0..8 {
        let task = run(&bench, json!({})).await;
        if number < 6 {
            bench.stop_task(&owner(), json!({ "task": task })).await.unwrap();
        }
        if number % 2 == 0 && number < 6 {
            bench.report("a", &task, json!({ "status": "STOPPED" })).await.unwrap();
        }
    }
    let input = json!({ "maxResults": 2, "desiredStatus": "STOPPED", "containerInstance": a });
    let all = list(&bench, json!({ "desiredStatus": "STOPPED" })).await;
    assert_eq!(all.len(), 6);
    assert_pages_hold(&bench, input, &all).await;
    assert_eq!(list(&bench, json!({ "containerInstance": a })).await.len(), 2);
}

/// The pages of such lists have each of all tasks once, in order.
async fn assert_pages_hold(bench: &Bench, input: Value, all: &[String]) {
    let most = usize::try_from(input["maxResults"].as_u64().unwrap()).unwrap();
    let (mut seen, mut token) = (Vec::new(), Value::Null);
    loop {
        let mut input = input.clone();
        if !token.is_null() {
            input["nextToken"] = token;
        }
        let page = bench.list_tasks(&owner(), input).await.unwrap();
        let arns = page["taskArns"].as_array().unwrap();
        assert!((1..=most).contains(&arns.len()));
        seen.extend(arns.iter().map(text));
        assert!(seen.len() <= all.len(), "the pages do not end");
        token = page["nextToken"].clone();
        if token.is_null() {
            break;
        }
    }
    assert_eq!(seen, all);
}
