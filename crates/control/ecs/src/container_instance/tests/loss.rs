//! Nodes that are away: waited for, given up, and back again.

use std::time::Duration;

use estiva_model::Ambient;
use estiva_reconcile::Controller;
use estiva_store::Row;
use serde_json::{Value, json};

use super::bench::{Bench, node, owner, text};
use crate::container_instance::loss::LossController;
use crate::container_instance::table::ConnectionRow;

async fn tasks_on(bench: &Bench, instance: &str) -> Vec<Value> {
    let listed = bench.list_tasks(&owner(), json!({ "containerInstance": instance })).await.unwrap();
    let mut tasks = Vec::new();
    for arn in listed["taskArns"].as_array().unwrap() {
        tasks.push(bench.task(&text(arn)).await);
    }
    tasks
}

async fn service_of_two(bench: &Bench) -> (String, String) {
    let a = bench.join("a", json!({})).await;
    let b = bench.join("b", json!({})).await;
    let input = json!({ "serviceName": "s", "taskDefinition": "web", "desiredCount": 2 });
    bench.create_service(&owner(), input).await.unwrap();
    bench.rest().await;
    assert_eq!((tasks_on(bench, &a).await.len(), tasks_on(bench, &b).await.len()), (1, 1));
    (a, b)
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_away_is_waited_for_and_then_its_services_go_on_elsewhere() {
    let bench = Bench::running().await;
    let (a, b) = service_of_two(&bench).await;
    let own = text(&tasks_on(&bench, &a).await[0]["taskArn"]);
    bench.connect(&a, false).await;
    tokio::time::sleep(Duration::from_secs(59)).await;
    bench.rest().await;
    assert_eq!(bench.task(&own).await["desiredStatus"], "RUNNING");
    assert_eq!(tasks_on(&bench, &b).await.len(), 1);

    tokio::time::sleep(Duration::from_secs(2)).await;
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    let lost = bench.task(&own).await;
    assert_eq!((&lost["desiredStatus"], &lost["stopCode"]), (&json!("STOPPED"), &json!("InfrastructureHealth")));
    assert_eq!(tasks_on(&bench, &b).await.len(), 2);
    assert_ne!(lost["lastStatus"], "STOPPED", "nobody has seen it end");
    let remaining = bench.reservation(&a);
    assert_eq!(remaining.0, 1024 - 256, "and until then it holds what it holds");
    // The node is back, and learns that its task is not wanted.
    bench.connect(&a, true).await;
    bench.report("a", &own, json!({ "status": "STOPPED" })).await.unwrap();
    bench.rest().await;
    assert_eq!(bench.reservation(&a).0, 1024);
    assert_eq!((&bench.service("s").await["runningCount"], tasks_on(&bench, &b).await.len()), (&json!(2), 2));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_comes_back_in_time_keeps_its_tasks() {
    let bench = Bench::running().await;
    let (a, b) = service_of_two(&bench).await;
    for _ in 0..5 {
        bench.connect(&a, false).await;
        tokio::time::sleep(Duration::from_secs(40)).await;
        bench.connect(&a, true).await;
        tokio::time::sleep(Duration::from_secs(40)).await;
    }
    bench.rest().await;
    assert_eq!((tasks_on(&bench, &a).await.len(), tasks_on(&bench, &b).await.len()), (1, 1));
    assert_eq!(bench.count::<crate::task::table::TaskRow>(), 2, "nothing was replaced");
}

#[tokio::test(start_paused = true)]
async fn a_hook_whose_task_is_lost_has_failed() {
    let bench = Bench::running().await;
    let a = bench.join("a", json!({})).await;
    let input = json!({ "serviceName": "s", "taskDefinition": "web", "desiredCount": 0 });
    bench.create_service(&owner(), input).await.unwrap();
    bench.rest().await;
    bench.define("migration", json!({ "memory": 4 }), json!({})).await;
    let target = "arn:aws:ecs:us-east-1:000000000000:task-definition/migration:1";
    let hooks = json!([{ "hookTargetArn": target, "lifecycleStages": ["PRE_SCALE_UP"] }]);
    let input =
        json!({ "service": "s", "forceNewDeployment": true, "deploymentConfiguration": { "lifecycleHooks": hooks } });
    bench.update_service(&owner(), input).await.unwrap();
    bench.rest().await;
    assert_eq!(tasks_on(&bench, &a).await[0]["lastStatus"], "RUNNING");
    bench.connect(&a, false).await;
    tokio::time::sleep(Duration::from_secs(61)).await;
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    let listed = bench.list_service_deployments(&owner(), json!({ "service": "s" })).await.unwrap();
    let newest = &listed["serviceDeployments"][0];
    assert_eq!(newest["status"], "ROLLBACK_SUCCESSFUL");
    assert!(text(&newest["statusReason"]).contains("was not connected"), "{newest}");
}

#[tokio::test(start_paused = true)]
async fn tasks_of_nobody_stay_where_they_are() {
    let bench = Bench::running().await;
    let a = bench.join("a", json!({})).await;
    let task = bench.run("web").await;
    bench.rest().await;
    bench.connect(&a, false).await;
    tokio::time::sleep(Duration::from_secs(3600)).await;
    bench.rest().await;
    assert_eq!(bench.task(&task).await["desiredStatus"], "RUNNING");
    let input = json!({ "containerInstance": a, "force": true });
    bench.deregister_container_instance(&node("a"), input).await.unwrap();
    assert_eq!(bench.task(&task).await["lastStatus"], "STOPPED");
}

/// Nobody could come back while the control plane was down, however long that was.
#[tokio::test]
async fn after_a_restart_every_node_has_its_time_to_come_back() {
    const LOST_AFTER: Duration = Duration::from_secs(60);
    let bench = Bench::new();
    let arn = bench.join("a", json!({})).await;
    bench.connect(&arn, false).await;
    let a = bench.ecs.store.view().scan::<ConnectionRow>("").next().unwrap();
    let mut controller = LossController::new(Ambient::system(), LOST_AFTER);
    let view = bench.ecs.store.view();
    let up_again = a.changed_at.plus(Duration::from_secs(3600));
    assert_eq!(controller.load(&view, up_again), [a.key()]);
    let pass = controller.reconcile(&view, &a.key(), up_again);
    assert!(pass.step.is_none());
    assert_eq!(pass.again_at, Some(up_again.plus(LOST_AFTER)));
    // That it was too far behind the store gives nobody more time.
    let later = up_again.plus(Duration::from_secs(30));
    controller.load(&view, later);
    assert_eq!(controller.reconcile(&view, &a.key(), later).again_at, pass.again_at);
    // Nobody waits for one that is deregistered.
    bench.deregister_container_instance(&owner(), json!({ "containerInstance": arn })).await.unwrap();
    assert!(controller.load(&bench.ecs.store.view(), later).is_empty());
}
