//! Single passes of the controller, and what comes between a decision and its step.

use std::sync::Arc;
use std::time::Duration;

use estiva_model::Timestamp;
use estiva_reconcile::Controller;
use estiva_store::Row;
use serde_json::json;

use super::play::Play;
use crate::alarm::NoAlarms;
use crate::container_instance::tests::bench::owner;
use crate::service::controller::ServiceController;
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
