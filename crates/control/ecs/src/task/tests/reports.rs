//! What nodes report, and what StopTask wants.

use serde_json::{Value, json};

use crate::container_instance::tests::bench::{Bench, node, owner, refusal, text};

fn container(status: &str, more: Value) -> Value {
    crate::container_instance::tests::bench::merged(json!({ "containerName": "app", "status": status }), more)
}

async fn running() -> (Bench, String, String) {
    let bench = Bench::with_nodes(&[]).await;
    let instance = bench.join("a", json!({})).await;
    let task = bench.run("web").await;
    let bindings = json!([{ "bindIP": "0.0.0.0", "containerPort": 80, "hostPort": 32768, "protocol": "tcp" }]);
    let app =
        container("RUNNING", json!({ "runtimeId": "r1", "imageDigest": "sha256:1", "networkBindings": bindings }));
    let report = json!({ "status": "RUNNING", "containers": [app], "pullStartedAt": 1.0, "pullStoppedAt": 2.0 });
    let answer = bench.report("a", &task, report).await.unwrap();
    assert_eq!(answer["acknowledgment"], "ACCEPT");
    (bench, instance, task)
}

async fn stop(bench: &Bench, task: &str, reason: &str) -> Value {
    let input = json!({ "task": task, "reason": reason });
    bench.stop_task(&owner(), input).await.unwrap()["task"].clone()
}

#[tokio::test]
async fn a_running_task_is_shown_as_its_node_says() {
    let (bench, instance, arn) = running().await;
    let task = bench.task(&arn).await;
    assert_eq!(task["lastStatus"], "RUNNING");
    assert_eq!(task["connectivity"], "CONNECTED");
    assert_eq!(task["pullStoppedAt"].as_f64(), Some(2.0));
    assert!(task["startedAt"].is_number());
    let app = &task["containers"][0];
    assert_eq!(app["lastStatus"], "RUNNING");
    assert_eq!(app["runtimeId"], "r1");
    assert_eq!(app["imageDigest"], "sha256:1");
    assert_eq!(app["networkBindings"][0]["hostPort"], 32768);
    assert_eq!(bench.reservation(&instance), (768, 900, 1, 0));
}

#[tokio::test]
async fn a_task_whose_essential_container_exits_has_ended() {
    let (bench, instance, arn) = running().await;
    let app = container("STOPPED", json!({ "exitCode": 3 }));
    bench.report("a", &arn, json!({ "status": "STOPPED", "containers": [app] })).await.unwrap();
    let task = bench.task(&arn).await;
    assert_eq!(task["lastStatus"], "STOPPED");
    assert_eq!(task["desiredStatus"], "STOPPED");
    assert_eq!(task["stopCode"], "EssentialContainerExited");
    assert_eq!(task["stoppedReason"], "Essential container in task exited");
    assert_eq!(task["containers"][0]["exitCode"], 3);
    assert!(task["stoppedAt"].is_number() && task["stoppingAt"].is_number());
    assert_eq!(bench.reservation(&instance), (1024, 1000, 0, 0));
    // Late and repeated reports give nothing back twice, and take nothing.
    for status in ["RUNNING", "STOPPED"] {
        bench.report("a", &arn, json!({ "status": status })).await.unwrap();
    }
    assert_eq!(bench.task(&arn).await, task);
    assert_eq!(bench.reservation(&instance), (1024, 1000, 0, 0));
}

#[tokio::test]
async fn a_task_that_never_ran_failed_to_start_and_says_why() {
    let bench = Bench::with_nodes(&["a"]).await;
    let failed = async |report| {
        let arn = bench.run("web").await;
        bench.report("a", &arn, report).await.unwrap();
        let task = bench.task(&arn).await;
        assert_eq!(task["stopCode"], "TaskFailedToStart");
        text(&task["stoppedReason"])
    };
    let app = || container("STOPPED", json!({ "reason": "CannotPullContainerError: no such image" }));
    let of_task = json!({ "status": "STOPPED", "reason": "the disk is full", "containers": [app()] });
    assert_eq!(failed(of_task).await, "the disk is full");
    let of_container = json!({ "status": "STOPPED", "containers": [app()] });
    assert_eq!(failed(of_container).await, "CannotPullContainerError: no such image");
    let endless = json!({ "status": "STOPPED", "reason": "x".repeat(5000) });
    assert_eq!(failed(endless).await.len(), 1024);
}

#[tokio::test]
async fn a_stopped_task_keeps_what_it_holds_until_its_node_says_so() {
    let (bench, instance, arn) = running().await;
    let told = stop(&bench, &arn, "enough").await;
    assert_eq!(told["desiredStatus"], "STOPPED");
    assert_eq!(told["lastStatus"], "STOPPING");
    assert_eq!(bench.reservation(&instance), (768, 900, 1, 0));
    // The first reason stays.
    assert_eq!(stop(&bench, &arn, "again").await["stoppedReason"], "enough");

    bench.report("a", &arn, json!({ "status": "STOPPED", "reason": "of the node" })).await.unwrap();
    let task = bench.task(&arn).await;
    assert_eq!(task["stopCode"], "UserInitiated");
    assert_eq!(task["stoppedReason"], "enough");
    assert_eq!(bench.reservation(&instance), (1024, 1000, 0, 0));
}

#[tokio::test]
async fn a_task_that_is_stopped_before_it_ran_ends_with_the_users_reason() {
    let bench = Bench::with_nodes(&["a"]).await;
    let arn = bench.run("web").await;
    assert_eq!(stop(&bench, &arn, "changed my mind").await["lastStatus"], "PENDING");
    bench.report("a", &arn, json!({ "status": "STOPPED" })).await.unwrap();
    let task = bench.task(&arn).await;
    assert_eq!((&task["stopCode"], &task["stoppedReason"]), (&json!("UserInitiated"), &json!("changed my mind")));
    let unknown = json!({ "task": "0123456789abcdef0123456789abcdef" });
    let refused = refusal(bench.stop_task(&owner(), unknown).await);
    assert_eq!(refused, "InvalidParameterException: The referenced task was not found.");
}

#[tokio::test]
async fn a_container_alone_is_reported_too() {
    let (bench, _, arn) = running().await;
    let input = json!({ "task": arn, "containerName": "app", "status": "STOPPED", "exitCode": 1 });
    bench.submit_container_state_change(&node("a"), input).await.unwrap();
    let task = bench.task(&arn).await;
    assert_eq!(task["lastStatus"], "RUNNING");
    assert_eq!(task["containers"][0]["exitCode"], 1);
}

#[tokio::test]
async fn a_node_speaks_for_its_own_tasks_alone() {
    let bench = Bench::with_nodes(&["a"]).await;
    let arn = bench.run("web").await;
    bench.join("b", json!({})).await;
    let report = json!({ "status": "STOPPED" });
    let denied = refusal(bench.report("b", &arn, report.clone()).await);
    assert!(denied.starts_with("AccessDeniedException"), "{denied}");
    let input = json!({ "task": arn, "containerName": "app", "status": "STOPPED" });
    let denied = refusal(bench.submit_container_state_change(&node("b"), input).await);
    assert!(denied.starts_with("AccessDeniedException"), "{denied}");
    assert_eq!(bench.task(&arn).await["lastStatus"], "PENDING");
    // Agents give up on a task that is answered so.
    let forgotten = "0123456789abcdef0123456789abcdef";
    let unknown = refusal(bench.report("a", forgotten, report).await);
    assert_eq!(unknown, format!("InvalidParameterException: Unable to find task {forgotten}"));
}
