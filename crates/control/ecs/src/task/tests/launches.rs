//! What RunTask and StartTask make of a request.

use serde_json::{Value, json};

use crate::container_instance::tests::bench::{Bench, merged, node, owner, reasons, refusal, text};
use crate::task::table::TaskRow;

#[tokio::test]
async fn a_task_is_made_and_shown() {
    let bench = Bench::with_nodes(&[]).await;
    let instance = bench.join("a", json!({})).await;
    let input = json!({
        "taskDefinition": "web",
        "startedBy": "me",
        "tags": [{ "key": "team", "value": "blue" }],
        "overrides": { "containerOverrides": [{ "name": "app", "command": ["true"], "cpu": 512 }] },
    });
    let answer = bench.run_task(&owner(), input).await.unwrap();
    let arn = text(&answer["tasks"][0]["taskArn"]);
    let task = bench.task(&arn).await;
    assert_eq!(answer["tasks"][0], task);
    for (field, expected) in [
        ("clusterArn", "arn:aws:ecs:us-east-1:000000000000:cluster/default"),
        ("containerInstanceArn", &*instance),
        ("taskDefinitionArn", "arn:aws:ecs:us-east-1:000000000000:task-definition/web:1"),
        ("availabilityZone", "us-east-1a"),
        ("lastStatus", "PENDING"),
        ("desiredStatus", "RUNNING"),
        ("group", "family:web"),
        ("startedBy", "me"),
        ("launchType", "EC2"),
        ("healthStatus", "UNKNOWN"),
        ("cpu", "512"),
        ("memory", "100"),
    ] {
        assert_eq!(task[field], expected, "{field}");
    }
    assert_eq!(task["tags"], json!([{ "key": "team", "value": "blue" }]));
    assert_eq!(task["overrides"]["containerOverrides"][0]["command"], json!(["true"]));
    let container = &task["containers"][0];
    for (field, expected) in [("name", "app"), ("image", "busybox"), ("lastStatus", "PENDING"), ("taskArn", &*arn)] {
        assert_eq!(container[field], expected, "{field}");
    }
    assert_eq!(bench.reservation(&instance), (512, 900, 0, 1));

    // By its id alone, and without what was not asked for.
    let id = arn.rsplit('/').next().unwrap();
    let plain = bench.describe_tasks(&owner(), json!({ "tasks": [id] })).await.unwrap();
    assert_eq!(plain["tasks"][0]["tags"], json!([]));
    let unknown =
        bench.describe_tasks(&owner(), json!({ "tasks": ["0123456789abcdef0123456789abcdef"] })).await.unwrap();
    assert_eq!(reasons(&unknown), ["MISSING"]);
}

#[tokio::test]
async fn tags_of_the_definition_are_passed_on_when_asked() {
    let bench = Bench::with_nodes(&["a"]).await;
    let tags = |value: &str| json!([{ "key": "team", "value": value }, { "key": "cost", "value": "1" }]);
    bench.define("tagged", json!({ "memory": 10 }), json!({ "tags": tags("of-definition") })).await;
    let run = async |more| {
        let input = merged(json!({ "taskDefinition": "tagged" }), more);
        bench.run_task(&owner(), input).await.unwrap()["tasks"][0]["tags"].clone()
    };
    assert_eq!(run(json!({})).await, json!([]));
    let own = json!({ "propagateTags": "TASK_DEFINITION", "tags": [{ "key": "team", "value": "own" }] });
    assert_eq!(run(own).await, tags("own"));
}

