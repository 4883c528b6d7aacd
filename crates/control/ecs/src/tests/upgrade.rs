//! Rows that an earlier version wrote: what it did not know yet is as if nobody had asked for it.

use estiva_store::Row;
use serde_json::{Value, json};

use crate::cluster::table::ClusterRow;
use crate::container_instance::tests::bench::{Bench, owner};
use crate::task::table::{TaskRow, TaskStatusRow};

/// The row without these members, read again.
fn without<R: Row>(row: &R, members: &[&str]) -> R {
    let mut value = serde_json::to_value(row).unwrap();
    for member in members {
        let (path, name) = member.rsplit_once('/').unwrap_or(("", member));
        let pointer = if path.is_empty() { String::new() } else { format!("/{path}") };
        let object = value.pointer_mut(&pointer).and_then(Value::as_object_mut).unwrap();
        assert!(object.remove(name).is_some(), "{member} is no member");
    }
    serde_json::from_value(value).unwrap()
}

#[tokio::test]
async fn rows_of_the_first_version_are_read() {
    let bench = Bench::with_nodes(&["a"]).await;
    let task = bench.run("web").await;
    let view = bench.ecs.store.view();
    let cluster = view.scan::<ClusterRow>("").next().unwrap();
    let row = view.scan::<TaskRow>("").next().unwrap();
    let status = view.scan::<TaskStatusRow>("").next().unwrap();
    let update = bench.ecs.store.update(|tx| {
        tx.put(without(&*cluster, &["capacity_providers", "default_strategy"]));
        let since = [
            "capacity_provider",
            "deployment",
            "failure",
            "image_digests",
            "is_live",
            "timeout_seconds",
            "demand/gpus",
        ];
        tx.put(without(&*row, &since));
        tx.put(without(&*status, &["launch_type", "state/timeline", "deployment"]));
        Ok::<_, estiva_api_ecs::Error>(())
    });
    update.await.unwrap();
    assert_eq!(bench.task(&task).await["lastStatus"], "PENDING");
    let instance = bench.task(&task).await["containerInstanceArn"].clone();
    let input = json!({ "containerInstance": instance });
    let refused = bench.deregister_container_instance(&owner(), input.clone()).await;
    assert!(refused.is_err(), "its node still has it");
    assert_eq!(bench.list_tasks(&owner(), input).await.unwrap()["taskArns"], json!([task]));
    bench.report("a", &task, json!({ "status": "RUNNING" })).await.unwrap();
    let cluster = bench.describe_clusters(&owner(), json!({})).await.unwrap()["clusters"][0].clone();
    assert_eq!((&cluster["runningTasksCount"], &cluster["capacityProviders"]), (&json!(1), &json!([])));
}
