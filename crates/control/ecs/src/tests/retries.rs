//! A client that has lost an answer asks again: a repeated call leaves what the first one left, and says so or refuses. What
//! makes something new each time by its nature (RegisterTaskDefinition, RunTask and StartTask without a token) is not here.

use serde_json::{Value, json};

use crate::container_instance::tests::bench::{Bench, merged, node, owner};

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
    // It expires later when it is asked for later, and is there either way.
    for _ in 0..2 {
        let input = json!({ "cluster": "default", "tasks": [own], "protectionEnabled": true });
        let answer = bench.update_task_protection(&owner(), input).await.unwrap();
        assert_eq!(answer["protectedTasks"][0]["protectionEnabled"], true);
    }
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
        create_service(owner(), json!({ "serviceName": "s", "taskDefinition": "web", "desiredCount": 1, "clientToken": "t" }));
        update_service(owner(), json!({ "service": "s", "desiredCount": 2, "deploymentConfiguration": { "maximumPercent": 150 } }));
        create_service(owner(), json!({ "serviceName": "sets", "deploymentController": { "type": "EXTERNAL" }, "clientToken": "t" }));
        create_task_set(owner(), json!({ "cluster": "default", "service": "sets", "taskDefinition": "web", "clientToken": "t" }));
        stop_task(owner(), json!({ "task": task, "reason": "done" }));
        submit_task_state_change(node("a"), json!({ "task": task, "status": "STOPPED" }));
        stop_task(owner(), json!({ "task": task }));
        deregister_task_definition(owner(), json!({ "taskDefinition": "web:1" }));
        delete_task_definitions(owner(), json!({ "taskDefinitions": ["web:1"] }));
        deregister_container_instance(owner(), json!({ "containerInstance": instance, "force": true }));
    }
    let deployments = bench.list_service_deployments(&owner(), json!({ "service": "s" })).await.unwrap();
    let deployment = deployments["serviceDeployments"][0]["serviceDeploymentArn"].clone();
    let where_ = json!({ "cluster": "default", "service": "sets" });
    let sets = bench.describe_task_sets(&owner(), where_.clone()).await.unwrap();
    let set = json!({ "taskSet": sets["taskSets"][0]["id"], "primaryTaskSet": sets["taskSets"][0]["id"] });
    let set = merged(where_, set);
    let without = |field: &str| {
        let mut set = set.clone();
        set.as_object_mut().unwrap().remove(field);
        set
    };
    let scaled = merged(without("primaryTaskSet"), json!({ "scale": { "value": 50.0, "unit": "PERCENT" } }));
    twice! { bench,
        stop_service_deployment(owner(), json!({ "serviceDeploymentArn": deployment, "stopType": "ABORT" }));
        update_service_primary_task_set(owner(), without("taskSet"));
        update_task_set(owner(), scaled);
        delete_task_set(owner(), merged(without("primaryTaskSet"), json!({ "force": true })));
        delete_service(owner(), json!({ "service": "sets", "force": true }));
        delete_service(owner(), json!({ "service": "s", "force": true }));
    }
}
