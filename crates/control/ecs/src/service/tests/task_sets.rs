//! Task sets: what their owner says of them.

use std::time::Duration;

use serde_json::{Value, json};

use super::play::{Fate, Play};
use crate::container_instance::tests::bench::{merged, owner, refusal, text};
use crate::service::table::ServiceRevisionRow;
use crate::task::table::TaskRow;

async fn external(names: &[&str]) -> Play {
    let play = Play::with_nodes(names).await;
    let input = json!({ "serviceName": "web", "desiredCount": 4, "deploymentController": { "type": "EXTERNAL" } });
    play.bench.create_service(&owner(), input).await.unwrap();
    play
}

fn about(more: Value) -> Value {
    merged(json!({ "cluster": "default", "service": "web" }), more)
}

fn percent(value: f64) -> Value {
    json!({ "value": value, "unit": "PERCENT" })
}

async fn make(play: &Play, definition: &str, scale: f64) -> String {
    let input = about(json!({ "taskDefinition": definition, "scale": percent(scale) }));
    text(&play.bench.create_task_set(&owner(), input).await.unwrap()["taskSet"]["id"])
}

async fn set(play: &Play, id: &str) -> Value {
    let answer = play.bench.describe_task_sets(&owner(), about(json!({ "taskSets": [id] }))).await.unwrap();
    answer["taskSets"][0].clone()
}

async fn running(play: &Play, id: &str) -> i64 {
    set(play, id).await["runningCount"].as_i64().unwrap()
}

#[tokio::test(start_paused = true)]
async fn each_set_has_its_part_rounded_up() {
    let play = external(&["a", "b"]).await;
    let (blue, green) = (make(&play, "web", 100.0).await, make(&play, "web", 30.0).await);
    play.until(async || running(&play, &blue).await == 4 && running(&play, &green).await == 2).await;
    let input = about(json!({ "taskSet": blue, "scale": percent(0.0) }));
    play.bench.update_task_set(&owner(), input).await.unwrap();
    play.until(async || running(&play, &blue).await == 0).await;
    play.bench.delete_task_set(&owner(), about(json!({ "taskSet": blue }))).await.unwrap();
    play.until(async || {
        let answer = play.bench.describe_task_sets(&owner(), about(json!({}))).await.unwrap();
        answer["taskSets"].as_array().unwrap().len() == 1
    })
    .await;
    assert_eq!(running(&play, &green).await, 2);
}

#[tokio::test(start_paused = true)]
async fn a_set_that_finds_no_room_does_not_keep_the_others_back() {
    let play = external(&["a"]).await;
    play.bench.define("huge", json!({ "memory": 4, "cpu": 100_000 }), json!({})).await;
    make(&play, "huge", 100.0).await;
    play.until(async || play.told("was unable to place a task").await > 0).await;
    let small = make(&play, "web", 50.0).await;
    play.until(async || {
        running(&play, &small).await == 2 && set(&play, &small).await["stabilityStatus"] == "STEADY_STATE"
    })
    .await;
    assert!(play.stands_still(Duration::from_secs(3600)).await);
}

#[tokio::test(start_paused = true)]
async fn a_set_that_finds_no_room_does_not_keep_back_what_others_have_to_start_again() {
    let play = external(&["a"]).await;
    play.bench.define("huge", json!({ "memory": 4, "cpu": 100_000 }), json!({})).await;
    let huge = make(&play, "huge", 100.0).await;
    play.until(async || play.told("was unable to place a task").await > 0).await;
    let small = make(&play, "web", 50.0).await;
    let failed = || play.bench.ecs.store.view().scan::<TaskRow>("").filter(|task| task.failure.is_some()).count();
    let unsteady = |_: &TaskRow| if failed() < 6 { Fate::Fails } else { Fate::Runs };
    play.until_with(unsteady, async || running(&play, &small).await == 2).await;
    assert!(failed() >= 6, "its starts had to wait");
    assert_eq!(running(&play, &huge).await, 0);
}

