//! CreateService, UpdateService, DeleteService: what they fill in, what they refuse, and what a repeated call does.

use serde_json::{Value, json};

use crate::container_instance::tests::bench::{Bench, merged, owner, reasons, refusal, text};

async fn create(bench: &Bench, more: Value) -> Value {
    bench.create_service(&owner(), wanted(more)).await.unwrap()["service"].clone()
}

fn wanted(more: Value) -> Value {
    merged(json!({ "serviceName": "s", "taskDefinition": "web", "desiredCount": 1 }), more)
}

async fn show(bench: &Bench, name: &str) -> Value {
    let answer = bench.describe_services(&owner(), json!({ "services": [name], "include": ["TAGS"] })).await.unwrap();
    answer["services"][0].clone()
}

#[tokio::test]
async fn what_is_not_said_is_filled_in() {
    let bench = Bench::with_nodes(&["a"]).await;
    let made = create(&bench, json!({})).await;
    for (field, value) in [
        ("serviceArn", json!("arn:aws:ecs:us-east-1:000000000000:service/default/s")),
        ("clusterArn", json!("arn:aws:ecs:us-east-1:000000000000:cluster/default")),
        ("taskDefinition", json!("arn:aws:ecs:us-east-1:000000000000:task-definition/web:1")),
        ("status", json!("ACTIVE")),
        ("desiredCount", json!(1)),
        ("runningCount", json!(0)),
        ("pendingCount", json!(0)),
        ("launchType", json!("EC2")),
        ("schedulingStrategy", json!("REPLICA")),
        ("deploymentController", json!({ "type": "ECS" })),
        ("availabilityZoneRebalancing", json!("ENABLED")),
        ("enableECSManagedTags", json!(false)),
        ("enableExecuteCommand", json!(false)),
        ("propagateTags", json!("NONE")),
        ("placementConstraints", json!([])),
        ("placementStrategy", json!([])),
        ("loadBalancers", json!([])),
        ("serviceRegistries", json!([])),
        ("events", json!([])),
        ("createdBy", json!("arn:aws:iam::000000000000:root")),
    ] {
        assert_eq!(made[field], value, "{field}");
    }
    let configuration = &made["deploymentConfiguration"];
    assert_eq!((&configuration["minimumHealthyPercent"], &configuration["maximumPercent"]), (&json!(100), &json!(200)));
    assert_eq!((&configuration["strategy"], &configuration["bakeTimeInMinutes"]), (&json!("ROLLING"), &json!(0)));
    assert_eq!(configuration["deploymentCircuitBreaker"], json!({ "enable": false, "rollback": false }));
    let deployment = &made["deployments"][0];
    assert!(text(&deployment["id"]).strip_prefix("ecs-svc/").is_some_and(|digits| digits.len() == 19));
    assert_eq!((&deployment["status"], &deployment["rolloutState"]), (&json!("PRIMARY"), &json!("IN_PROGRESS")));
    let daemon = json!({ "serviceName": "d", "taskDefinition": "web", "schedulingStrategy": "DAEMON" });
    let daemon = bench.create_service(&owner(), daemon).await.unwrap()["service"].clone();
    let configuration = &daemon["deploymentConfiguration"];
    assert_eq!((&configuration["minimumHealthyPercent"], &configuration["maximumPercent"]), (&json!(0), &json!(100)));
    assert_eq!(daemon["availabilityZoneRebalancing"], "DISABLED");
}

