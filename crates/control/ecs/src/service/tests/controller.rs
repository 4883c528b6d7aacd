//! What the controller makes of services.

use std::time::Duration;

use estiva_model::Timestamp;
use estiva_planning::lifecycle::HealthStatus;
use serde_json::{Value, json};

use super::play::{Fate, Play};
use crate::container_instance::table::ContainerInstanceRow;
use crate::container_instance::tests::bench::{merged, node, owner, text};
use crate::task::retention::forget_due;

const HOUR: Duration = Duration::from_secs(3600);

fn breaker(rollback: bool, count: i32) -> Value {
    let threshold = json!({ "type": "COUNT", "value": count });
    json!({ "deploymentCircuitBreaker": { "enable": true, "rollback": rollback, "thresholdConfiguration": threshold } })
}

#[tokio::test(start_paused = true)]
async fn a_service_gets_its_tasks_and_rests() {
    let play = Play::with_nodes(&["a"]).await;
    play.create(json!({ "desiredCount": 3 })).await;
    let shown = play.rests().await;
    assert_eq!((&shown["runningCount"], &shown["deployments"][0]["rolloutState"]), (&json!(3), &json!("COMPLETED")));
    let events = play.events().await;
    assert!(events[0].starts_with("has started 3 tasks: (task "), "{events:?}");
    let id = text(&shown["deployments"][0]["id"]);
    assert_eq!(
        events[1..],
        [format!("(deployment {id}) deployment completed."), "has reached a steady state.".to_owned()]
    );
    assert!(play.stands_still(HOUR).await);
}

#[tokio::test(start_paused = true)]
async fn what_finds_no_room_is_told_once_and_waits_for_it() {
    let play = Play::with_nodes(&["a"]).await;
    play.create(json!({ "desiredCount": 6 })).await;
    play.until(async || play.show().await["runningCount"] == 4).await;
    assert_eq!(play.told("was unable to place a task").await, 1);
    assert!(play.stands_still(HOUR).await);
    play.bench.join("b", json!({})).await;
    play.rests().await;
    assert_eq!(play.told("was unable to place a task").await, 1);
}

#[tokio::test(start_paused = true)]
async fn room_that_is_not_enough_is_not_the_last_that_is_looked_at() {
    let play = Play::with_nodes(&["a"]).await;
    play.bench.define("large", json!({ "memory": 100, "cpu": 512 }), json!({})).await;
    let mut occupants = Vec::new();
    for _ in 0..4 {
        occupants.push(play.bench.run("web").await);
    }
    play.create(json!({ "taskDefinition": "large", "desiredCount": 1 })).await;
    play.until(async || play.told("was unable to place a task").await == 1).await;
    for occupant in &occupants[..2] {
        assert!(play.stands_still(HOUR).await);
        let input = json!({ "task": occupant, "status": "STOPPED" });
        play.bench.submit_task_state_change(&node("a"), input).await.unwrap();
    }
    play.rests().await;
    assert_eq!(play.told("was unable to place a task").await, 1);
}

fn in_zone(zone: &str) -> Value {
    json!({ "attributes": [{ "name": "ecs.availability-zone", "value": zone }] })
}

/// How many tasks of the service are to run on each container instance that has any.
async fn spread(play: &Play) -> Vec<usize> {
    let mut counts = std::collections::BTreeMap::new();
    let listed = play.bench.list_tasks(&owner(), json!({ "serviceName": "web" })).await.unwrap();
    for task in listed["taskArns"].as_array().unwrap() {
        *counts.entry(text(&play.bench.task(&text(task)).await["containerInstanceArn"])).or_insert(0) += 1;
    }
    let mut counts: Vec<usize> = counts.into_values().collect();
    counts.sort_unstable();
    counts
}

