//! Clusters from their making to their end.

use serde_json::{Value, json};

use crate::container_instance::tests::bench::{Bench, node, owner, reasons, refusal};

async fn described(bench: &Bench, include: Value) -> Value {
    let input = json!({ "clusters": ["default"], "include": include });
    bench.describe_clusters(&owner(), input).await.unwrap()["clusters"][0].clone()
}

fn statistic(cluster: &Value, name: &str) -> Option<String> {
    let found = cluster["statistics"].as_array()?.iter().find(|pair| pair["name"] == name)?;
    found["value"].as_str().map(str::to_owned)
}

#[tokio::test]
async fn counts_follow_instances_and_tasks() {
    let bench = Bench::with_nodes(&[]).await;
    let instance = bench.join("a", json!({})).await;
    let (one, _two) = (bench.run("web").await, bench.run("web").await);
    bench.report("a", &one, json!({ "status": "RUNNING" })).await.unwrap();
    let cluster = described(&bench, json!(["STATISTICS"])).await;
    assert_eq!((&cluster["runningTasksCount"], &cluster["pendingTasksCount"]), (&json!(1), &json!(1)));
    assert_eq!(cluster["registeredContainerInstancesCount"], 1);
    for (name, value) in [
        ("runningEC2TasksCount", "1"),
        ("pendingEC2TasksCount", "1"),
        ("runningFargateTasksCount", "0"),
        ("pendingExternalTasksCount", "0"),
        ("activeEC2ServiceCount", "0"),
    ] {
        assert_eq!(statistic(&cluster, name).as_deref(), Some(value), "{name}");
    }
    assert_eq!(described(&bench, json!([])).await["statistics"], json!([]));
    let told = refusal(bench.delete_cluster(&owner(), json!({ "cluster": "default" })).await);
    assert!(told.starts_with("ClusterContainsContainerInstancesException"), "{told}");
    let forced = json!({ "containerInstance": instance, "force": true });
    bench.deregister_container_instance(&owner(), forced).await.unwrap();
    let deleted = bench.delete_cluster(&owner(), json!({ "cluster": "default" })).await.unwrap();
    assert_eq!(deleted["cluster"]["status"], "INACTIVE");
    let told = refusal(bench.run_task(&owner(), json!({ "taskDefinition": "web" })).await);
    assert!(told.starts_with("ClusterNotFoundException"), "{told}");
}

#[tokio::test]
async fn a_lost_agent_shows_on_its_instance_and_its_tasks() {
    let bench = Bench::with_nodes(&[]).await;
    let instance = bench.join("a", json!({})).await;
    let task = bench.run("web").await;
    assert_eq!(bench.task(&task).await.get("connectivity"), None, "nobody has taken it yet");
    let report = json!({ "task": task, "cluster": "default", "status": "RUNNING", "pullStartedAt": 1.0 });
    bench.submit_task_state_change(&node("a"), report).await.unwrap();
    let health = async || {
        let input = json!({ "containerInstances": [instance], "include": ["CONTAINER_INSTANCE_HEALTH"] });
        let answer = bench.describe_container_instances(&owner(), input).await.unwrap();
        answer["containerInstances"][0]["healthStatus"].clone()
    };
    for (connected, connectivity, status) in [(true, "CONNECTED", "OK"), (false, "DISCONNECTED", "IMPAIRED")] {
        bench.connect(&instance, connected).await;
        assert_eq!(bench.task(&task).await["connectivity"], connectivity);
        let health = health().await;
        assert_eq!(health["overallStatus"], status);
        assert_eq!(health["details"][0]["type"], "AGENT_CONNECTIVITY");
    }
    assert_eq!(bench.instance(&instance).await.get("healthStatus"), None, "only if it is asked for");
}

#[tokio::test]
async fn what_is_not_there_is_missing() {
    let bench = Bench::with_nodes(&["a"]).await;
    let answer = bench.describe_clusters(&owner(), json!({ "clusters": ["default", "nowhere"] })).await.unwrap();
    assert_eq!((answer["clusters"].as_array().unwrap().len(), reasons(&answer)), (1, vec!["MISSING".to_owned()]));
    let told = refusal(bench.create_cluster(&owner(), json!({ "clusterName": "a b" })).await);
    assert!(told.starts_with("InvalidParameterException") && told.contains("a b"), "{told}");
    let strange = json!({ "cluster": "default", "settings": [{ "name": "containerInsights", "value": "maybe" }] });
    let told = refusal(bench.update_cluster(&owner(), strange).await);
    assert!(told.contains("maybe"), "{told}");
}
