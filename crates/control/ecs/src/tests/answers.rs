//! What ECS adds to answers: defaults, and what it knows besides.

use serde_json::{Value, json};

use crate::container_instance::tests::bench::{Bench, merged, node, offer, owner, refusal, text};

const NETWORK: &str = "networkConfiguration";

fn container(name: &str, more: Value) -> Value {
    merged(json!({ "name": name, "image": "busybox", "memory": 64 }), more)
}

/// Names of an object's members.
fn members(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

fn assert_has(value: &Value, expected: &[&str]) {
    let members = members(value);
    let lacking: Vec<_> = expected.iter().filter(|name| !members.contains(name)).collect();
    assert!(lacking.is_empty(), "{lacking:?} lack in {value}");
}

async fn with_fargate() -> Bench {
    let bench = Bench::with_nodes(&[]).await;
    let mut attributes = offer("a")["attributes"].as_array().unwrap().clone();
    attributes.push(json!({ "name": "estiva.capability.fargate" }));
    bench.join("a", json!({ "attributes": attributes })).await;
    let definition = json!({
        "family": "serverless", "requiresCompatibilities": ["FARGATE"], "networkMode": "awsvpc", "cpu": "256", "memory": "512",
        "containerDefinitions": [{ "name": "app", "image": "busybox" }],
    });
    bench.register_task_definition(&owner(), definition).await.unwrap();
    bench
}

fn subnets() -> Value {
    json!({ "awsvpcConfiguration": { "subnets": ["subnet-1"] } })
}

fn filled_in() -> Value {
    json!({ "awsvpcConfiguration": { "subnets": ["subnet-1"], "securityGroups": [], "assignPublicIp": "DISABLED" } })
}

#[tokio::test]
async fn a_described_definition_is_the_same_when_it_is_registered_again() {
    let bench = Bench::with_nodes(&[]).await;
    let health_check = json!({ "command": ["CMD-SHELL", "true"] });
    let definition = json!({ "family": "f", "containerDefinitions": [
        container("app", json!({ "healthCheck": health_check, "portMappings": [{ "containerPort": 80 }] })),
    ] });
    let registered = bench.register_task_definition(&owner(), definition).await.unwrap()["taskDefinition"].clone();
    let shown = &registered["containerDefinitions"][0]["healthCheck"];
    assert_eq!(shown, &json!({ "command": ["CMD-SHELL", "true"], "interval": 30, "timeout": 5, "retries": 3 }));
    assert_has(
        &registered,
        &[
            "taskDefinitionArn",
            "containerDefinitions",
            "family",
            "revision",
            "volumes",
            "status",
            "placementConstraints",
            "compatibilities",
            "registeredAt",
            "registeredBy",
        ],
    );
    let mut again = registered.clone();
    for name in members(&registered) {
        if !["family", "containerDefinitions", "volumes", "placementConstraints"].contains(&name) {
            again.as_object_mut().unwrap().remove(name);
        }
    }
    let second = bench.register_task_definition(&owner(), again).await.unwrap()["taskDefinition"].clone();
    assert_eq!(second["containerDefinitions"], registered["containerDefinitions"]);
    let described = bench.describe_task_definition(&owner(), json!({ "taskDefinition": "f" })).await.unwrap();
    assert_eq!(described["taskDefinition"], second);
}

#[tokio::test]
async fn a_tasks_overrides_name_each_container() {
    let bench = Bench::with_nodes(&["a"]).await;
    let containers = json!([container("one", json!({})), container("two", json!({ "essential": false }))]);
    let definition = json!({ "family": "f", "containerDefinitions": containers });
    bench.register_task_definition(&owner(), definition).await.unwrap();
    let run = async |overrides: Value| {
        let input = json!({ "taskDefinition": "f", "overrides": overrides });
        bench.run_task(&owner(), input).await.unwrap()["tasks"][0]["overrides"].clone()
    };
    let none =
        json!({ "containerOverrides": [{ "name": "one" }, { "name": "two" }], "inferenceAcceleratorOverrides": [] });
    assert_eq!(run(json!({})).await, none);
    // Empty texts are none.
    assert_eq!(run(json!({ "taskRoleArn": "", "executionRoleArn": "", "cpu": "", "memory": "" })).await, none);
    let own = json!([{ "name": "two", "command": ["x"] }]);
    let shown = run(json!({ "containerOverrides": own })).await;
    assert_eq!(shown["containerOverrides"], json!([{ "name": "two", "command": ["x"] }, { "name": "one" }]));
}

#[tokio::test]
async fn a_task_on_fargate() {
    let bench = with_fargate().await;
    let input = json!({
        "taskDefinition": "serverless", "launchType": "FARGATE", NETWORK: subnets(), "enableExecuteCommand": true,
    });
    let task = bench.run_task(&owner(), input).await.unwrap()["tasks"][0].clone();
    assert_eq!(task["ephemeralStorage"], json!({ "sizeInGiB": 20 }));
    assert_eq!(task["fargateEphemeralStorage"], json!({ "sizeInGiB": 20 }));
    let agent = |task: &Value| task["containers"][0]["managedAgents"].clone();
    assert_eq!(agent(&task), json!([{ "name": "ExecuteCommandAgent", "lastStatus": "PENDING" }]));
    // The members that AWS's own examples of RunTask have.
    assert_has(
        &task,
        &[
            "attachments",
            "attributes",
            "availabilityZone",
            "clusterArn",
            "containers",
            "cpu",
            "createdAt",
            "desiredStatus",
            "enableExecuteCommand",
            "ephemeralStorage",
            "fargateEphemeralStorage",
            "group",
            "lastStatus",
            "launchType",
            "memory",
            "overrides",
            "platformFamily",
            "platformVersion",
            "tags",
            "taskArn",
            "taskDefinitionArn",
            "version",
        ],
    );
    assert_has(
        &task["containers"][0],
        &["containerArn", "taskArn", "name", "image", "lastStatus", "networkInterfaces", "cpu"],
    );
    let arn = text(&task["taskArn"]);
    let running = json!({ "status": "RUNNING", "containers": [{ "containerName": "app", "status": "RUNNING" }] });
    bench.report("a", &arn, running).await.unwrap();
    let [agent] = agent(&bench.task(&arn).await).as_array().unwrap().clone().try_into().unwrap();
    assert_eq!(agent["lastStatus"], "RUNNING");
    assert!(agent["lastStartedAt"].is_number(), "{agent}");
    let ec2 = bench.run_task(&owner(), json!({ "taskDefinition": "web" })).await.unwrap();
    assert!(ec2["tasks"][0].get("fargateEphemeralStorage").is_none());
}

#[tokio::test]
async fn a_services_network_and_strategies() {
    let bench = with_fargate().await;
    bench.define("eni", json!({ "memory": 64 }), json!({ "networkMode": "awsvpc" })).await;
    let strategies = json!([{ "type": "binpack", "field": "memory" }, { "type": "spread", "field": "host" }]);
    let input = json!({
        "serviceName": "s", "taskDefinition": "eni", "desiredCount": 0, NETWORK: subnets(), "placementStrategy": strategies,
        "clientToken": "", "platformVersion": "",
    });
    let service = bench.create_service(&owner(), input.clone()).await.unwrap()["service"].clone();
    for shown in [&service, &service["deployments"][0]] {
        assert_eq!(shown[NETWORK], filled_in());
    }
    let shown = json!([{ "type": "binpack", "field": "MEMORY" }, { "type": "spread", "field": "instanceId" }]);
    assert_eq!(service["placementStrategy"], shown);
    // The members that AWS's own examples of CreateService have.
    assert_has(
        &service,
        &[
            "serviceArn",
            "serviceName",
            "clusterArn",
            "loadBalancers",
            "serviceRegistries",
            "status",
            "desiredCount",
            "runningCount",
            "pendingCount",
            "launchType",
            "taskDefinition",
            "deploymentConfiguration",
            "deployments",
            "events",
            "createdAt",
            "createdBy",
            "placementConstraints",
            "placementStrategy",
            NETWORK,
            "schedulingStrategy",
            "deploymentController",
            "enableECSManagedTags",
            "propagateTags",
            "enableExecuteCommand",
            "availabilityZoneRebalancing",
        ],
    );
    let breaker = json!({ "enable": false, "rollback": false });
    assert_eq!(service["deploymentConfiguration"]["deploymentCircuitBreaker"], breaker);
    // The same again is the same, and begins no deployment.
    let again =
        json!({ "service": "s", NETWORK: subnets(), "placementStrategy": [{ "type": "binpack", "field": "cpu" }] });
    let updated = bench.update_service(&owner(), again).await.unwrap()["service"].clone();
    assert_eq!(updated["deployments"][0]["id"], service["deployments"][0]["id"]);
    assert_eq!(updated["placementStrategy"], json!([{ "type": "binpack", "field": "CPU" }]));
    // An empty token makes nothing the same.
    assert!(refusal(bench.create_service(&owner(), input).await).contains("not idempotent"));
    let external = json!({ "serviceName": "sets", "deploymentController": { "type": "EXTERNAL" } });
    bench.create_service(&owner(), external).await.unwrap();
    let set = json!({
        "cluster": "default", "service": "sets", "taskDefinition": "eni", NETWORK: subnets(), "clientToken": "",
    });
    let set = bench.create_task_set(&owner(), set).await.unwrap()["taskSet"].clone();
    assert_eq!(set[NETWORK], filled_in());
    assert_has(
        &set,
        &[
            "id",
            "taskSetArn",
            "status",
            "taskDefinition",
            "computedDesiredCount",
            "pendingCount",
            "runningCount",
            "createdAt",
            "updatedAt",
            "launchType",
            NETWORK,
            "loadBalancers",
            "serviceRegistries",
            "scale",
            "stabilityStatus",
            "stabilityStatusAt",
        ],
    );
}

#[tokio::test]
async fn empty_texts_of_run_task_are_none() {
    let bench = Bench::with_nodes(&["a"]).await;
    let input = json!({ "taskDefinition": "web", "clientToken": "", "startedBy": "", "group": "", "cluster": "" });
    let tasks =
        [bench.run_task(&owner(), input.clone()).await.unwrap(), bench.run_task(&owner(), input).await.unwrap()];
    let arns = tasks.each_ref().map(|answer| text(&answer["tasks"][0]["taskArn"]));
    assert_ne!(arns[0], arns[1], "an empty token is none");
    let task = &tasks[0]["tasks"][0];
    assert_eq!((task.get("startedBy"), &task["group"]), (None, &json!("family:web")));
    let listed = json!({ "family": "", "startedBy": "", "serviceName": "", "containerInstance": "" });
    let listed = bench.list_tasks(&owner(), listed).await.unwrap();
    assert_eq!(listed["taskArns"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_capacity_provider_in_use_stays() {
    let bench = with_fargate().await;
    let put = async |providers: Value| {
        let input =
            json!({ "cluster": "default", "capacityProviders": providers, "defaultCapacityProviderStrategy": [] });
        bench.put_cluster_capacity_providers(&owner(), input).await
    };
    let in_use = "ResourceInUseException: The specified capacity provider is in use and cannot be removed.";
    put(json!(["FARGATE", "FARGATE_SPOT"])).await.unwrap();
    let spot = json!({
        "taskDefinition": "serverless", NETWORK: subnets(),
        "capacityProviderStrategy": [{ "capacityProvider": "FARGATE_SPOT", "weight": 1 }],
    });
    let task = text(&bench.run_task(&owner(), spot.clone()).await.unwrap()["tasks"][0]["taskArn"]);
    assert_eq!(refusal(put(json!(["FARGATE"])).await), in_use);
    put(json!(["FARGATE_SPOT"])).await.unwrap();
    bench.stop_task(&owner(), json!({ "task": task })).await.unwrap();
    assert_eq!(refusal(put(json!([])).await), in_use, "it has not ended");
    bench.submit_task_state_change(&node("a"), json!({ "task": task, "status": "STOPPED" })).await.unwrap();
    put(json!([])).await.unwrap();
    put(json!(["FARGATE_SPOT"])).await.unwrap();
    let service = merged(spot, json!({ "serviceName": "s", "desiredCount": 0 }));
    bench.create_service(&owner(), service).await.unwrap();
    assert_eq!(refusal(put(json!([])).await), in_use, "a service may start tasks of it");
}

#[tokio::test]
async fn a_cluster_is_created_again_by_what_it_is() {
    let bench = Bench::with_nodes(&[]).await;
    let whole = json!({
        "clusterName": "c", "capacityProviders": ["FARGATE"],
        "defaultCapacityProviderStrategy": [{ "capacityProvider": "FARGATE", "weight": 1 }],
        "settings": [{ "name": "containerInsights", "value": "enabled" }],
    });
    let first = bench.create_cluster(&owner(), whole.clone()).await.unwrap();
    assert_eq!(bench.create_cluster(&owner(), whole).await.unwrap(), first);
    assert_eq!(bench.create_cluster(&owner(), json!({ "clusterName": "c" })).await.unwrap(), first);
    assert_has(
        &first["cluster"],
        &[
            "clusterArn",
            "clusterName",
            "status",
            "registeredContainerInstancesCount",
            "runningTasksCount",
            "pendingTasksCount",
            "activeServicesCount",
            "statistics",
            "tags",
            "settings",
            "capacityProviders",
            "defaultCapacityProviderStrategy",
        ],
    );
}