#[tokio::test]
async fn a_service_that_cannot_be_is_refused() {
    let bench = Bench::with_nodes(&["a"]).await;
    bench.define("gone", json!({ "memory": 4 }), json!({})).await;
    bench.deregister_task_definition(&owner(), json!({ "taskDefinition": "gone:1" })).await.unwrap();
    bench.define("eni", json!({ "memory": 4 }), json!({ "networkMode": "awsvpc" })).await;
    let percents = |minimum: i32, maximum: i32| json!({ "deploymentConfiguration": { "minimumHealthyPercent": minimum, "maximumPercent": maximum } });
    let threshold =
        json!({ "enable": true, "rollback": true, "thresholdConfiguration": { "type": "COUNT", "value": 0 } });
    let daemon = |more: Value| {
        let mut daemon = merged(wanted(json!({ "schedulingStrategy": "DAEMON" })), more);
        daemon.as_object_mut().unwrap().remove("desiredCount");
        daemon
    };
    let external = |more: Value| {
        merged(json!({ "serviceName": "s", "desiredCount": 1, "deploymentController": { "type": "EXTERNAL" } }), more)
    };
    let count_of_daemon = wanted(json!({ "schedulingStrategy": "DAEMON" }));
    let mut no_count = wanted(json!({}));
    no_count.as_object_mut().unwrap().remove("desiredCount");
    for (input, words) in [
        (wanted(json!({ "serviceName": "" })), "ServiceName must match"),
        (wanted(json!({ "serviceName": "a b" })), "ServiceName must match"),
        (wanted(json!({ "cluster": "nowhere" })), "ClusterNotFoundException"),
        (wanted(json!({ "taskDefinition": "nothing" })), "TaskDefinition not found"),
        (wanted(json!({ "taskDefinition": "gone:1" })), "inactive"),
        (wanted(json!({ "taskDefinition": "eni" })), "Network Configuration"),
        (wanted(json!({ "launchType": "FARGATE" })), "FARGATE"),
        (no_count, "desiredCount"),
        (count_of_daemon, "does not support a desired count"),
        (daemon(percents(0, 200)), "above 100 for maximumPercent"),
        (daemon(json!({ "placementStrategy": [{ "type": "random" }] })), "placement strategies"),
        (
            json!({ "serviceName": "s", "schedulingStrategy": "DAEMON", "deploymentController": { "type": "EXTERNAL" } }),
            "EXTERNAL",
        ),
        (daemon(json!({ "availabilityZoneRebalancing": "ENABLED" })), "Rebalancing"),
        (wanted(percents(-1, 100)), "must not be negative"),
        (wanted(percents(0, 99)), "maximumPercent must be at least 100"),
        (wanted(percents(101, 200)), "minimumHealthyPercent must be at most 100"),
        (
            wanted(merged(percents(0, 100), json!({ "availabilityZoneRebalancing": "ENABLED" }))),
            "maximumPercent of 100",
        ),
        (
            wanted(json!({ "deploymentConfiguration": { "deploymentCircuitBreaker": threshold } })),
            "value must be 1 or more",
        ),
        (wanted(json!({ "deploymentConfiguration": { "bakeTimeInMinutes": -1 } })), "bakeTimeInMinutes"),
        (
            wanted(
                json!({ "deploymentConfiguration": { "alarms": { "enable": true, "rollback": true, "alarmNames": [] } } }),
            ),
            "alarms",
        ),
        (wanted(json!({ "deploymentConfiguration": { "strategy": "CANARY" } })), "ROLLING"),
        (wanted(json!({ "capacityProviderStrategy": [{ "capacityProvider": "other" }] })), "not associated"),
        (wanted(json!({ "deploymentConfiguration": { "canaryConfiguration": {} } })), "canaryConfiguration"),
        (wanted(json!({ "deploymentConfiguration": { "linearConfiguration": {} } })), "linearConfiguration"),
        (wanted(json!({ "clientToken": "t".repeat(37) })), "clientToken"),
        (external(json!({ "taskDefinition": "web" })), "TaskDefinition must be blank"),
        (external(json!({ "launchType": "EC2" })), "launchType"),
        (
            external(json!({ "capacityProviderStrategy": [{ "capacityProvider": "FARGATE" }] })),
            "capacityProviderStrategy",
        ),
        (external(json!({ "platformVersion": "LATEST" })), "platformVersion"),
        (external(json!({ "networkConfiguration": {} })), "networkConfiguration"),
        (wanted(json!({ "serviceRegistries": [{ "registryArn": "x" }] })), "serviceRegistries"),
        (wanted(json!({ "serviceConnectConfiguration": { "enabled": true } })), "serviceConnectConfiguration"),
    ] {
        let told = refusal(bench.create_service(&owner(), input.clone()).await);
        assert!(told.contains(words), "{input}: {told}");
    }
    assert_eq!(bench.count::<crate::service::table::ServiceRow>(), 0);
}

#[tokio::test]
async fn a_token_makes_a_service_once() {
    let bench = Bench::with_nodes(&["a"]).await;
    let first = create(&bench, json!({ "clientToken": "t" })).await;
    let again = create(&bench, json!({ "clientToken": "t" })).await;
    assert_eq!(first, again);
    let other = json!({ "clientToken": "t", "desiredCount": 2 });
    for token in [json!({}), json!({ "clientToken": "u" }), other] {
        let told = refusal(bench.create_service(&owner(), wanted(token)).await);
        assert_eq!(told, "InvalidParameterException: Creation of service was not idempotent.");
    }
}