#[tokio::test(start_paused = true)]
async fn tasks_are_evened_out_over_zones_that_come_and_over_instances_if_they_are_to_be() {
    let play = Play::with_nodes(&[]).await;
    play.bench.join("a", in_zone("one")).await;
    play.create(json!({ "desiredCount": 4 })).await;
    play.rests().await;
    play.bench.join("b", in_zone("one")).await;
    assert!(play.stands_still(HOUR).await);
    assert_eq!(spread(&play).await, [4], "there is one zone still");
    let c = play.bench.join("c", in_zone("two")).await;
    play.until(async || play.told("has completed rebalancing").await == 1).await;
    assert_eq!(spread(&play).await, [2, 2]);
    let events = play.events().await;
    let place = |text: &str| events.iter().position(|event| event.contains(text));
    assert!(place("has begun rebalancing") < place("has started 2 tasks"), "{events:?}");
    let state = async |status: &str| {
        let input = json!({ "containerInstances": [c], "status": status });
        play.bench.update_container_instances_state(&owner(), input).await.unwrap();
    };
    state("DRAINING").await;
    play.until(async || play.told("has reached a steady state.").await == 3).await;
    state("ACTIVE").await;
    play.until(async || play.told("has completed rebalancing").await == 2).await;
    let tags = json!([{ "key": "estiva:instance-rebalancing", "value": "enabled" }]);
    let arn = play.show().await["serviceArn"].clone();
    play.bench.tag_resource(&owner(), json!({ "resourceArn": arn, "tags": tags })).await.unwrap();
    play.until(async || spread(&play).await == [1, 1, 2]).await;
    play.bench.join("d", in_zone("two")).await;
    play.until(async || spread(&play).await == [1, 1, 1, 1]).await;
    play.rests().await;
    assert!(play.stands_still(HOUR).await);
}

