//! Network mode awsvpc, and Fargate: an address a task, and whose node it is.

use serde_json::{Value, json};

use crate::container_instance::table::AddressRow;
use crate::container_instance::tests::bench::{Answer, Bench, merged, node, offer, owner, reasons, refusal, text};

async fn with_vpc_task() -> Bench {
    let bench = Bench::new();
    let size = json!({ "networkMode": "awsvpc", "cpu": "256", "memory": "512" });
    bench.define("vpc", json!({}), size).await;
    bench
}

async fn run(bench: &Bench, more: Value) -> Answer {
    let network = json!({ "awsvpcConfiguration": { "subnets": ["subnet-1"] } });
    let input = merged(json!({ "taskDefinition": "vpc", "networkConfiguration": network }), more);
    bench.run_task(&owner(), input).await
}

fn detail(task: &Value, name: &str) -> String {
    let details = task["attachments"][0]["details"].as_array().unwrap();
    text(&details.iter().find(|detail| detail["name"] == name).unwrap()["value"])
}

#[tokio::test]
async fn each_task_has_an_address_of_its_own_until_it_stopped() {
    let bench = with_vpc_task().await;
    let instance = bench.join("a", json!({})).await;
    let small = json!({ "overrides": { "cpu": "128", "memory": "10" } });
    let answer = run(&bench, merged(small.clone(), json!({ "count": 3 }))).await.unwrap();
    let tasks = answer["tasks"].as_array().unwrap();
    let mut addresses: Vec<_> = tasks.iter().map(|task| detail(task, "privateIPv4Address")).collect();
    addresses.sort();
    assert_eq!(addresses, ["10.1.0.10", "10.1.0.11"]);
    assert_eq!(reasons(&answer), ["RESOURCE:ENI"]);
    // What could not be placed has taken nothing.
    assert_eq!(bench.reservation(&instance), (768, 980, 0, 2));

    let task = &tasks[0];
    assert_eq!(task["lastStatus"], "PROVISIONING");
    assert_eq!(task["attachments"][0]["type"], "ElasticNetworkInterface");
    assert_eq!(detail(task, "subnetId"), "subnet-1");
    assert!(detail(task, "networkInterfaceId").starts_with("eni-"));
    assert!(detail(task, "macAddress").starts_with("02:"));
    let shown = &task["containers"][0]["networkInterfaces"][0];
    assert_eq!(shown["attachmentId"], task["attachments"][0]["id"]);
    assert_eq!(shown["privateIpv4Address"], detail(task, "privateIPv4Address"));

    let arn = text(&task["taskArn"]);
    bench.report("a", &arn, json!({ "status": "STOPPED" })).await.unwrap();
    assert_eq!(bench.task(&arn).await["attachments"][0]["status"], "DELETED");
    assert_eq!(bench.count::<AddressRow>(), 1);
    let next = run(&bench, small).await.unwrap();
    assert_eq!(detail(&next["tasks"][0], "privateIPv4Address"), detail(task, "privateIPv4Address"));
}

#[tokio::test]
async fn awsvpc_needs_a_network_configuration_and_a_node_with_addresses() {
    let bench = with_vpc_task().await;
    bench.join("a", json!({ "attributes": [{ "name": "ecs.capability.task-eni" }, { "name": "ecs.capability.task-cpu-mem-limit" }] })).await;
    let refused = refusal(run(&bench, json!({ "networkConfiguration": null })).await);
    assert_eq!(
        refused,
        "InvalidParameterException: Network Configuration must be provided when networkMode 'awsvpc' is specified."
    );
    let public = json!({ "subnets": ["s"], "assignPublicIp": "ENABLED" });
    let refused = refusal(run(&bench, json!({ "networkConfiguration": { "awsvpcConfiguration": public } })).await);
    assert!(refused.contains("Assign public IP is not supported for this launch type."), "{refused}");
    let answer = run(&bench, json!({})).await.unwrap();
    assert_eq!((&answer["tasks"], reasons(&answer)), (&json!([]), vec!["RESOURCE:ENI".to_owned()]));
}