#[tokio::test]
async fn requests_that_cannot_be_met_are_refused() {
    let bench = Bench::with_nodes(&["a"]).await;
    let overrides = |container| json!({ "overrides": { "containerOverrides": [container] } });
    for (more, expected) in [
        (json!({ "count": 11 }), "Count must be between 1 and 10."),
        (json!({ "count": 0 }), "Count must be between 1 and 10."),
        (json!({ "startedBy": "x".repeat(129) }), "startedBy"),
        (json!({ "group": "service:web" }), "group"),
        (
            overrides(json!({ "name": "other" })),
            "Override for container named other is not a container in the TaskDefinition.",
        ),
        (overrides(json!({ "name": "app", "command": ["x".repeat(8192)] })), "Container Overrides length"),
        (overrides(json!({ "name": "app", "memory": -1 })), "memory must be at least 4."),
        (json!({ "overrides": { "cpu": "lots" } }), "overrides.cpu"),
        (json!({ "launchType": "FARGATE" }), "Task definition does not support launch_type FARGATE."),
        (
            json!({ "networkConfiguration": { "awsvpcConfiguration": { "subnets": ["s"] } } }),
            "Network Configuration is not valid for the given networkMode of this task definition.",
        ),
        (
            json!({ "placementConstraints": [{ "type": "distinctInstance", "expression": "x" }] }),
            "expression should not be specified",
        ),
        (json!({ "placementStrategy": [{ "type": "binpack", "field": "ports" }] }), "binpack field 'ports' is invalid"),
        (
            json!({ "placementStrategy": [{ "type": "spread", "field": "attribute:" }] }),
            "spread field 'attribute:' is invalid",
        ),
        (json!({ "placementStrategy": vec![json!({ "type": "random" }); 6] }), "Maximum number of strategies is 5"),
        (json!({ "clientToken": "with space" }), "clientToken"),
    ] {
        let input = merged(json!({ "taskDefinition": "web" }), more.clone());
        let refused = refusal(bench.run_task(&owner(), input).await);
        assert!(refused.starts_with("InvalidParameterException") && refused.contains(expected), "{more}: {refused}");
    }
    let unknown = refusal(bench.run_task(&owner(), json!({ "taskDefinition": "nothing" })).await);
    assert!(unknown.starts_with("ClientException"), "{unknown}");
    let nowhere = refusal(bench.run_task(&owner(), json!({ "taskDefinition": "web", "cluster": "nowhere" })).await);
    assert!(nowhere.starts_with("ClusterNotFoundException"), "{nowhere}");
}

#[tokio::test]
async fn start_task_takes_the_instances_that_are_named() {
    let bench = Bench::with_nodes(&[]).await;
    let a = bench.join("a", json!({})).await;
    let b = bench.register("b", json!({})).await.unwrap();
    let c = bench.join("c", json!({})).await;
    bench.deregister_container_instance(&node("c"), json!({ "containerInstance": c })).await.unwrap();
    let unknown = "0123456789abcdef0123456789abcdef";
    let input = json!({ "taskDefinition": "web", "containerInstances": [a, b, c, unknown] });
    let answer = bench.start_task(&owner(), input).await.unwrap();
    assert_eq!(answer["tasks"].as_array().unwrap().len(), 1);
    assert_eq!(answer["tasks"][0]["containerInstanceArn"], json!(a));
    assert_eq!(reasons(&answer), ["AGENT", "INACTIVE", "MISSING"]);
    let many = json!({ "taskDefinition": "web", "containerInstances": vec![unknown; 11] });
    let refused = refusal(bench.start_task(&owner(), many).await);
    assert_eq!(refused, "InvalidParameterException: Container instances cannot have more than 10 elements.");
}