#[tokio::test(start_paused = true)]
async fn room_that_comes_while_failures_make_wait_is_used_afterwards() {
    let play = Play::with_nodes(&["a"]).await;
    play.bench.define("large", json!({ "memory": 600 }), json!({})).await;
    play.create(json!({ "taskDefinition": "large", "desiredCount": 2 })).await;
    let failing = std::sync::Mutex::new(std::collections::BTreeSet::new());
    let fate = |task: &crate::task::table::TaskRow| {
        let mut failing = failing.lock().unwrap();
        failing.insert(task.id.clone());
        if failing.len() <= 3 { Fate::Exits(1) } else { Fate::Runs }
    };
    play.until_with(fate, async || play.show().await["runningCount"] == 1).await;
    assert_eq!(failing.lock().unwrap().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn who_wants_company_is_placed_once_it_is_there() {
    let play = Play::with_nodes(&["a"]).await;
    play.bench.define("database", json!({ "memory": 100 }), json!({})).await;
    let beside = json!([{ "type": "memberOf", "expression": "task:group == family:database" }]);
    play.create(json!({ "desiredCount": 1, "placementConstraints": beside })).await;
    play.until(async || play.told("was unable to place a task").await == 1).await;
    assert!(play.stands_still(HOUR).await);
    play.bench.run("web").await;
    assert!(play.events().await.len() == 1, "others are no company");
    play.bench.run("database").await;
    play.rests().await;
    assert_eq!(play.told("was unable to place a task").await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_daemon_waits_for_room_on_a_full_instance() {
    let play = Play::with_nodes(&["full", "free"]).await;
    let full = json!([{ "type": "memberOf", "expression": "attribute:name == full" }]);
    let input = json!({ "taskDefinition": "web", "count": 4, "placementConstraints": full });
    let occupants = play.bench.run_task(&owner(), input).await.unwrap()["tasks"].clone();
    play.create(json!({ "schedulingStrategy": "DAEMON" })).await;
    play.until(async || play.show().await["runningCount"] == 1).await;
    assert!(play.stands_still(HOUR).await);
    assert_eq!(play.told("was unable to place a task").await, 1);
    let input = json!({ "task": occupants[0]["taskArn"], "status": "STOPPED" });
    play.bench.submit_task_state_change(&node("full"), input).await.unwrap();
    play.until(async || play.show().await["runningCount"] == 2).await;
    play.rests().await;
}

#[tokio::test(start_paused = true)]
async fn a_daemon_follows_the_tasks_that_it_wants_to_be_beside() {
    let play = Play::with_nodes(&["a", "b"]).await;
    play.bench.define("database", json!({ "memory": 100 }), json!({})).await;
    let beside = json!([{ "type": "memberOf", "expression": "task:group == family:database" }]);
    play.create(json!({ "schedulingStrategy": "DAEMON", "placementConstraints": beside })).await;
    assert!(play.stands_still(HOUR).await);
    let database = play.bench.run("database").await;
    play.until(async || play.show().await["runningCount"] == 1).await;
    play.bench.stop_task(&owner(), json!({ "task": database })).await.unwrap();
    play.until(async || play.show().await["runningCount"] == 0).await;
}

#[tokio::test(start_paused = true)]
async fn tasks_that_never_run_are_tried_ever_more_seldom() {
    let play = Play::with_nodes(&["a"]).await;
    play.create(json!({ "desiredCount": 1 })).await;
    let failed = async || play.show().await["deployments"][0]["failedTasks"].as_i64().unwrap();
    play.until_with(|_| Fate::Fails, async || failed().await == 12).await;
    let since = tokio::time::Instant::now();
    play.until_with(|_| Fate::Fails, async || failed().await == 13).await;
    assert!(since.elapsed() > Duration::from_secs(16 * 60), "{:?}", since.elapsed());
    assert_eq!(play.told("is unable to consistently start tasks successfully.").await, 1);
    play.update(json!({ "forceNewDeployment": true })).await;
    play.rests().await;
}

#[tokio::test(start_paused = true)]
async fn failures_count_anew_when_former_ones_are_forgotten() {
    let play = Play::with_nodes(&["a"]).await;
    play.create(json!({ "desiredCount": 1 })).await;
    let failed = async || play.show().await["deployments"][0]["failedTasks"].as_i64().unwrap();
    play.until_with(|_| Fate::Fails, async || failed().await == 12).await;
    play.rests().await;
    assert_eq!(failed().await, 0);
    let long_after = Timestamp::now().plus(48 * HOUR).as_millis() / 60_000;
    let now = Timestamp::now().as_millis() / 60_000;
    forget_due(&play.bench.ecs, now - 10, long_after).await.unwrap();
    let since = tokio::time::Instant::now();
    let task = play.bench.list_tasks(&owner(), json!({ "serviceName": "web" })).await.unwrap()["taskArns"][0].clone();
    play.bench.submit_task_state_change(&node("a"), json!({ "task": task, "status": "STOPPED" })).await.unwrap();
    play.until_with(|_| Fate::Fails, async || failed().await == 8).await;
    assert!(since.elapsed() > Duration::from_secs(60), "{:?}", since.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_task_that_was_healthy_makes_up_for_those_that_failed() {
    let play = Play::with_nodes(&["a"]).await;
    play.create(json!({ "desiredCount": 2, "deploymentConfiguration": breaker(true, 4) })).await;
    let failed = async || play.show().await["deployments"][0]["failedTasks"].as_i64().unwrap();
    play.until_with(|_| Fate::Exits(1), async || failed().await >= 2).await;
    play.rests().await;
    assert_eq!(failed().await, 0);
    assert_eq!(play.deployment().await["status"], "SUCCESSFUL");
}

#[tokio::test(start_paused = true)]
async fn the_breaker_goes_back_or_stays() {
    for (rollback, status, running) in [(true, "ROLLBACK_SUCCESSFUL", "web:1"), (false, "STOPPED", "web:2")] {
        let play = Play::with_nodes(&["a"]).await;
        play.create(json!({ "desiredCount": 1, "deploymentConfiguration": breaker(rollback, 3) })).await;
        play.rests().await;
        play.bench.define("web", json!({ "memory": 100, "cpu": 256 }), json!({})).await;
        play.update(json!({ "taskDefinition": "web:2" })).await;
        let of_second = |task: &crate::task::table::TaskRow| {
            if task.revision == 2 { Fate::Fails } else { Fate::Runs }
        };
        play.until_with(of_second, async || play.deployment().await["status"] == status).await;
        let deployment = play.deployment().await;
        let breaker = &deployment["deploymentCircuitBreaker"];
        assert_eq!((&breaker["failureCount"], &breaker["threshold"]), (&json!(3), &json!(3)), "{status}");
        let shown = play.show().await;
        assert!(text(&shown["taskDefinition"]).ends_with(running), "{status}");
        assert_eq!(shown["runningCount"], 1, "the task of before runs on");
        assert!(play.stands_still(HOUR).await, "{status}");
    }
}

/// A task whose essential container has ended is on its way out, however long another container takes to end.
#[tokio::test(start_paused = true)]
async fn a_task_on_its_way_out_does_not_become_healthy() {
    let play = Play::with_nodes(&["a"]).await;
    play.create(json!({ "desiredCount": 1, "deploymentConfiguration": breaker(true, 2) })).await;
    play.rests().await;
    let container =
        |name: &str, essential: bool| json!({ "name": name, "image": "busybox", "memory": 10, "essential": essential });
    let sided = json!({ "family": "web", "containerDefinitions": [container("app", true), container("side", false)] });
    play.bench.register_task_definition(&owner(), sided).await.unwrap();
    play.update(json!({ "taskDefinition": "web:2" })).await;
    let of_second = |task: &crate::task::table::TaskRow| {
        if task.revision == 2 { Fate::Lingers(1) } else { Fate::Runs }
    };
    play.until_with(of_second, async || play.deployment().await["status"] == "ROLLBACK_SUCCESSFUL").await;
    assert_eq!(play.deployment().await["deploymentCircuitBreaker"]["failureCount"], 2);
    assert!(text(&play.show().await["taskDefinition"]).ends_with("web:1"));
}

#[tokio::test(start_paused = true)]
async fn a_daemon_whose_deployment_failed_runs_on_as_it_was() {
    let play = Play::with_nodes(&["a", "b"]).await;
    play.create(json!({ "schedulingStrategy": "DAEMON", "deploymentConfiguration": breaker(false, 3) })).await;
    play.rests().await;
    play.bench.define("web", json!({ "memory": 100, "cpu": 256 }), json!({})).await;
    play.update(json!({ "taskDefinition": "web:2" })).await;
    let of_second = |task: &crate::task::table::TaskRow| {
        if task.revision == 2 { Fate::Fails } else { Fate::Runs }
    };
    play.until_with(of_second, async || play.deployment().await["status"] == "STOPPED").await;
    play.until_with(of_second, async || play.show().await["runningCount"] == 2).await;
    play.bench.join("c", json!({})).await;
    play.until_with(of_second, async || play.show().await["runningCount"] == 3).await;
    assert!(play.stands_still(HOUR).await);
    let deployments = play.show().await["deployments"].clone();
    assert_eq!((&deployments[0]["rolloutState"], &deployments[1]["runningCount"]), (&json!("FAILED"), &json!(3)));
}

#[tokio::test(start_paused = true)]
async fn a_rollback_whose_tasks_fail_has_failed_and_the_service_goes_on() {
    for configuration in [breaker(true, 3), json!({})] {
        let play = Play::with_nodes(&["a"]).await;
        let percents = json!({ "minimumHealthyPercent": 0, "maximumPercent": 100 });
        play.create(json!({ "desiredCount": 1, "deploymentConfiguration": merged(percents, configuration) })).await;
        let first = play.rests().await["deployments"][0]["id"].clone();
        let pause = json!({ "lifecycleHooks": [{ "targetType": "PAUSE", "lifecycleStages": ["POST_SCALE_UP"] }] });
        play.update(json!({ "forceNewDeployment": true, "deploymentConfiguration": pause })).await;
        play.until(async || play.deployment().await["lifecycleStage"] == "POST_SCALE_UP").await;
        let arn = play.deployment().await["serviceDeploymentArn"].clone();
        let input = json!({ "serviceDeploymentArn": arn, "stopType": "ROLLBACK" });
        play.bench.stop_service_deployment(&owner(), input).await.unwrap();
        let of_first = |task: &crate::task::table::TaskRow| {
            if json!(task.deployment) == first { Fate::Fails } else { Fate::Runs }
        };
        play.until_with(of_first, async || play.deployment().await["status"] == "ROLLBACK_FAILED").await;
        let ended = play.deployment().await;
        assert!(text(&ended["statusReason"]).contains("rolling back"), "{ended}");
        assert!(!ended["finishedAt"].is_null());
        let primary = play.show().await["deployments"][0].clone();
        assert_eq!((&primary["id"], &primary["rolloutState"]), (&first, &json!("FAILED")));
        assert_eq!(primary["failedTasks"], 3);
        let failed = async || play.show().await["deployments"][0]["failedTasks"].as_i64().unwrap();
        play.until_with(of_first, async || failed().await >= 6).await;
        play.until(async || play.show().await["runningCount"] == 1).await;
        play.until(async || play.show().await["deployments"].as_array().unwrap().len() == 1).await;
        assert_eq!(play.show().await["deployments"][0]["id"], first);
        play.update(json!({ "forceNewDeployment": true, "deploymentConfiguration": { "lifecycleHooks": [] } })).await;
        play.rests().await;
    }
}

#[tokio::test(start_paused = true)]
async fn tasks_that_run_while_a_hook_holds_a_deployment_up_are_throttled_too() {
    let play = Play::with_nodes(&["a"]).await;
    play.create(json!({ "desiredCount": 1 })).await;
    let first = play.rests().await["deployments"][0]["id"].clone();
    let pause = json!({ "lifecycleHooks": [{ "targetType": "PAUSE", "lifecycleStages": ["PRE_SCALE_UP"] }] });
    play.update(json!({ "forceNewDeployment": true, "deploymentConfiguration": pause })).await;
    play.until(async || play.deployment().await["lifecycleStage"] == "PRE_SCALE_UP").await;
    let task = play.bench.list_tasks(&owner(), json!({ "serviceName": "web" })).await.unwrap()["taskArns"][0].clone();
    play.bench.submit_task_state_change(&node("a"), json!({ "task": task, "status": "STOPPED" })).await.unwrap();
    let failed = async || {
        let shown = play.show().await;
        let of_first = shown["deployments"].as_array().unwrap().iter().find(|it| it["id"] == first);
        of_first.unwrap()["failedTasks"].as_i64().unwrap()
    };
    let since = tokio::time::Instant::now();
    play.until_with(|_| Fate::Fails, async || failed().await >= 10).await;
    assert!(since.elapsed() > Duration::from_secs(4 * 60), "{:?}", since.elapsed());
}

#[tokio::test(start_paused = true)]
async fn what_became_healthy_while_the_server_was_down_makes_up_for_failures() {
    let mut play = Play::with_nodes(&[]).await;
    let capability = json!({ "attributes": [{ "name": "ecs.capability.container-health-check" }] });
    play.bench.join("a", capability).await;
    let check = json!({ "command": ["CMD", "true"] });
    play.bench.define("checked", json!({ "memory": 100, "healthCheck": check }), json!({})).await;
    let input = json!({ "taskDefinition": "checked", "desiredCount": 1, "deploymentConfiguration": breaker(true, 4) });
    play.create(input).await;
    let failed = async |play: &Play| play.show().await["deployments"][0]["failedTasks"].as_i64().unwrap();
    play.until_with(|_| Fate::Exits(1), async || failed(&play).await == 3).await;
    play.until(async || play.show().await["runningCount"] == 1).await;
    play.kill().await;
    let task = play.bench.list_tasks(&owner(), json!({ "serviceName": "web" })).await.unwrap()["taskArns"][0].clone();
    let health = vec![(text(&task), vec![("app".to_owned(), HealthStatus::Healthy)])];
    let store = &play.bench.ecs.store;
    let instance = store.view().scan::<ContainerInstanceRow>("").next().unwrap();
    crate::task::health::take(store, &instance, health, Timestamp::now()).await.unwrap();
    assert_eq!(failed(&play).await, 3);
    play.restart();
    play.comes_to("SUCCESSFUL").await;
    assert_eq!(failed(&play).await, 0);
}

#[tokio::test(start_paused = true)]
async fn an_update_ends_the_wait_after_failures() {
    let play = Play::with_nodes(&["a"]).await;
    play.create(json!({ "desiredCount": 1 })).await;
    let failed = async || play.show().await["deployments"][0]["failedTasks"].as_i64().unwrap();
    play.until_with(|_| Fate::Fails, async || failed().await == 13).await;
    let since = tokio::time::Instant::now();
    play.update(json!({ "enableExecuteCommand": true })).await;
    play.until(async || play.show().await["runningCount"] == 1).await;
    assert!(since.elapsed() < Duration::from_secs(60), "{:?}", since.elapsed());
}

#[tokio::test(start_paused = true)]
async fn with_a_health_check_time_makes_nothing_healthy() {
    let play = Play::with_nodes(&[]).await;
    let capability = json!({ "attributes": [{ "name": "ecs.capability.container-health-check" }] });
    play.bench.join("a", capability).await;
    let check = json!({ "command": ["CMD", "true"] });
    play.bench.define("checked", json!({ "memory": 100, "healthCheck": check }), json!({})).await;
    play.create(json!({ "taskDefinition": "checked", "desiredCount": 1 })).await;
    play.until(async || play.show().await["runningCount"] == 1).await;
    assert!(play.stands_still(HOUR).await);
    assert_eq!(play.deployment().await["status"], "IN_PROGRESS");
}

#[tokio::test(start_paused = true)]
async fn a_deleted_service_ends_its_tasks_and_then_itself() {
    let play = Play::with_nodes(&["a"]).await;
    play.create(json!({ "desiredCount": 2 })).await;
    play.rests().await;
    play.bench.delete_service(&owner(), json!({ "service": "web", "force": true })).await.unwrap();
    assert_eq!(play.show().await["status"], "DRAINING");
    assert!(play.stands_still(HOUR).await, "its node has not answered");
    assert_eq!(play.show().await["status"], "DRAINING");
    play.until(async || play.show().await["status"] == "INACTIVE").await;
    let shown = play.show().await;
    assert_eq!((&shown["runningCount"], &shown["deployments"]), (&json!(0), &json!([])));
    assert!(text(&shown["taskDefinition"]).ends_with("web:1"), "what it was can still be seen");
    play.create(json!({ "desiredCount": 1 })).await;
    play.rests().await;
    assert_eq!(play.told("has started").await, 1, "a new service has nothing of a former one");
}

#[tokio::test(start_paused = true)]
async fn a_rollout_keeps_its_bounds_whatever_fails() {
    let play = Play::with_nodes(&["a", "b"]).await;
    let bounds = json!({ "minimumHealthyPercent": 75, "maximumPercent": 125 });
    play.create(json!({ "desiredCount": 4, "deploymentConfiguration": merged(bounds, breaker(true, 2)) })).await;
    play.rests().await;
    for fate in [Fate::Runs, Fate::Fails, Fate::Exits(1)] {
        play.update(json!({ "forceNewDeployment": true })).await;
        let newest = text(&play.show().await["deployments"][0]["id"]);
        let judge = |task: &crate::task::table::TaskRow| {
            if task.deployment.as_ref() == Some(&newest) { fate } else { Fate::Runs }
        };
        play.until_with(judge, async || {
            let shown = play.show().await;
            let (running, pending) = (shown["runningCount"].as_i64().unwrap(), shown["pendingCount"].as_i64().unwrap());
            assert!(running >= 3 && running + pending <= 5, "{fate:?}: {running} {pending}");
            let status = text(&play.deployment().await["status"]);
            status == "SUCCESSFUL" || status == "ROLLBACK_SUCCESSFUL"
        })
        .await;
        play.rests().await;
    }
}
