//! Providers, clusters that have them, and tasks that are given to them.

use serde_json::{Value, json};

use crate::container_instance::tests::bench::{Bench, merged, offer, owner, refusal};

const GROUP: &str = "arn:aws:autoscaling:us-east-1:000000000000:autoScalingGroup:uuid:autoScalingGroupName/one";

fn provider(name: &str, more: Value) -> Value {
    json!({ "name": name, "autoScalingGroupProvider": merged(json!({ "autoScalingGroupArn": GROUP }), more) })
}

async fn names(bench: &Bench, input: Value) -> Vec<String> {
    let answer = bench.describe_capacity_providers(&owner(), input).await.unwrap();
    answer["capacityProviders"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_provider_is_made_changed_used_and_deleted() {
    let bench = Bench::with_nodes(&[]).await;
    bench.create_cluster(&owner(), json!({})).await.unwrap();
    let scaling = json!({ "managedScaling": { "status": "ENABLED", "targetCapacity": 80 } });
    let made = bench.create_capacity_provider(&owner(), provider("mine", scaling)).await.unwrap();
    let made = &made["capacityProvider"];
    assert_eq!((&made["status"], &made["type"]), (&json!("ACTIVE"), &json!("EC2_AUTOSCALING")));
    let expected = json!({
        "status": "ENABLED", "targetCapacity": 80, "minimumScalingStepSize": 1, "maximumScalingStepSize": 10_000,
        "instanceWarmupPeriod": 300,
    });
    assert_eq!(made["autoScalingGroupProvider"]["managedScaling"], expected);
    let change = json!({ "name": "mine", "autoScalingGroupProvider": { "managedScaling": { "targetCapacity": 50 } } });
    let changed = bench.update_capacity_provider(&owner(), change).await.unwrap();
    let changed = &changed["capacityProvider"];
    assert_eq!(changed["updateStatus"], "UPDATE_COMPLETE");
    assert_eq!(changed["autoScalingGroupProvider"]["managedScaling"]["targetCapacity"], 50);
    assert_eq!(names(&bench, json!({})).await, ["FARGATE", "FARGATE_SPOT", "mine"]);
    let put = json!({
        "cluster": "default", "capacityProviders": ["mine", "FARGATE"],
        "defaultCapacityProviderStrategy": [{ "capacityProvider": "mine", "weight": 1 }],
    });
    let cluster = bench.put_cluster_capacity_providers(&owner(), put).await.unwrap();
    assert_eq!(cluster["cluster"]["capacityProviders"], json!(["mine", "FARGATE"]));
    let expected = json!([{ "capacityProvider": "mine", "base": 0, "weight": 1 }]);
    assert_eq!(cluster["cluster"]["defaultCapacityProviderStrategy"], expected);
    assert_eq!(names(&bench, json!({ "cluster": "default" })).await, ["FARGATE", "mine"]);
    let told = refusal(bench.delete_capacity_provider(&owner(), json!({ "capacityProvider": "mine" })).await);
    assert!(told.contains("associated with cluster: default"), "{told}");
    let none = json!({ "cluster": "default", "capacityProviders": [], "defaultCapacityProviderStrategy": [] });
    bench.put_cluster_capacity_providers(&owner(), none).await.unwrap();
    let arn = made["capacityProviderArn"].clone();
    let deleted = bench.delete_capacity_provider(&owner(), json!({ "capacityProvider": arn })).await.unwrap();
    assert_eq!(deleted["capacityProvider"]["updateStatus"], "DELETE_COMPLETE");
    assert_eq!(names(&bench, json!({ "capacityProviders": ["mine"] })).await, Vec::<String>::new());
}

#[tokio::test]
async fn what_cannot_be_is_refused() {
    let bench = Bench::with_nodes(&[]).await;
    bench.create_cluster(&owner(), json!({})).await.unwrap();
    bench.create_capacity_provider(&owner(), provider("mine", json!({}))).await.unwrap();
    let protected = json!({ "managedTerminationProtection": "ENABLED" });
    for (input, expected) in [
        (provider("mine", json!({})), "exists already"),
        (provider("other", json!({})), "used by another capacity provider"),
        (provider("fargate-mine", json!({})), "capacity provider name is invalid"),
        (provider("third", json!({ "autoScalingGroupArn": "x" })), "autoScalingGroupArn"),
        (provider("third", protected), "managed scaling"),
        (provider("third", json!({ "managedScaling": { "targetCapacity": 101 } })), "targetCapacity"),
    ] {
        let told = refusal(bench.create_capacity_provider(&owner(), input.clone()).await);
        assert!(told.starts_with("InvalidParameterException") && told.contains(expected), "{input}: {told}");
    }
    let told = refusal(bench.delete_capacity_provider(&owner(), json!({ "capacityProvider": "FARGATE" })).await);
    assert!(told.contains("reserved"), "{told}");
    let item = |name: &str, base: i32, weight: i32| json!({ "capacityProvider": name, "base": base, "weight": weight });
    for (providers, strategy, expected) in [
        (json!(["nothing"]), json!([]), "'nothing' was not found"),
        (json!(["FARGATE"]), json!([item("mine", 0, 1)]), "not associated with the cluster"),
        (json!(["FARGATE", "mine"]), json!([item("FARGATE", 0, 1), item("mine", 0, 1)]), "mix of capacity providers"),
        (json!(["FARGATE"]), json!([item("FARGATE", 0, 0)]), "weight value greater than zero"),
        (json!(["FARGATE"]), json!([item("FARGATE", 0, 1001)]), "weight from 0 to 1000"),
        (
            json!(["FARGATE", "FARGATE_SPOT"]),
            json!([item("FARGATE", 1, 1), item("FARGATE_SPOT", 1, 1)]),
            "multiple capacity providers",
        ),
    ] {
        let input = json!({ "cluster": "default", "capacityProviders": providers, "defaultCapacityProviderStrategy": strategy });
        let told = refusal(bench.put_cluster_capacity_providers(&owner(), input.clone()).await);
        assert!(told.starts_with("InvalidParameterException") && told.contains(expected), "{input}: {told}");
    }
}

#[tokio::test]
async fn tasks_are_shared_out_by_the_strategy() {
    let bench = Bench::with_nodes(&[]).await;
    let mut attributes = offer("a")["attributes"].as_array().unwrap().clone();
    attributes.push(json!({ "name": "estiva.capability.fargate" }));
    for name in ["a", "b"] {
        bench.join(name, json!({ "attributes": attributes })).await;
    }
    let fargate = json!({
        "family": "serverless", "requiresCompatibilities": ["FARGATE"], "networkMode": "awsvpc", "cpu": "256", "memory": "512",
        "containerDefinitions": [{ "name": "app", "image": "busybox" }],
    });
    bench.register_task_definition(&owner(), fargate).await.unwrap();
    let item = |name: &str, base: i32, weight: i32| json!({ "capacityProvider": name, "base": base, "weight": weight });
    let put = json!({
        "cluster": "default", "capacityProviders": ["FARGATE", "FARGATE_SPOT"],
        "defaultCapacityProviderStrategy": [item("FARGATE", 1, 0), item("FARGATE_SPOT", 0, 1)],
    });
    bench.put_cluster_capacity_providers(&owner(), put).await.unwrap();
    let network = json!({ "networkConfiguration": { "awsvpcConfiguration": { "subnets": ["subnet-1"] } } });
    let run = async |more: Value| {
        let base = merged(json!({ "taskDefinition": "serverless" }), network.clone());
        bench.run_task(&owner(), merged(base, more)).await
    };
    let both = json!({ "launchType": "FARGATE", "capacityProviderStrategy": [item("FARGATE", 0, 1)] });
    assert!(refusal(run(both).await).contains("Specifying both a launch type and capacity provider strategy"));
    let chosen = json!({ "placementConstraints": [{ "type": "distinctInstance" }] });
    assert!(refusal(run(chosen).await).contains("Placement constraints are not supported with FARGATE"));
    let answer = run(json!({ "count": 2, "enableECSManagedTags": true })).await.unwrap();
    let tasks = answer["tasks"].as_array().unwrap();
    let providers: Vec<&Value> = tasks.iter().map(|task| &task["capacityProviderName"]).collect();
    assert_eq!(providers, ["FARGATE", "FARGATE_SPOT"]);
    assert!(tasks.iter().all(|task| task["launchType"] == "FARGATE"));
    assert_eq!(tasks[0]["tags"], json!([{ "key": "aws:ecs:clusterName", "value": "default" }]));

    // Where there is room for one alone, the base has it, wherever it stands.
    bench.join("c", json!({ "attributes": attributes })).await;
    let short = json!([item("FARGATE_SPOT", 0, 1), item("FARGATE", 1, 0)]);
    let answer = run(json!({ "count": 2, "capacityProviderStrategy": short })).await.unwrap();
    let providers: Vec<&Value> =
        answer["tasks"].as_array().unwrap().iter().map(|task| &task["capacityProviderName"]).collect();
    assert_eq!(providers, ["FARGATE"]);
}