#[tokio::test]
async fn an_arn_of_another_cluster_means_no_service_of_this_one() {
    let bench = Bench::with_nodes(&["a"]).await;
    bench.create_cluster(&owner(), json!({ "clusterName": "other" })).await.unwrap();
    create(&bench, json!({})).await;
    create(&bench, json!({ "cluster": "other" })).await;
    let left = bench.everything();
    let other = "arn:aws:ecs:us-east-1:000000000000:service/other/s";
    for answer in [
        bench.delete_service(&owner(), json!({ "service": other, "force": true })).await,
        bench.update_service(&owner(), json!({ "service": other, "desiredCount": 0 })).await,
        bench.describe_services(&owner(), json!({ "services": [other] })).await,
        bench.list_tasks(&owner(), json!({ "serviceName": other })).await,
    ] {
        let told = refusal(answer);
        let expected = "Invalid identifier: Identifier is for cluster other. Your cluster is default.";
        assert_eq!(told, format!("InvalidParameterException: {expected}"));
    }
    assert_eq!(bench.everything(), left);
    for (cluster, service) in [("other", other), ("default", "arn:aws:ecs:us-east-1:000000000000:service/s")] {
        let input = json!({ "cluster": cluster, "services": [service] });
        let answer = bench.describe_services(&owner(), input).await.unwrap();
        assert_eq!(answer["services"].as_array().unwrap().len(), 1, "{service}");
    }
}

#[tokio::test]
async fn a_daemon_wants_a_task_on_each_instance_from_the_start() {
    let bench = Bench::with_nodes(&["a", "b"]).await;
    let daemon = json!({ "serviceName": "d", "taskDefinition": "web", "schedulingStrategy": "DAEMON" });
    let made = bench.create_service(&owner(), daemon).await.unwrap()["service"].clone();
    assert_eq!((&made["desiredCount"], &made["runningCount"]), (&json!(2), &json!(0)), "or waiters would not wait");
    assert_eq!(made["deployments"][0]["desiredCount"], 2);
}

#[tokio::test]
async fn an_update_changes_what_it_names() {
    let bench = Bench::with_nodes(&["a"]).await;
    let tags = json!([{ "key": "a", "value": "1" }]);
    let configuration = json!({ "minimumHealthyPercent": 50, "bakeTimeInMinutes": 5 });
    create(&bench, json!({ "tags": tags, "deploymentConfiguration": configuration })).await;
    let id = show(&bench, "s").await["deployments"][0]["id"].clone();
    let update = async |more: Value| {
        let input = merged(json!({ "service": "arn:aws:ecs:us-east-1:000000000000:service/default/s" }), more);
        bench.update_service(&owner(), input).await.unwrap()["service"].clone()
    };
    let updated = update(json!({ "desiredCount": 3, "deploymentConfiguration": { "maximumPercent": 150 } })).await;
    let configuration = &updated["deploymentConfiguration"];
    let seen =
        ["minimumHealthyPercent", "maximumPercent", "bakeTimeInMinutes"].map(|field| configuration[field].clone());
    assert_eq!((seen, &updated["desiredCount"]), ([json!(50), json!(150), json!(5)], &json!(3)));
    assert_eq!((&updated["tags"], &updated["deployments"][0]["id"]), (&tags, &id), "no new deployment");
    let updated = update(json!({ "forceNewDeployment": true })).await;
    assert_ne!(updated["deployments"][0]["id"], id);
    bench.define("web", json!({ "memory": 4 }), json!({})).await;
    let updated = update(json!({ "taskDefinition": "web" })).await;
    assert!(text(&updated["taskDefinition"]).ends_with("web:2"));
    let before = updated["deployments"][0]["id"].clone();
    let updated = update(json!({ "taskDefinition": "web:2" })).await;
    assert_eq!(updated["deployments"][0]["id"], before, "it is what runs already");
}