#[tokio::test(start_paused = true)]
async fn each_set_that_finds_no_room_says_so_once() {
    let play = external(&["a"]).await;
    play.bench.define("huge", json!({ "memory": 4, "cpu": 100_000 }), json!({})).await;
    play.bench.define("vast", json!({ "memory": 100_000 }), json!({})).await;
    let sets = [make(&play, "huge", 100.0).await, make(&play, "vast", 100.0).await];
    for set in &sets {
        let words = format!("(service web, taskSet {set}) was unable to place a task");
        play.until(async || play.told(&words).await == 1).await;
    }
    // There is room again, if not for them.
    let task = play.bench.run("web").await;
    play.until(async || play.bench.task(&task).await["lastStatus"] == "RUNNING").await;
    play.bench.stop_task(&owner(), json!({ "task": task })).await.unwrap();
    play.until(async || play.bench.task(&task).await["lastStatus"] == "STOPPED").await;
    assert!(play.stands_still(Duration::from_secs(60)).await);
    assert_eq!(play.told("was unable to place a task").await, 2);
}

#[tokio::test(start_paused = true)]
async fn a_set_that_waits_for_room_gets_it_when_there_is_some() {
    let play = external(&["a"]).await;
    play.bench.define("wide", json!({ "memory": 4, "cpu": 700 }), json!({})).await;
    let small = make(&play, "web", 25.0).await;
    play.until(async || running(&play, &small).await == 1).await;
    let wide = make(&play, "wide", 50.0).await;
    play.until(async || running(&play, &wide).await == 1).await;
    let input = about(json!({ "taskSet": small, "scale": percent(0.0) }));
    play.bench.update_task_set(&owner(), input).await.unwrap();
    play.until(async || running(&play, &small).await == 0).await;
    assert!(play.stands_still(Duration::from_secs(3600)).await, "it is no room for another of 700 units");
    assert_eq!(set(&play, &wide).await["stabilityStatus"], "STABILIZING");
    play.bench.join("b", json!({})).await;
    play.until(async || running(&play, &wide).await == 2).await;
}

