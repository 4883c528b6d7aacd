//! Stopped tasks are shown for an hour, and then forgotten with what stood in their name.

use std::time::Duration;

use estiva_api_ecs::Error;
use estiva_model::Timestamp;
use serde_json::json;

use crate::container_instance::forget_inactive;
use crate::container_instance::table::{ConnectionRow, ContainerInstanceRow};
use crate::container_instance::tests::bench::{Bench, owner, reasons};
use crate::exec_session::table::ExecSessionRow;
use crate::scope::Scope;
use crate::task::retention::{BATCH_ROWS, forget_due};
use crate::task::table::{ClientTokenRow, TaskRow, TaskStatusRow, minute_of};
use crate::task_definition::table::TaskDefinitionRow;

const HOUR: Duration = Duration::from_secs(3600);

fn this_minute() -> i64 {
    minute_of(Timestamp::now())
}

/// Forgets what is due when `minutes` have gone by since the minute `start`.
async fn after(bench: &Bench, start: i64, minutes: i64) {
    forget_due(&bench.ecs, start, start + minutes).await.unwrap();
}

#[tokio::test]
async fn what_has_stopped_is_forgotten_after_an_hour_and_what_runs_is_not() {
    let (bench, start) = (Bench::with_nodes(&["a"]).await, this_minute());
    let stopped = bench.run("web").await;
    let input = json!({ "taskDefinition": "web", "clientToken": "t" });
    let runs = bench.run_task(&owner(), input).await.unwrap()["tasks"][0]["taskArn"].clone();
    bench.report("a", &stopped, json!({ "status": "STOPPED" })).await.unwrap();

    after(&bench, start, 60).await;
    assert_eq!(bench.task(&stopped).await["lastStatus"], "STOPPED");
    assert_eq!(bench.count::<ClientTokenRow>(), 1);

    // Two minutes later, for the clock may have gone from one to the next in between.
    after(&bench, start, 62).await;
    let answer = bench.describe_tasks(&owner(), json!({ "tasks": [stopped, runs] })).await.unwrap();
    assert_eq!(reasons(&answer), ["MISSING"]);
    assert_eq!(answer["tasks"][0]["taskArn"], runs);
    assert_eq!((bench.count::<TaskRow>(), bench.count::<TaskStatusRow>()), (1, 1));
    assert_eq!(bench.count::<ClientTokenRow>(), 0);
}

#[tokio::test]
async fn a_deregistered_instance_is_forgotten_with_the_last_of_its_tasks() {
    let (bench, start) = (Bench::new(), this_minute());
    bench.define("web", json!({ "memory": 100, "cpu": 256 }), json!({})).await;
    let gone = bench.join("a", json!({})).await;
    let task = bench.run("web").await;
    bench.join("b", json!({})).await;
    let input = json!({ "containerInstance": gone, "force": true });
    bench.deregister_container_instance(&owner(), input).await.unwrap();
    let left = || (bench.count::<ContainerInstanceRow>(), bench.count::<ConnectionRow>());
    forget_inactive(&bench.ecs, Timestamp::now().plus(HOUR)).await.unwrap();
    assert_eq!(bench.task(&task).await["lastStatus"], "STOPPED");
    assert_eq!(left(), (2, 2), "its task is still shown");
    after(&bench, start, 60).await;
    assert_eq!(left(), (2, 2));
    after(&bench, start, 62).await;
    assert_eq!(left(), (1, 1));
}

#[tokio::test]
async fn a_definition_goes_with_the_last_task_that_used_it() {
    let (bench, start) = (Bench::with_nodes(&["a"]).await, this_minute());
    let tasks = [bench.run("web").await, bench.run("web").await];
    bench.deregister_task_definition(&owner(), json!({ "taskDefinition": "web:1" })).await.unwrap();
    bench.delete_task_definitions(&owner(), json!({ "taskDefinitions": ["web:1"] })).await.unwrap();
    for (task, left) in tasks.iter().zip([1, 0]) {
        bench.report("a", task, json!({ "status": "STOPPED" })).await.unwrap();
        after(&bench, start, 62).await;
        assert_eq!(bench.count::<TaskDefinitionRow>(), left);
    }
}

#[tokio::test]
async fn a_session_that_nobody_opened_is_forgotten_with_its_token() {
    let (bench, start) = (Bench::new(), this_minute());
    let session = |opened: bool| ExecSessionRow {
        scope: Scope::of(&owner()),
        id: format!("opened-{opened}"),
        task_arn: String::new(),
        container_instance_key: String::new(),
        container: String::new(),
        command: String::new(),
        token_sha256: String::new(),
        opened,
        log_group: None,
        created_at: Timestamp::now(),
    };
    let update = bench.ecs.store.update(|tx| {
        for opened in [true, false] {
            tx.put(session(opened));
        }
        Ok::<_, Error>(())
    });
    update.await.unwrap();
    after(&bench, start, 0).await;
    assert_eq!(bench.count::<ExecSessionRow>(), 2);
    after(&bench, start, 3).await;
    assert!(bench.ecs.store.view().contains::<ExecSessionRow>("opened-true"));
    assert_eq!(bench.count::<ExecSessionRow>(), 1);
}

#[tokio::test]
async fn a_minute_with_more_than_a_batch_is_forgotten_whole() {
    let (bench, start) = (Bench::new(), this_minute());
    let token = |number: usize| ClientTokenRow {
        scope: Scope::of(&owner()),
        operation: "RunTask".to_owned(),
        token: number.to_string(),
        request_digest: String::new(),
        tasks: Vec::new(),
        failures: Vec::new(),
        created_at: Timestamp::now(),
    };
    let update = bench.ecs.store.update(|tx| {
        (0..=BATCH_ROWS).map(token).for_each(|row| drop(tx.put(row)));
        Ok::<_, Error>(())
    });
    update.await.unwrap();
    after(&bench, start, 62).await;
    assert_eq!(bench.count::<ClientTokenRow>(), 0);
}