#[tokio::test]
async fn an_attached_interface_moves_its_task_to_pending() {
    let bench = with_vpc_task().await;
    bench.join("a", json!({})).await;
    let small = json!({ "overrides": { "cpu": "128", "memory": "10" }, "count": 2 });
    let answer = run(&bench, small).await.unwrap();
    let attached = |place: usize| {
        let id = text(&answer["tasks"][place]["attachments"][0]["id"]);
        let arn = format!("arn:aws:ecs:us-east-1:000000000000:attachment/{id}");
        json!({ "attachments": [{ "attachmentArn": arn, "status": "ATTACHED" }] })
    };
    let arn = |place: usize| text(&answer["tasks"][place]["taskArn"]);

    let other = refusal(bench.submit_attachment_state_changes(&node("b"), attached(0)).await);
    assert!(other.starts_with("AccessDeniedException"), "{other}");
    // As another's in a report on one's own task, it is passed over.
    bench.report("a", &arn(1), attached(0)).await.unwrap();
    for place in 0..2 {
        assert_eq!(bench.task(&arn(place)).await["lastStatus"], "PROVISIONING");
    }
    bench.submit_attachment_state_changes(&node("a"), attached(0)).await.unwrap();
    bench.report("a", &arn(1), attached(1)).await.unwrap();
    for place in 0..2 {
        let task = bench.task(&arn(place)).await;
        assert_eq!(task["lastStatus"], "PENDING");
        assert_eq!(task["attachments"][0]["status"], "ATTACHED");
    }
    // Late and repeated, it changes nothing.
    bench.report("a", &arn(0), json!({ "status": "RUNNING" })).await.unwrap();
    bench.submit_attachment_state_changes(&node("a"), attached(0)).await.unwrap();
    assert_eq!(bench.task(&arn(0)).await["lastStatus"], "RUNNING");

    let unknown = json!({ "attachments": [{ "attachmentArn": "x", "status": "ATTACHED" }] });
    let refused = refusal(bench.submit_attachment_state_changes(&node("a"), unknown).await);
    assert!(refused.starts_with("InvalidParameterException"), "{refused}");
}

#[tokio::test]
async fn fargate_tasks_go_to_capacity_of_any_cluster_and_do_not_show_it() {
    let bench = with_vpc_task().await;
    bench.create_cluster(&owner(), json!({ "clusterName": "capacity" })).await.unwrap();
    bench.create_cluster(&owner(), json!({})).await.unwrap();
    let fargate = json!({ "launchType": "FARGATE" });
    let nowhere = refusal(run(&bench, fargate.clone()).await);
    assert!(nowhere.starts_with("InvalidParameterException"), "{nowhere}");

    let mut attributes = offer("f")["attributes"].as_array().unwrap().clone();
    attributes.push(json!({ "name": "estiva.capability.fargate" }));
    let instance = bench.join("f", json!({ "cluster": "capacity", "attributes": attributes })).await;
    let task = run(&bench, fargate).await.unwrap()["tasks"][0].clone();
    assert_eq!(task.get("containerInstanceArn"), None);
    assert_eq!(task["clusterArn"], "arn:aws:ecs:us-east-1:000000000000:cluster/default");
    for (field, expected) in [
        ("launchType", "FARGATE"),
        ("platformVersion", "1.4.0"),
        ("platformFamily", "Linux"),
        ("cpu", "256"),
        ("memory", "512"),
        ("lastStatus", "PROVISIONING"),
    ] {
        assert_eq!(task[field], expected, "{field}");
    }
    assert_eq!(task["ephemeralStorage"]["sizeInGiB"], 20);
    assert_eq!(bench.reservation(&instance), (768, 488, 0, 1));
    // The node reports in the name of its own cluster.
    let arn = text(&task["taskArn"]);
    bench.report("f", &arn, json!({ "cluster": "capacity", "status": "RUNNING" })).await.unwrap();
    assert_eq!(bench.task(&arn).await["lastStatus"], "RUNNING");
}

#[tokio::test]
async fn tasks_go_where_there_are_addresses_left() {
    let bench = with_vpc_task().await;
    let a = bench.join("a", json!({})).await;
    let without = json!([{ "name": "ecs.capability.task-eni" }, { "name": "ecs.capability.task-cpu-mem-limit" }]);
    bench.join("b", json!({ "attributes": without })).await;
    let small = json!({ "overrides": { "cpu": "128", "memory": "10" } });
    for _ in 0..2 {
        let answer = run(&bench, small.clone()).await.unwrap();
        assert_eq!(answer["failures"], json!([]));
        assert_eq!(answer["tasks"][0]["containerInstanceArn"], a);
    }
    assert_eq!(reasons(&run(&bench, small).await.unwrap()), ["RESOURCE:ENI"; 2]);
}

