//! Single passes of the controller, and what comes between a decision and its step.

use std::sync::Arc;
use std::time::Duration;

use estiva_model::Timestamp;
use estiva_reconcile::Controller;
use estiva_store::{Row, Watch};
use serde_json::json;

use super::play::Play;
use crate::alarm::NoAlarms;
use crate::container_instance::tests::bench::owner;
use crate::service::controller::ServiceController;
use crate::service::rollout_table::RolloutRow;
use crate::service::table::ServiceRow;

#[tokio::test(start_paused = true)]
async fn a_task_that_was_protected_after_the_decision_to_stop_it_stays() {
    let mut play = Play::with_nodes(&["a"]).await;
    play.create(json!({ "desiredCount": 2 })).await;
    play.rests().await;
    play.kill().await;
    play.update(json!({ "desiredCount": 0 })).await;
    let bench = &play.bench;
    let store = &bench.ecs.store;
    let later = Timestamp::now().plus(Duration::from_secs(60));
    let mut controller =
        ServiceController::new(Arc::clone(&bench.ecs.placer), Duration::from_secs(40), Arc::new(NoAlarms));
    let view = store.view();
    controller.load(&view, later);
    let key = view.scan::<ServiceRow>("").next().unwrap().key();
    let step = controller.reconcile(&view, &key, later).step.unwrap();
    let tasks = bench.list_tasks(&owner(), json!({ "serviceName": "web" })).await.unwrap()["taskArns"].clone();
    let input = json!({ "cluster": "default", "tasks": [tasks[0]], "protectionEnabled": true });
    bench.update_task_protection(&owner(), input).await.unwrap();
    store.update(step).await.unwrap();
    let left = bench.list_tasks(&owner(), json!({ "serviceName": "web" })).await.unwrap()["taskArns"].clone();
    assert_eq!(left, json!([tasks[0]]));
}

#[tokio::test(start_paused = true)]
async fn a_daemons_task_for_an_instance_that_takes_leave_meanwhile_is_not_started() {
    let mut play = Play::with_nodes(&["a"]).await;
    play.create(json!({ "schedulingStrategy": "DAEMON" })).await;
    play.rests().await;
    play.kill().await;
    let b = play.bench.join("b", json!({})).await;
    let store = &play.bench.ecs.store;
    let later = Timestamp::now().plus(Duration::from_secs(60));
    let mut controller =
        ServiceController::new(Arc::clone(&play.bench.ecs.placer), Duration::from_secs(40), Arc::new(NoAlarms));
    let view = store.view();
    controller.load(&view, later);
    let key = view.scan::<ServiceRow>("").next().unwrap().key();
    let step = controller.reconcile(&view, &key, later).step.unwrap();
    let input = json!({ "containerInstances": [b], "status": "DRAINING" });
    play.bench.update_container_instances_state(&owner(), input).await.unwrap();
    store.update(step).await.unwrap();
    let tasks = play.bench.list_tasks(&owner(), json!({ "serviceName": "web" })).await.unwrap()["taskArns"].clone();
    assert_eq!(tasks.as_array().unwrap().len(), 1);
}

/// Tells the controller what has changed.
async fn tell(controller: &mut ServiceController, play: &Play, watch: &mut Watch, now: Timestamp) {
    for change in watch.next().await.unwrap() {
        controller.observe(&play.bench.ecs.store.view(), &change, now);
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_room_is_woken_though_its_row_is_written_afterwards() {
    let mut play = Play::with_nodes(&["a"]).await;
    play.kill().await;
    play.create(json!({ "desiredCount": 5 })).await;
    let store = &play.bench.ecs.store;
    let later = Timestamp::now().plus(Duration::from_secs(60));
    let mut controller =
        ServiceController::new(Arc::clone(&play.bench.ecs.placer), Duration::from_secs(40), Arc::new(NoAlarms));
    controller.load(&store.view(), later);
    let key = store.view().scan::<ServiceRow>("").next().unwrap().key();
    let mut watch = store.watch(store.view().revision());
    while let Some(step) = controller.reconcile(&store.view(), &key, later).step {
        store.update(step).await.unwrap();
        tell(&mut controller, &play, &mut watch, later).await;
    }
    let waiting = store.view().get::<RolloutRow>(&key).unwrap();
    assert_eq!(waiting.unplaced(), 1, "four of five have room");
    play.bench.join("b", json!({})).await;
    let rewrite = store.update(|tx| {
        tx.put((*waiting).clone());
        Ok::<_, estiva_api_ecs::Error>(())
    });
    rewrite.await.unwrap();
    tell(&mut controller, &play, &mut watch, later).await;
    let step = controller.reconcile(&store.view(), &key, later).step.expect("it tries again");
    store.update(step).await.unwrap();
    assert_eq!(store.view().get::<RolloutRow>(&key).unwrap().unplaced(), 0);
}
