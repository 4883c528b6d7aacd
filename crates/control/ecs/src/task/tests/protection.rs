//! Scale-in protection.

use serde_json::json;

use crate::container_instance::tests::bench::{Bench, owner, reasons, refusal};

#[tokio::test]
async fn only_tasks_of_services_are_protected() {
    let bench = Bench::with_nodes(&["a"]).await;
    let task = bench.run("web").await;
    let input = json!({ "cluster": "default", "tasks": [task, "0".repeat(32)], "protectionEnabled": true });
    let answer = bench.update_task_protection(&owner(), input).await.unwrap();
    assert_eq!(
        (&answer["protectedTasks"], reasons(&answer)),
        (&json!([]), vec!["TASK_NOT_VALID".to_owned(), "MISSING".to_owned()])
    );
    let answer = bench.get_task_protection(&owner(), json!({ "cluster": "default", "tasks": [task] })).await.unwrap();
    assert_eq!(answer["protectedTasks"], json!([{ "protectionEnabled": false, "taskArn": task }]));
}

#[tokio::test]
async fn a_services_task_is_protected_until_it_is_not() {
    let bench = Bench::with_nodes(&["a"]).await;
    let task = bench.run("web").await;
    bench.regroup(&task, "service:web").await;
    let set = async |enabled: bool, minutes: i32| {
        let input = json!({
            "cluster": "default", "tasks": [task], "protectionEnabled": enabled, "expiresInMinutes": minutes,
        });
        bench.update_task_protection(&owner(), input).await
    };
    let answer = set(true, 60).await.unwrap();
    assert_eq!(answer["protectedTasks"][0]["protectionEnabled"], true);
    assert!(answer["protectedTasks"][0]["expirationDate"].as_f64().unwrap() > 0.0);
    let answer = set(false, 60).await.unwrap();
    assert_eq!(answer["protectedTasks"], json!([{ "protectionEnabled": false, "taskArn": task }]));
    for minutes in [0, 2881] {
        assert!(refusal(set(true, minutes).await).contains("expiresInMinutes"));
    }
}

#[tokio::test]
async fn a_task_that_is_to_end_is_not_protected() {
    let bench = Bench::with_nodes(&["a"]).await;
    let task = bench.run("web").await;
    bench.regroup(&task, "service:web").await;
    let set = async |enabled: bool| {
        let input = json!({ "cluster": "default", "tasks": [task], "protectionEnabled": enabled });
        bench.update_task_protection(&owner(), input).await.unwrap()
    };
    let is_protected = async || {
        let input = json!({ "cluster": "default", "tasks": [task] });
        bench.get_task_protection(&owner(), input).await.unwrap()["protectedTasks"][0]["protectionEnabled"].clone()
    };
    bench.stop_task(&owner(), json!({ "task": task })).await.unwrap();
    let told = set(true).await;
    assert_eq!((&told["protectedTasks"], reasons(&told)), (&json!([]), vec!["TASK_NOT_VALID".to_owned()]));
    assert_eq!(told["failures"][0]["arn"], json!(task));
    assert_eq!(is_protected().await, false);
    assert_eq!(reasons(&set(false).await), Vec::<String>::new(), "it may say that it no longer needs to be");
    bench.obey().await;
    assert_eq!(bench.task(&task).await["lastStatus"], "STOPPED");
    for enabled in [true, false] {
        let told = set(enabled).await;
        assert_eq!((&told["protectedTasks"], reasons(&told)), (&json!([]), vec!["TASK_NOT_VALID".to_owned()]));
    }
    assert_eq!(is_protected().await, false);
}

#[tokio::test]
async fn one_task_that_cannot_be_protected_keeps_no_other_from_it() {
    let bench = Bench::with_nodes(&["a"]).await;
    let tasks = [bench.run("web").await, bench.run("web").await];
    for task in &tasks {
        bench.regroup(task, "service:web").await;
    }
    bench.stop_task(&owner(), json!({ "task": tasks[0] })).await.unwrap();
    let input = json!({ "cluster": "default", "tasks": tasks, "protectionEnabled": true });
    let answer = bench.update_task_protection(&owner(), input).await.unwrap();
    assert_eq!(reasons(&answer), ["TASK_NOT_VALID"]);
    assert_eq!(
        (&answer["protectedTasks"][0]["taskArn"], answer["protectedTasks"].as_array().unwrap().len()),
        (&json!(tasks[1]), 1)
    );
}
