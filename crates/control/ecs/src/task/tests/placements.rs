//! Where tasks go, and why not: nothing is sold twice.

use serde_json::{Value, json};

use crate::container_instance::tests::bench::{Bench, merged, offer, owner, reasons, refusal, text};

async fn run(bench: &Bench, definition: &str, more: Value) -> Value {
    bench.run_task(&owner(), merged(json!({ "taskDefinition": definition }), more)).await.unwrap()
}

fn places(answer: &Value) -> Vec<String> {
    answer["tasks"].as_array().unwrap().iter().map(|task| text(&task["containerInstanceArn"])).collect()
}

#[tokio::test]
async fn without_instances_there_is_nowhere_to_go() {
    let bench = Bench::with_nodes(&[]).await;
    bench.create_cluster(&owner(), json!({})).await.unwrap();
    let refused = refusal(bench.run_task(&owner(), json!({ "taskDefinition": "web" })).await);
    assert_eq!(refused, "InvalidParameterException: No Container Instances were found in your cluster.");
}

#[tokio::test]
async fn each_instance_says_what_it_lacks() {
    let bench = Bench::with_nodes(&["a"]).await;
    bench.register("silent", json!({})).await.unwrap();
    bench.define("large", json!({ "memory": 1001 }), json!({})).await;
    bench.define("busy", json!({ "memory": 4, "cpu": 2000 }), json!({})).await;
    bench.define("loud", json!({ "memory": 4, "privileged": true }), json!({})).await;
    let ssh = json!({ "memory": 4, "portMappings": [{ "containerPort": 22, "hostPort": 22 }] });
    bench.define("ssh", ssh, json!({})).await;
    for (definition, reason) in
        [("large", "RESOURCE:MEMORY"), ("busy", "RESOURCE:CPU"), ("loud", "ATTRIBUTE"), ("ssh", "RESOURCE:PORTS")]
    {
        let answer = run(&bench, definition, json!({})).await;
        assert_eq!(answer["tasks"], json!([]), "{definition}");
        let mut found = reasons(&answer);
        found.sort();
        let mut expected = ["AGENT", reason];
        expected.sort_unstable();
        assert_eq!(found, expected, "{definition}");
    }
}

#[tokio::test]
async fn what_fits_is_placed_and_the_rest_is_not() {
    let bench = Bench::with_nodes(&[]).await;
    let arn = bench.join("a", json!({})).await;
    let answer = run(&bench, "web", json!({ "count": 10 })).await;
    assert_eq!(answer["tasks"].as_array().unwrap().len(), 4);
    assert_eq!(reasons(&answer), ["RESOURCE:CPU"]);
    assert_eq!(bench.reservation(&arn), (0, 600, 0, 4));
}

#[tokio::test]
async fn tasks_spread_over_the_instances() {
    let bench = Bench::with_nodes(&["a", "b", "c"]).await;
    let mut places = places(&run(&bench, "web", json!({ "count": 3 })).await);
    places.sort();
    places.dedup();
    assert_eq!(places.len(), 3);
}

#[tokio::test]
async fn a_host_port_is_never_sold_twice() {
    let bench = Bench::with_nodes(&["a", "b"]).await;
    let port = |port: i32, protocol: &str| {
        json!({
            "memory": 4,
            "portMappings": [{ "containerPort": 80, "hostPort": port, "protocol": protocol }],
        })
    };
    bench.define("tcp", port(8080, "tcp"), json!({})).await;
    bench.define("udp", port(8080, "udp"), json!({})).await;
    bench.define("any", port(0, "tcp"), json!({})).await;
    bench
        .define(
            "host",
            json!({ "memory": 4, "portMappings": [{ "containerPort": 8080 }] }),
            json!({ "networkMode": "host" }),
        )
        .await;

    // Racing callers, too: the second look at the ports is in the transaction.
    let (one, other) =
        tokio::join!(run(&bench, "tcp", json!({ "count": 2 })), run(&bench, "tcp", json!({ "count": 2 })));
    let mut taken = places(&one);
    taken.extend(places(&other));
    taken.sort();
    taken.dedup();
    assert_eq!(taken.len(), 2);
    assert_eq!(reasons(&one).len() + reasons(&other).len(), 2);
    assert_eq!(reasons(&run(&bench, "host", json!({})).await), ["RESOURCE:PORTS", "RESOURCE:PORTS"]);
    assert_eq!(places(&run(&bench, "udp", json!({ "count": 2 })).await).len(), 2);
    assert_eq!(places(&run(&bench, "any", json!({ "count": 10 })).await).len(), 10);

    // Once its task is STOPPED a port is free again.
    let task = text(
        &one["tasks"].as_array().unwrap().iter().chain(other["tasks"].as_array().unwrap()).next().unwrap()["taskArn"],
    );
    let instance = bench.task(&task).await["containerInstanceArn"].clone();
    bench.submit_task_state_change(&owner(), json!({ "task": task, "status": "STOPPED" })).await.unwrap();
    assert_eq!(places(&run(&bench, "tcp", json!({})).await), [text(&instance)]);
}