#[tokio::test(start_paused = true)]
async fn a_protected_task_ends_once_it_is_not_any_more() {
    let play = external(&["a"]).await;
    let blue = make(&play, "web", 25.0).await;
    play.until(async || running(&play, &blue).await == 1).await;
    let task = play.bench.list_tasks(&owner(), json!({})).await.unwrap()["taskArns"][0].clone();
    let protection =
        json!({ "cluster": "default", "tasks": [task], "protectionEnabled": true, "expiresInMinutes": 60 });
    play.bench.update_task_protection(&owner(), protection).await.unwrap();
    let protected_at = tokio::time::Instant::now();
    play.bench.delete_task_set(&owner(), about(json!({ "taskSet": blue, "force": true }))).await.unwrap();
    play.until(async || {
        let answer = play.bench.describe_task_sets(&owner(), about(json!({}))).await.unwrap();
        answer["taskSets"] == json!([])
    })
    .await;
    assert!(protected_at.elapsed() >= std::time::Duration::from_secs(3600), "{:?}", protected_at.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_token_makes_a_set_once() {
    let play = external(&["a"]).await;
    let input = about(json!({ "taskDefinition": "web", "clientToken": "t" }));
    let first = play.bench.create_task_set(&owner(), input.clone()).await.unwrap();
    let again = play.bench.create_task_set(&owner(), input.clone()).await.unwrap();
    let other = merged(input, json!({ "scale": percent(1.0) }));
    let told = refusal(play.bench.create_task_set(&owner(), other).await);
    assert_eq!(told, "InvalidParameterException: Creation of task set was not idempotent.");
    assert_eq!(first["taskSet"]["id"], again["taskSet"]["id"]);
    make(&play, "web", 0.0).await;
    let answer = play.bench.describe_task_sets(&owner(), about(json!({}))).await.unwrap();
    assert_eq!(answer["taskSets"].as_array().unwrap().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn sets_that_cannot_be_are_refused() {
    let play = external(&["a"]).await;
    let bench = &play.bench;
    let scaled = make(&play, "web", 10.0).await;
    let told = refusal(bench.delete_task_set(&owner(), about(json!({ "taskSet": scaled }))).await);
    assert!(told.contains("force"), "{told}");
    let told = refusal(bench.delete_service(&owner(), json!({ "service": "web" })).await);
    assert!(told.starts_with("InvalidParameterException"), "{told}");
    for scale in [-1.0, 100.5] {
        let input = about(json!({ "taskDefinition": "web", "scale": percent(scale) }));
        assert!(refusal(bench.create_task_set(&owner(), input).await).contains("scale"));
    }
    let both = json!({ "launchType": "EC2", "capacityProviderStrategy": [{ "capacityProvider": "FARGATE" }] });
    for (more, words) in [
        (both, "both a launch type and capacity provider strategy"),
        (json!({ "launchType": "EC2", "platformVersion": "LATEST" }), "platform version"),
        (json!({ "clientToken": "a b" }), "clientToken"),
    ] {
        let input = about(merged(json!({ "taskDefinition": "web" }), more));
        let told = refusal(bench.create_task_set(&owner(), input).await);
        assert!(told.contains(words), "{told}");
    }
    let other = json!({ "serviceName": "own", "taskDefinition": "web", "desiredCount": 0 });
    bench.create_service(&owner(), other).await.unwrap();
    let input = json!({ "cluster": "default", "service": "own", "taskDefinition": "web" });
    assert!(refusal(bench.create_task_set(&owner(), input).await).contains("EXTERNAL"));
    let told = refusal(bench.update_task_set(&owner(), about(json!({ "taskSet": "x", "scale": percent(1.0) }))).await);
    assert!(told.starts_with("TaskSetNotFoundException"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn a_set_whose_tasks_fail_does_not_keep_the_others_waiting() {
    let play = external(&["a", "b"]).await;
    play.bench.define("bad", json!({ "memory": 4 }), json!({})).await;
    let (good, bad) = (make(&play, "web", 50.0).await, make(&play, "bad", 25.0).await);
    let of_bad = |task: &TaskRow| if task.family == "bad" { Fate::Fails } else { Fate::Runs };
    let failed = || play.bench.ecs.store.view().scan::<TaskRow>("").filter(|task| task.failure.is_some()).count();
    play.until_with(of_bad, async || running(&play, &good).await == 2 && failed() >= 13).await;
    let since = tokio::time::Instant::now();
    let input = about(json!({ "taskSet": good, "scale": percent(100.0) }));
    play.bench.update_task_set(&owner(), input).await.unwrap();
    play.until_with(of_bad, async || running(&play, &good).await == 4).await;
    assert!(since.elapsed() < Duration::from_secs(60), "{:?}", since.elapsed());
    assert!(set(&play, &bad).await["runningCount"] == 0);
}

#[tokio::test(start_paused = true)]
async fn a_protected_task_of_a_set_goes_once_its_protection_has_ended() {
    let play = external(&["a", "b"]).await;
    let blue = make(&play, "web", 50.0).await;
    play.until(async || set(&play, &blue).await["stabilityStatus"] == "STEADY_STATE").await;
    let tasks = play.bench.list_tasks(&owner(), json!({ "serviceName": "web" })).await.unwrap()["taskArns"].clone();
    let input = json!({ "cluster": "default", "tasks": tasks, "protectionEnabled": true, "expiresInMinutes": 60 });
    play.bench.update_task_protection(&owner(), input).await.unwrap();
    let input = about(json!({ "taskSet": blue, "scale": percent(0.0) }));
    play.bench.update_task_set(&owner(), input).await.unwrap();
    play.until(async || running(&play, &blue).await == 0).await;
}

#[tokio::test(start_paused = true)]
async fn of_former_sets_a_hundred_revisions_are_kept() {
    let play = external(&["a"]).await;
    let lasting = make(&play, "web", 25.0).await;
    for _ in 0..120 {
        let set = make(&play, "web", 0.0).await;
        play.bench.delete_task_set(&owner(), about(json!({ "taskSet": set }))).await.unwrap();
        play.until(async || set_count(&play).await == 1).await;
    }
    assert_eq!(play.bench.count::<ServiceRevisionRow>(), 102, "and those of the two that were there at last");
    assert!(text(&set(&play, &lasting).await["taskDefinition"]).ends_with("web:1"));
}

async fn set_count(play: &Play) -> usize {
    let answer = play.bench.describe_task_sets(&owner(), about(json!({}))).await.unwrap();
    answer["taskSets"].as_array().unwrap().len()
}
