//! Service deployments: their lists, their stages, their hooks, and how they are stopped.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use super::play::{Fate, Play};
use crate::alarm::AlarmStates;
use crate::container_instance::tests::bench::{merged, owner, reasons, refusal, text};
use crate::scope::Scope;

const MINUTE: Duration = Duration::from_secs(60);

fn hooks(hooks: &Value) -> Value {
    json!({ "deploymentConfiguration": { "lifecycleHooks": hooks } })
}

fn pause(stage: &str, more: Value) -> Value {
    merged(json!({ "targetType": "PAUSE", "lifecycleStages": [stage] }), more)
}

async fn resting() -> Play {
    let play = Play::with_nodes(&["a"]).await;
    play.create(json!({ "desiredCount": 1 })).await;
    play.rests().await;
    play
}

/// Waits for the hook that waits; the service deployment's ARN and the hook's id.
async fn waiting(play: &Play) -> (String, String) {
    let awaits = |deployment: &Value| {
        let hooks = deployment["lifecycleHookDetails"].as_array().unwrap().clone();
        hooks.into_iter().find(|hook| hook["status"] == "AWAITING_ACTION")
    };
    play.until(async || awaits(&play.deployment().await).is_some()).await;
    let deployment = play.deployment().await;
    (text(&deployment["serviceDeploymentArn"]), text(&awaits(&deployment).unwrap()["hookId"]))
}

async fn answer(play: &Play, action: &str) -> String {
    let (arn, hook) = waiting(play).await;
    let input = json!({ "serviceDeploymentArn": arn, "hookId": hook, "action": action });
    play.bench.continue_service_deployment(&owner(), input).await.unwrap();
    hook
}

#[tokio::test(start_paused = true)]
async fn deployments_are_listed_the_newest_first_page_by_page() {
    let play = resting().await;
    let mut targets = vec![play.deployment().await["targetServiceRevision"]["arn"].clone()];
    for _ in 0..4 {
        play.update(json!({ "forceNewDeployment": true })).await;
        play.rests().await;
        targets.insert(0, play.deployment().await["targetServiceRevision"]["arn"].clone());
    }
    let list = async |more: Value| {
        let input = merged(json!({ "service": "web" }), more);
        let answer = play.bench.list_service_deployments(&owner(), input).await.unwrap();
        let listed = answer["serviceDeployments"].as_array().unwrap().clone();
        (listed, answer.get("nextToken").cloned())
    };
    let (all, _) = list(json!({})).await;
    let order: Vec<_> = all.iter().map(|it| it["createdAt"].as_f64().unwrap()).collect();
    assert!(order.is_sorted_by(|one, other| one >= other), "{order:?}");
    let found: BTreeSet<_> = all.iter().map(|it| text(&it["targetServiceRevisionArn"])).collect();
    assert_eq!(found, targets.iter().map(text).collect());
    let (first, token) = list(json!({ "maxResults": 3 })).await;
    let (second, end) = list(json!({ "maxResults": 3, "nextToken": token.unwrap() })).await;
    assert_eq!(([first, second].concat(), end), (all, None));
    for (filter, count) in [
        (json!({ "status": ["SUCCESSFUL"] }), 5),
        (json!({ "status": ["IN_PROGRESS"] }), 0),
        (json!({ "createdAt": { "after": 4_000_000_000_u64 } }), 0),
        (json!({ "createdAt": { "before": 4_000_000_000_u64 } }), 5),
    ] {
        assert_eq!(list(filter.clone()).await.0.len(), count, "{filter}");
    }
    let of_revisions = json!({ "serviceRevisionArns": targets });
    let revisions = play.bench.describe_service_revisions(&owner(), of_revisions).await.unwrap();
    let revisions = revisions["serviceRevisions"].as_array().unwrap();
    assert_eq!(revisions.len(), 5);
    assert_eq!(revisions[0]["containerImages"][0]["image"], "busybox");
}