#[tokio::test]
async fn member_of_leaves_out_the_others() {
    let bench = Bench::with_nodes(&["a"]).await;
    let b = bench.join("b", json!({})).await;
    let member_of = |expression: &str| {
        json!({
            "count": 2,
            "placementConstraints": [{ "type": "memberOf", "expression": expression }],
        })
    };
    let answer = run(&bench, "web", member_of("attribute:name == b")).await;
    assert_eq!(places(&answer), [b.clone(), b]);
    let answer = run(&bench, "web", member_of("attribute:name == c")).await;
    assert_eq!(reasons(&answer), ["MemberOf placement constraint unsatisfied."; 2]);
}

fn strategy(kind: &str, field: &str, count: i32) -> Value {
    json!({ "count": count, "placementStrategy": [{ "type": kind, "field": field }] })
}

#[tokio::test]
async fn binpack_fills_the_fuller_instance_first() {
    for field in ["memory", "MEMORY", "cpu", "CPU"] {
        let bench = Bench::with_nodes(&["a", "b"]).await;
        let first = places(&run(&bench, "web", json!({})).await).remove(0);
        let places = places(&run(&bench, "web", strategy("binpack", field, 4)).await);
        assert_eq!(places[..3], vec![first.clone(); 3], "{field}");
        assert_ne!(places[3], first, "{field}");
    }
}

#[tokio::test]
async fn spread_counts_the_groups_tasks_on_each_instance() {
    for field in ["instanceId", "host"] {
        let bench = Bench::with_nodes(&["a", "b", "c"]).await;
        let mut places = places(&run(&bench, "web", strategy("spread", field, 6)).await);
        places.sort();
        assert!(places.chunks(2).all(|pair| pair[0] == pair[1]) && places[0] != places[2], "{field}: {places:?}");
    }
}

#[tokio::test]
async fn spread_over_an_attribute_leaves_out_those_without() {
    let bench = Bench::with_nodes(&["bare"]).await;
    let mut racks = Vec::new();
    for (name, rack) in [("a", "one"), ("b", "one"), ("c", "two")] {
        let arn = bench.join(name, json!({})).await;
        let attribute = json!({ "name": "rack", "value": rack, "targetId": arn });
        bench.put_attributes(&owner(), json!({ "attributes": [attribute] })).await.unwrap();
        racks.push(arn);
    }
    let answer = run(&bench, "web", strategy("spread", "attribute:rack", 4)).await;
    assert_eq!(places(&answer).iter().filter(|place| **place == racks[2]).count(), 2);
    let answer = run(&bench, "web", strategy("spread", "attribute:rack", 10)).await;
    assert_eq!(places(&answer).len(), 8);
    assert_eq!(reasons(&answer).iter().filter(|reason| *reason == "ATTRIBUTE").count(), 1);
}

#[tokio::test]
async fn strategies_are_taken_in_chains() {
    let bench = Bench::with_nodes(&["a", "b"]).await;
    let chain = json!({
        "count": 8,
        "placementStrategy": [
            { "type": "spread", "field": "attribute:ecs.availability-zone" },
            { "type": "binpack", "field": "memory" },
            { "type": "random" },
        ],
    });
    let places = places(&run(&bench, "web", chain).await);
    assert_eq!(places[..4], vec![places[0].clone(); 4]);
    assert_eq!(places[4..], vec![places[7].clone(); 4]);
}