/// With room for many, for tasks of any cluster.
async fn join_fargate(bench: &Bench, name: &str, block: u8) -> String {
    let mut attributes = offer(name)["attributes"].as_array().unwrap().clone();
    attributes.retain(|attribute| !text(&attribute["name"]).starts_with("estiva.eni"));
    for (name, value) in [
        ("estiva.capability.fargate", "yes".to_owned()),
        ("estiva.eni-range", format!("10.{block}.0.10-10.{block}.0.99")),
        ("estiva.eni-gateway", format!("10.{block}.0.1/24")),
    ] {
        attributes.push(json!({ "name": name, "value": value }));
    }
    let integer = |name: &str, value: i64| json!({ "name": name, "type": "INTEGER", "integerValue": value });
    let total = json!([integer("CPU", 4096), integer("MEMORY", 3000)]);
    let more = json!({ "cluster": "capacity", "attributes": attributes, "totalResources": total });
    bench.join(name, more).await
}

async fn with_fargate(names: &[&str]) -> (Bench, Vec<String>) {
    let bench = with_vpc_task().await;
    for cluster in ["capacity", "one", "two"] {
        bench.create_cluster(&owner(), json!({ "clusterName": cluster })).await.unwrap();
    }
    let mut arns = Vec::new();
    for (name, block) in names.iter().zip(1..) {
        arns.push(join_fargate(&bench, name, block).await);
    }
    (bench, arns)
}

#[tokio::test]
async fn fargate_that_is_full_says_so_and_names_no_instance() {
    let (bench, _) = with_fargate(&["f", "g"]).await;
    let input = json!({ "cluster": "one", "launchType": "FARGATE", "count": 10 });
    assert_eq!(run(&bench, input.clone()).await.unwrap()["tasks"].as_array().unwrap().len(), 10);
    let full = run(&bench, input).await.unwrap();
    let reason = "Capacity is unavailable at this time. Please try again later or in a different availability zone";
    assert_eq!(full, json!({ "tasks": [], "failures": [{ "reason": reason, "detail": "RESOURCE:MEMORY" }] }));
}

#[tokio::test]
async fn fargate_tasks_of_another_clusters_group_do_not_count_for_the_spread() {
    let (bench, arns) = with_fargate(&["f", "g"]).await;
    let drain = |status: &str| json!({ "cluster": "capacity", "containerInstances": [arns[1]], "status": status });
    let of = |cluster: &str| json!({ "cluster": cluster, "launchType": "FARGATE", "count": 2 });
    bench.update_container_instances_state(&owner(), drain("DRAINING")).await.unwrap();
    run(&bench, of("one")).await.unwrap();
    bench.update_container_instances_state(&owner(), drain("ACTIVE")).await.unwrap();
    run(&bench, of("two")).await.unwrap();
    assert_eq!([&arns[0], &arns[1]].map(|arn| bench.reservation(arn).3), [3, 1]);
}

#[tokio::test]
async fn fargate_has_sizes_and_versions_of_its_own() {
    let (bench, _) = with_fargate(&["f"]).await;
    let fargate = |more| merged(json!({ "cluster": "one", "launchType": "FARGATE" }), more);
    for overrides in [json!({ "cpu": "300" }), json!({ "memory": "4096" })] {
        let refused = refusal(run(&bench, fargate(json!({ "overrides": overrides }))).await);
        assert!(refused.contains("No Fargate configuration exists for given values: "), "{refused}");
    }
    let larger = fargate(json!({ "overrides": { "cpu": "512", "memory": "1024" }, "platformVersion": "1.4.0" }));
    assert_eq!(run(&bench, larger).await.unwrap()["tasks"][0]["cpu"], "512");
    let refused = refusal(run(&bench, json!({ "cluster": "one", "platformVersion": "1.4.0" })).await);
    assert!(refused.contains("The platform version must be null when specifying an EC2 launch type."), "{refused}");
}
