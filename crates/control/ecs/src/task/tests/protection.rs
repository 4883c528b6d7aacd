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