#[tokio::test(start_paused = true)]
async fn what_is_not_there_is_missing_or_refused() {
    let play = resting().await;
    let (bench, owner) = (&play.bench, owner());
    let none = |kind: &str| format!("arn:aws:ecs:us-east-1:000000000000:{kind}/default/web/0");
    let input = json!({ "serviceDeploymentArns": [none("service-deployment")] });
    assert_eq!(reasons(&bench.describe_service_deployments(&owner, input).await.unwrap()), ["MISSING"]);
    let input = json!({ "serviceRevisionArns": [none("service-revision")] });
    assert_eq!(reasons(&bench.describe_service_revisions(&owner, input).await.unwrap()), ["MISSING"]);
    let many = vec![none("service-deployment"); 21];
    for arns in [json!([]), json!(many), json!([none("service")]), json!(["x"])] {
        let input = json!({ "serviceDeploymentArns": arns });
        let told = refusal(bench.describe_service_deployments(&owner, input).await);
        assert!(told.starts_with("InvalidParameterException"), "{told}");
    }
    let input = json!({ "serviceDeploymentArn": none("service-deployment") });
    let told = refusal(bench.stop_service_deployment(&owner, input).await);
    assert!(told.starts_with("ServiceDeploymentNotFoundException"), "{told}");
    let ended = json!({ "serviceDeploymentArn": play.deployment().await["serviceDeploymentArn"] });
    let told = refusal(bench.stop_service_deployment(&owner, ended).await);
    assert!(told.starts_with("ConflictException"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn a_pause_holds_a_deployment_until_it_is_answered() {
    let play = resting().await;
    let given = hooks(&json!([pause("PRE_SCALE_UP", json!({})), pause("POST_SCALE_UP", json!({}))]));
    play.update(merged(given, json!({ "forceNewDeployment": true }))).await;
    let (arn, hook) = waiting(&play).await;
    assert!(play.stands_still(MINUTE).await);
    assert_eq!(play.told("has started").await, 1, "the new task has to wait");
    let wrong = json!({ "serviceDeploymentArn": arn, "hookId": "other", "action": "CONTINUE" });
    assert!(refusal(play.bench.continue_service_deployment(&owner(), wrong).await).contains("hookId"));
    assert_eq!(answer(&play, "CONTINUE").await, hook);
    assert_ne!(answer(&play, "CONTINUE").await, hook);
    assert_eq!(play.comes_to("SUCCESSFUL").await["lifecycleHookDetails"].as_array().unwrap().len(), 2);
    play.rests().await;
    let again = json!({ "serviceDeploymentArn": arn, "hookId": hook });
    let told = refusal(play.bench.continue_service_deployment(&owner(), again).await);
    assert!(told.starts_with("ConflictException"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn a_pause_may_end_in_a_rollback_or_run_out() {
    for (more, action, status, of_hook) in [
        (json!({}), Some("ROLLBACK"), "ROLLBACK_SUCCESSFUL", "FAILED"),
        (json!({}), None, "ROLLBACK_SUCCESSFUL", "TIMED_OUT"),
        (json!({ "timeoutConfiguration": { "action": "CONTINUE" } }), None, "SUCCESSFUL", "TIMED_OUT"),
    ] {
        let play = resting().await;
        let before = play.show().await["deployments"][0]["id"].clone();
        play.update(merged(hooks(&json!([pause("POST_SCALE_UP", more)])), json!({ "forceNewDeployment": true }))).await;
        if let Some(action) = action {
            answer(&play, action).await;
        }
        let ended = play.comes_to(status).await;
        assert_eq!(ended["lifecycleHookDetails"][0]["status"], of_hook);
        let shown = play.rests().await;
        assert_eq!(shown["deployments"][0]["id"] == before, status == "ROLLBACK_SUCCESSFUL");
    }
}

#[tokio::test(start_paused = true)]
async fn a_hooks_task_decides_by_its_exit_code() {
    for (fate, status) in
        [(Fate::Exits(0), "SUCCESSFUL"), (Fate::Exits(3), "ROLLBACK_SUCCESSFUL"), (Fate::Fails, "ROLLBACK_SUCCESSFUL")]
    {
        let play = resting().await;
        play.bench.define("migration", json!({ "memory": 4 }), json!({})).await;
        let target = "arn:aws:ecs:us-east-1:000000000000:task-definition/migration:1";
        let hook = json!([{ "hookTargetArn": target, "lifecycleStages": ["PRE_SCALE_UP"] }]);
        play.update(merged(hooks(&hook), json!({ "forceNewDeployment": true }))).await;
        let of_hook = |task: &crate::task::table::TaskRow| {
            if task.family == "migration" { fate } else { Fate::Runs }
        };
        play.until_with(of_hook, async || play.deployment().await["status"] == status).await;
        play.rests().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_hooks_task_that_does_not_end_is_ended() {
    let play = resting().await;
    play.bench.define("migration", json!({ "memory": 4 }), json!({})).await;
    let target = "arn:aws:ecs:us-east-1:000000000000:task-definition/migration:1";
    let timeout = json!({ "timeoutInMinutes": 30 });
    let hook =
        json!([{ "hookTargetArn": target, "lifecycleStages": ["PRE_SCALE_UP"], "timeoutConfiguration": timeout }]);
    play.update(merged(hooks(&hook), json!({ "forceNewDeployment": true }))).await;
    let ended = play.comes_to("ROLLBACK_SUCCESSFUL").await;
    assert_eq!(ended["lifecycleHookDetails"][0]["status"], "TIMED_OUT");
    let input = json!({ "family": "migration", "desiredStatus": "STOPPED" });
    let listed = play.bench.list_tasks(&owner(), input).await.unwrap();
    let task = play.bench.task(&text(&listed["taskArns"][0])).await;
    assert_eq!(task["stoppedReason"], "The time of the lifecycle hook has run out.");
}

#[tokio::test(start_paused = true)]
async fn hooks_end_with_their_deployment() {
    let play = resting().await;
    play.bench.define("migration", json!({ "memory": 4 }), json!({})).await;
    let target = "arn:aws:ecs:us-east-1:000000000000:task-definition/migration:1";
    let hook = json!([{ "hookTargetArn": target, "lifecycleStages": ["PRE_SCALE_UP"] }]);
    let input = json!({ "family": "migration", "desiredStatus": "RUNNING" });
    let runs = async || play.bench.list_tasks(&owner(), input.clone()).await.unwrap()["taskArns"] != json!([]);
    play.update(merged(hooks(&hook), json!({ "forceNewDeployment": true }))).await;
    play.until(&runs).await;
    let stop = json!({ "serviceDeploymentArn": play.deployment().await["serviceDeploymentArn"] });
    play.bench.stop_service_deployment(&owner(), stop).await.unwrap();
    let ended = play.comes_to("ROLLBACK_SUCCESSFUL").await;
    assert_eq!(ended["lifecycleHookDetails"][0]["status"], "FAILED");
    play.until(async || !runs().await).await;

    play.update(json!({ "forceNewDeployment": true })).await;
    play.until(&runs).await;
    play.update(merged(hooks(&json!([])), json!({ "forceNewDeployment": true }))).await;
    play.until(async || !runs().await).await;
    play.rests().await;
}

#[tokio::test(start_paused = true)]
async fn a_hook_whose_task_finds_no_room_has_failed() {
    let play = resting().await;
    play.bench.define("large", json!({ "memory": 4, "cpu": 100_000 }), json!({})).await;
    let target = "arn:aws:ecs:us-east-1:000000000000:task-definition/large:1";
    let hook = json!([{ "hookTargetArn": target, "lifecycleStages": ["PRE_SCALE_UP"] }]);
    play.update(merged(hooks(&hook), json!({ "forceNewDeployment": true }))).await;
    let ended = play.comes_to("ROLLBACK_SUCCESSFUL").await;
    assert!(text(&ended["statusReason"]).contains("no container instance has room"), "{ended}");
}

#[tokio::test(start_paused = true)]
async fn hooks_that_cannot_be_are_refused() {
    let play = resting().await;
    let lambda = json!({ "hookTargetArn": "arn:aws:lambda:us-east-1:000000000000:function:f", "lifecycleStages": ["PRE_SCALE_UP"] });
    let definition = "arn:aws:ecs:us-east-1:000000000000:task-definition/web:1";
    let details =
        json!({ "hookTargetArn": definition, "lifecycleStages": ["PRE_SCALE_UP"], "hookDetails": { "cpu": [] } });
    for (hook, words) in [
        (json!({ "targetType": "PAUSE" }), "at least one lifecycle stage"),
        (pause("PRODUCTION_TRAFFIC_SHIFT", json!({})), "PAUSE is not supported"),
        (pause("TEST_TRAFFIC_SHIFT", json!({})), "no meaning for ROLLING"),
        (pause("PRE_SCALE_UP", json!({ "timeoutConfiguration": { "timeoutInMinutes": 20_161 } })), "timeoutInMinutes"),
        (lambda, "AWS Lambda"),
        (details, "hookDetails"),
    ] {
        let input = merged(json!({ "service": "web" }), hooks(&json!([hook])));
        let told = refusal(play.bench.update_service(&owner(), input).await);
        assert!(told.contains(words), "{hook}: {told}");
    }
    let many = vec![pause("PRE_SCALE_UP", json!({})); 21];
    let input = merged(json!({ "service": "web" }), hooks(&json!(many)));
    assert!(refusal(play.bench.update_service(&owner(), input).await).contains("at most 20"));
}

#[tokio::test(start_paused = true)]
async fn a_deployment_bakes_for_its_time() {
    let play = resting().await;
    let bake = json!({ "deploymentConfiguration": { "bakeTimeInMinutes": 60 }, "forceNewDeployment": true });
    play.update(bake).await;
    play.until(async || play.deployment().await["lifecycleStage"] == "BAKE_TIME").await;
    let since = tokio::time::Instant::now();
    play.comes_to("SUCCESSFUL").await;
    assert!(since.elapsed() >= 59 * MINUTE, "{:?}", since.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_deployment_is_stopped_where_it_is_or_taken_back() {
    for (kind, ended) in [("ABORT", "STOPPED"), ("ROLLBACK", "ROLLBACK_SUCCESSFUL")] {
        let play = resting().await;
        let before = play.show().await["deployments"][0]["id"].clone();
        let bake = json!({ "deploymentConfiguration": { "bakeTimeInMinutes": 60 }, "forceNewDeployment": true });
        play.update(bake).await;
        play.until(async || play.deployment().await["lifecycleStage"] == "BAKE_TIME").await;
        let input =
            json!({ "serviceDeploymentArn": play.deployment().await["serviceDeploymentArn"], "stopType": kind });
        play.bench.stop_service_deployment(&owner(), input.clone()).await.unwrap();
        play.comes_to(ended).await;
        let primary = play.show().await["deployments"][0].clone();
        assert_eq!(primary["id"] == before, kind == "ROLLBACK");
        assert_eq!(primary["rolloutState"], if kind == "ROLLBACK" { "COMPLETED" } else { "FAILED" });
    }
}

#[tokio::test(start_paused = true)]
async fn a_first_deployment_cannot_be_taken_back() {
    let play = Play::with_nodes(&[]).await;
    play.bench.create_cluster(&owner(), json!({})).await.unwrap();
    play.create(json!({ "desiredCount": 1 })).await;
    let input =
        json!({ "serviceDeploymentArn": play.deployment().await["serviceDeploymentArn"], "stopType": "ROLLBACK" });
    assert!(refusal(play.bench.stop_service_deployment(&owner(), input).await).contains("no earlier one"));
}

#[tokio::test(start_paused = true)]
async fn a_newer_deployment_takes_the_place_of_one_under_way() {
    let play = resting().await;
    let bake = json!({ "deploymentConfiguration": { "bakeTimeInMinutes": 60 }, "forceNewDeployment": true });
    play.update(bake).await;
    play.until(async || play.deployment().await["lifecycleStage"] == "BAKE_TIME").await;
    let former = play.deployment().await["serviceDeploymentArn"].clone();
    play.update(json!({ "deploymentConfiguration": { "bakeTimeInMinutes": 0 }, "forceNewDeployment": true })).await;
    play.until(async || play.deployment().await["status"] == "SUCCESSFUL").await;
    play.rests().await;
    let answer = play.bench.describe_service_deployments(&owner(), json!({ "serviceDeploymentArns": [former] })).await;
    assert_eq!(answer.unwrap()["serviceDeployments"][0]["status"], "STOPPED");
}

/// One alarm, `errors`.
#[derive(Default)]
struct Siren(AtomicBool);

impl AlarmStates for Siren {
    fn in_alarm(&self, _: &Scope, names: &[String]) -> Vec<String> {
        names.iter().filter(|name| *name == "errors" && self.0.load(Ordering::Relaxed)).cloned().collect()
    }
}

#[tokio::test(start_paused = true)]
async fn an_alarm_takes_a_deployment_back() {
    let siren = Arc::new(Siren::default());
    let play = Play::with_alarms(&["a"], Arc::<Siren>::clone(&siren)).await;
    let alarms = json!({ "alarmNames": ["quiet", "errors"], "enable": true, "rollback": true });
    play.create(json!({ "deploymentConfiguration": { "alarms": alarms, "bakeTimeInMinutes": 5 }, "desiredCount": 1 }))
        .await;
    play.until(async || play.deployment().await["status"] == "SUCCESSFUL").await;
    play.update(json!({ "forceNewDeployment": true })).await;
    play.until(async || play.deployment().await["lifecycleStage"] == "BAKE_TIME").await;
    assert_eq!(play.deployment().await["alarms"]["status"], "MONITORING");
    siren.0.store(true, Ordering::Relaxed);
    play.until(async || play.deployment().await["status"] == "ROLLBACK_SUCCESSFUL").await;
    let deployment = play.deployment().await;
    assert_eq!(deployment["alarms"]["triggeredAlarmNames"], json!(["errors"]));
    assert_eq!(deployment["statusReason"], "ECS deployment alarms: alarm detected: errors.");
}