#[tokio::test]
async fn updates_that_cannot_be_are_refused() {
    let bench = Bench::with_nodes(&["a"]).await;
    create(&bench, json!({})).await;
    let daemon = json!({ "serviceName": "d", "taskDefinition": "web", "schedulingStrategy": "DAEMON" });
    bench.create_service(&owner(), daemon).await.unwrap();
    let left = bench.everything();
    for (input, words) in [
        (json!({ "service": "other" }), "ServiceNotFoundException: Service not found."),
        (json!({ "service": "a b" }), "Invalid service name"),
        (json!({ "service": "s", "cluster": "nowhere" }), "ClusterNotFoundException"),
        (json!({ "service": "s", "desiredCount": 5001 }), "desiredCount"),
        (json!({ "service": "d", "desiredCount": 1 }), "desired count"),
        (json!({ "service": "s", "taskDefinition": "none" }), "TaskDefinition not found"),
        (json!({ "service": "s", "platformVersion": "1.4.0" }), "platform version"),
        (json!({ "service": "s", "deploymentConfiguration": { "maximumPercent": 99 } }), "maximumPercent"),
        (json!({ "service": "s", "deploymentController": { "type": "EXTERNAL" } }), "deploymentController"),
    ] {
        let told = refusal(bench.update_service(&owner(), input.clone()).await);
        assert!(told.contains(words), "{input}: {told}");
    }
    assert_eq!(bench.everything(), left, "a refused update changes nothing");
}

#[tokio::test]
async fn a_deletion_asks_for_force_and_is_final() {
    let bench = Bench::with_nodes(&["a"]).await;
    create(&bench, json!({})).await;
    let told = refusal(bench.delete_service(&owner(), json!({ "service": "s" })).await);
    assert_eq!(told, "InvalidParameterException: The service cannot be stopped while it is scaled above 0.");
    let told = refusal(bench.delete_service(&owner(), json!({ "service": "t" })).await);
    assert_eq!(told, "ServiceNotFoundException: Service not found.");
    let gone = bench.delete_service(&owner(), json!({ "service": "s", "force": true })).await.unwrap();
    assert_eq!((&gone["service"]["status"], &gone["service"]["desiredCount"]), (&json!("DRAINING"), &json!(0)));
    let told = refusal(bench.create_service(&owner(), wanted(json!({}))).await);
    assert_eq!(told, "InvalidParameterException: Unable to Start a service that is still Draining.");
    let told = refusal(bench.update_service(&owner(), json!({ "service": "s", "desiredCount": 1 })).await);
    assert_eq!(told, "ServiceNotActiveException: Service was not ACTIVE.");
    assert_eq!(bench.list_services(&owner(), json!({})).await.unwrap()["serviceArns"], json!([]));
}

#[tokio::test]
async fn services_are_listed_by_what_they_are() {
    let bench = Bench::with_nodes(&["a"]).await;
    for number in 0..12 {
        create(&bench, json!({ "serviceName": format!("s{number:02}") })).await;
    }
    let daemon = json!({ "serviceName": "d", "taskDefinition": "web", "schedulingStrategy": "DAEMON" });
    bench.create_service(&owner(), daemon).await.unwrap();
    let list = async |input: Value| {
        let answer = bench.list_services(&owner(), input).await.unwrap();
        (answer["serviceArns"].as_array().unwrap().clone(), answer.get("nextToken").cloned())
    };
    let (first, token) = list(json!({})).await;
    let (second, end) = list(json!({ "nextToken": token.unwrap() })).await;
    assert_eq!((first.len(), second.len(), end), (10, 3, None));
    assert!(first.iter().all(|arn| !second.contains(arn)));
    for (filter, count) in [
        (json!({ "schedulingStrategy": "DAEMON" }), 1),
        (json!({ "schedulingStrategy": "REPLICA", "maxResults": 100 }), 12),
        (json!({ "launchType": "EC2", "maxResults": 100 }), 13),
        (json!({ "launchType": "FARGATE" }), 0),
        (json!({ "resourceManagementType": "ECS" }), 0),
    ] {
        assert_eq!(list(filter.clone()).await.0.len(), count, "{filter}");
    }
    let answer = bench.describe_services(&owner(), json!({ "services": ["d", "none"] })).await.unwrap();
    assert_eq!((answer["services"].as_array().unwrap().len(), reasons(&answer)), (1, vec!["MISSING".to_owned()]));
    let many: Vec<_> = (0..11).map(|number| format!("s{number}")).collect();
    for (services, words) in [(json!([]), "cannot be empty"), (json!(many), "more than 10")] {
        let told = refusal(bench.describe_services(&owner(), json!({ "services": services })).await);
        assert!(told.contains(words), "{told}");
    }
}