#[tokio::test]
async fn a_node_takes_no_more_tasks_than_it_says() {
    let bench = Bench::with_nodes(&[]).await;
    let integer = |name: &str, value: i64| json!({ "name": name, "type": "INTEGER", "integerValue": value });
    let gpus = json!({ "name": "GPU", "type": "STRINGSET", "stringSetValue": ["GPU-one", "GPU-two"] });
    let total = json!([integer("CPU", 1024), integer("MEMORY", 1000), gpus, integer("ESTIVA_TASK_SLOTS", 2)]);
    let arn = bench.join("a", json!({ "totalResources": total })).await;
    let answer = run(&bench, "web", json!({ "count": 3 })).await;
    assert_eq!((places(&answer).len(), reasons(&answer)), (2, vec!["RESOURCE:TASKS".to_owned()]));
    let shown = bench.instance(&arn).await;
    let left = |name: &str| {
        let resources = shown["remainingResources"].as_array().unwrap();
        resources.iter().find(|resource| resource["name"] == name).unwrap()["integerValue"].clone()
    };
    assert_eq!((left("GPU"), left("ESTIVA_TASK_SLOTS")), (json!(2), json!(0)));

    let task = text(&answer["tasks"][0]["taskArn"]);
    bench.submit_task_state_change(&owner(), json!({ "task": task, "status": "STOPPED" })).await.unwrap();
    assert_eq!(places(&run(&bench, "web", json!({})).await), [arn]);
}

#[tokio::test]
async fn external_instances_are_for_external_tasks_alone() {
    let bench = Bench::with_nodes(&[]).await;
    let inside = bench.join("a", json!({})).await;
    let capability = json!({ "attributes": [{ "name": "ecs.capability.external" }] });
    let outside = bench.join("b", capability).await;
    let answer = bench
        .start_task(&owner(), json!({ "taskDefinition": "web", "containerInstances": [inside, outside] }))
        .await
        .unwrap();
    let launch_types: Vec<_> =
        answer["tasks"].as_array().unwrap().iter().map(|task| text(&task["launchType"])).collect();
    assert_eq!(launch_types, ["EC2", "EXTERNAL"]);
    for (launch_type, place) in [("EC2", inside), ("EXTERNAL", outside)] {
        let answer = run(&bench, "web", json!({ "count": 3, "launchType": launch_type })).await;
        assert_eq!(places(&answer), vec![place; 3]);
        let answer = run(&bench, "web", json!({ "launchType": launch_type })).await;
        let mut found = reasons(&answer);
        found.sort();
        assert_eq!(found, ["ATTRIBUTE", "RESOURCE:CPU"], "{launch_type}");
    }
}

#[tokio::test]
async fn each_task_of_a_call_counts_for_the_constraints_of_the_next() {
    let bench = Bench::with_nodes(&["a", "b"]).await;
    let alone = json!({
        "count": 3,
        "placementStrategy": [{ "type": "binpack", "field": "memory" }],
        "placementConstraints": [{ "type": "memberOf", "expression": "task:group != family:web" }],
    });
    let answer = run(&bench, "web", alone).await;
    let mut found = places(&answer);
    found.sort();
    found.dedup();
    assert_eq!((places(&answer).len(), found.len()), (2, 2), "no instance has two");
    assert_eq!(reasons(&answer), ["MemberOf placement constraint unsatisfied."; 2]);
}

#[tokio::test]
async fn a_port_that_an_agent_comes_to_keep_is_kept() {
    let bench = Bench::with_nodes(&[]).await;
    let arn = bench.join("a", json!({})).await;
    let port = json!({ "memory": 4, "portMappings": [{ "containerPort": 80, "hostPort": 8080 }] });
    bench.define("tcp", port, json!({})).await;
    let task = bench.run("tcp").await;
    let mut total = offer("a")["totalResources"].as_array().unwrap().clone();
    total[2]["stringSetValue"] = json!(["22", "8080"]);
    bench.connect(&arn, false).await;
    bench.join("a", json!({ "containerInstanceArn": arn, "totalResources": total })).await;
    bench.report("a", &task, json!({ "status": "STOPPED" })).await.unwrap();
    assert_eq!(reasons(&run(&bench, "tcp", json!({})).await), ["RESOURCE:PORTS"]);
}
