//! A client that has lost an answer asks again: a repeated call leaves what the first one left, and says so or refuses. What
//! makes something new each time by its nature (RegisterTaskDefinition, RunTask and StartTask without a token) is not here.

use serde_json::{Value, json};

use crate::container_instance::tests::bench::{Bench, node, owner};

macro_rules! twice {
    ($bench:ident, $($operation:ident($caller:expr, $input:expr);)*) => {$(
        let (caller, input): (_, Value) = ($caller, $input);
        let first = $bench.$operation(&caller, input.clone()).await.unwrap_or_else(|error| panic!("{input}: {error}"));
        let left = $bench.everything();
        let second = $bench.$operation(&caller, input.clone()).await;
        assert_eq!($bench.everything(), left, "{}: {input}: {second:?}", stringify!($operation));
        drop(first);
    )*};
}

#[tokio::test]
async fn a_repeated_call_changes_nothing_more() {
    let bench = Bench::with_nodes(&[]).await;
    let instance = bench.join("a", json!({})).await;
    let task = bench.run("web").await;
    let own = bench.run("web").await;
    bench.regroup(&own, "service:web").await;
    let group = "arn:aws:autoscaling:us-east-1:000000000000:autoScalingGroup:u:autoScalingGroupName/g";
    let attribute = json!({ "attributes": [{ "name": "stack", "value": "prod", "targetId": instance }] });
    let tags = json!({ "resourceArn": task, "tags": [{ "key": "a", "value": "1" }] });
    twice! { bench,
        create_cluster(owner(), json!({ "clusterName": "c", "tags": [{ "key": "a", "value": "1" }] }));
        update_cluster(owner(), json!({ "cluster": "c", "settings": [{ "name": "containerInsights", "value": "enabled" }] }));
        update_cluster_settings(owner(), json!({ "cluster": "c", "settings": [{ "name": "containerInsights", "value": "disabled" }] }));
        create_capacity_provider(owner(), json!({ "name": "p", "autoScalingGroupProvider": { "autoScalingGroupArn": group } }));
        update_capacity_provider(owner(), json!({ "name": "p", "autoScalingGroupProvider": { "managedDraining": "DISABLED" } }));
        put_cluster_capacity_providers(owner(), json!({ "cluster": "c", "capacityProviders": ["p"], "defaultCapacityProviderStrategy": [] }));
        put_cluster_capacity_providers(owner(), json!({ "cluster": "c", "capacityProviders": [], "defaultCapacityProviderStrategy": [] }));
        delete_capacity_provider(owner(), json!({ "capacityProvider": "p" }));
        delete_cluster(owner(), json!({ "cluster": "c" }));
        put_account_setting(owner(), json!({ "name": "awsvpcTrunking", "value": "enabled" }));
        put_account_setting_default(owner(), json!({ "name": "containerInsights", "value": "enabled" }));
        delete_account_setting(owner(), json!({ "name": "awsvpcTrunking" }));
        put_attributes(owner(), attribute.clone());
        delete_attributes(owner(), attribute);
        tag_resource(owner(), tags);
        untag_resource(owner(), json!({ "resourceArn": task, "tagKeys": ["a"] }));
        update_container_instances_state(owner(), json!({ "containerInstances": [instance], "status": "DRAINING" }));
        update_container_instances_state(owner(), json!({ "containerInstances": [instance], "status": "ACTIVE" }));
        run_task(owner(), json!({ "taskDefinition": "web", "clientToken": "t" }));
        submit_task_state_change(node("a"), json!({ "task": task, "status": "RUNNING" }));
        submit_container_state_change(node("a"), json!({ "task": task, "containerName": "app", "status": "RUNNING", "runtimeId": "r" }));
        stop_task(owner(), json!({ "task": task, "reason": "done" }));
        submit_task_state_change(node("a"), json!({ "task": task, "status": "STOPPED" }));
        stop_task(owner(), json!({ "task": task }));
        deregister_task_definition(owner(), json!({ "taskDefinition": "web:1" }));
        delete_task_definitions(owner(), json!({ "taskDefinitions": ["web:1"] }));
        deregister_container_instance(owner(), json!({ "containerInstance": instance, "force": true }));
    }
    // It expires later when it is asked for later, and is there either way.
    for _ in 0..2 {
        let input = json!({ "cluster": "default", "tasks": [own], "protectionEnabled": true });
        let answer = bench.update_task_protection(&owner(), input).await.unwrap();
        assert_eq!(answer["protectedTasks"][0]["protectionEnabled"], true);
    }
}