#[tokio::test]
async fn overrides_keep_to_what_a_definition_keeps_to() {
    let bench = Bench::with_nodes(&["a"]).await;
    bench.define("soft", json!({ "memory": 100, "memoryReservation": 50 }), json!({})).await;
    bench.define("limited", json!({ "memory": 100 }), json!({ "memory": "200", "cpu": "256" })).await;
    let app = |more: Value| json!([merged(json!({ "name": "app" }), more)]);
    for (definition, containers, expected) in [
        ("web", app(json!({ "memory": 0 })), "memory must be at least 4."),
        ("web", app(json!({ "memoryReservation": 3 })), "memoryReservation must be at least 4."),
        ("web", app(json!({ "memoryReservation": 101 })), "must be greater than or equal to 'memoryReservation'."),
        ("soft", app(json!({ "memory": 40 })), "must be greater than or equal to 'memoryReservation'."),
        ("limited", app(json!({ "memory": 201 })), "is greater than for the task."),
        ("web", json!([{ "name": "app", "cpu": 1 }, { "name": "app", "cpu": 2 }]), "app is given twice"),
        ("web", app(json!({ "environment": [{ "name": "A=B", "value": "" }] })), "environment"),
        ("web", app(json!({ "environment": [{ "name": "A", "value": "\0" }] })), "environment"),
    ] {
        let input = json!({ "taskDefinition": definition, "overrides": { "containerOverrides": containers } });
        let refused = refusal(bench.run_task(&owner(), input.clone()).await);
        assert!(refused.starts_with("InvalidParameterException") && refused.contains(expected), "{input}: {refused}");
    }
    let smaller = json!({ "taskDefinition": "limited", "overrides": { "memory": "99" } });
    let refused = refusal(bench.run_task(&owner(), smaller).await);
    assert!(refused.contains("is greater than for the task."), "{refused}");
    // The task's own memory makes room for the container's; and what is counted are characters.
    let more = json!({ "memory": "300", "containerOverrides": app(json!({ "memory": 201 })) });
    let long =
        json!({ "containerOverrides": app(json!({ "environment": [{ "name": "A", "value": "é".repeat(8000) }] })) });
    for (definition, overrides) in [("limited", more), ("web", long)] {
        let input = json!({ "taskDefinition": definition, "overrides": overrides });
        assert_eq!(bench.run_task(&owner(), input).await.unwrap()["failures"], json!([]), "{definition}");
    }
}

#[tokio::test]
async fn a_tasks_own_sizes_are_overridden_as_definitions_have_them() {
    let bench = Bench::with_nodes(&["a"]).await;
    let run = async |overrides: Value| {
        bench.run_task(&owner(), json!({ "taskDefinition": "web", "overrides": overrides })).await
    };
    for (cpu, memory, units, mebibytes) in [
        ("512", "256", "512", "256"),
        (".5 vcpu", "0.25 GB", "512", "256"),
        ("0.25 vCPU", "0.5gb", "256", "512"),
        ("1vCPU", " 300 MB ", "1024", "300"),
    ] {
        let answer = run(json!({ "cpu": cpu, "memory": memory })).await.unwrap();
        let [demanded] = demands(&bench)[..] else { panic!("{cpu} {memory}: {answer}") };
        assert_eq!(demanded, (units.parse().unwrap(), mebibytes.parse().unwrap()), "{cpu} {memory}");
        let overrides = &answer["tasks"][0]["overrides"];
        assert_eq!((&overrides["cpu"], &overrides["memory"]), (&json!(units), &json!(mebibytes)));
        bench.stop_task(&owner(), json!({ "task": answer["tasks"][0]["taskArn"] })).await.unwrap();
        bench.obey().await;
    }
    for (field, wrong) in
        [("cpu", "much"), ("cpu", "0"), ("cpu", "1 GB"), ("memory", "1 vCPU"), ("memory", "-1"), ("memory", "3")]
    {
        let told = refusal(run(json!({ field: wrong })).await);
        assert!(told.contains(&format!("overrides.{field}: Invalid '{field}' setting for task.")), "{wrong}: {told}");
    }
}

/// CPU units and MiB that each task takes which has not ended.
fn demands(bench: &Bench) -> Vec<(i64, i64)> {
    let view = bench.ecs.store.view();
    let live = view.scan::<TaskRow>("").filter(|task| task.is_live);
    live.map(|task| (task.demand.cpu, task.demand.memory)).collect()
}
