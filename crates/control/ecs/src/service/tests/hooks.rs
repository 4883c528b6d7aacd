//! Lifecycle hooks: what holds a deployment up, what ends it, and what ends with it.

use serde_json::{Value, json};

use super::deployments::{MINUTE, answer, hooks, pause, resting, waiting};
use super::play::{Fate, Play};
use crate::container_instance::tests::bench::{merged, owner, refusal, text};

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
async fn a_hooks_task_goes_where_its_definition_says_and_heeds_its_limit() {
    let anywhere = json!({ "type": "memberOf", "expression": "attribute:name exists" });
    let elsewhere = json!({ "type": "memberOf", "expression": "attribute:name == elsewhere" });
    for (constraint, others, status) in
        [(&anywhere, 0, "SUCCESSFUL"), (&elsewhere, 0, "ROLLBACK_SUCCESSFUL"), (&anywhere, 1, "ROLLBACK_SUCCESSFUL")]
    {
        let play = resting().await;
        play.bench.define("other", json!({ "memory": 4 }), json!({})).await;
        for _ in 0..others {
            let input = json!({ "taskDefinition": "other", "group": "hook:web" });
            play.bench.run_task(&owner(), input).await.unwrap();
        }
        let limit = json!([{ "key": "estiva:concurrency", "value": "1" }]);
        let more = json!({ "placementConstraints": [constraint], "tags": limit });
        play.bench.define("migration", json!({ "memory": 4 }), more).await;
        let target = "arn:aws:ecs:us-east-1:000000000000:task-definition/migration:1";
        let hook = json!([{ "hookTargetArn": target, "lifecycleStages": ["PRE_SCALE_UP"] }]);
        play.update(merged(hooks(&hook), json!({ "forceNewDeployment": true }))).await;
        let of_hook = |task: &crate::task::table::TaskRow| {
            if task.family == "migration" { Fate::Exits(0) } else { Fate::Runs }
        };
        play.until_with(of_hook, async || play.deployment().await["status"] == status).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_with_the_longest_name_has_hooks_too() {
    let play = Play::with_nodes(&["a"]).await;
    play.bench.define("migration", json!({ "memory": 4 }), json!({})).await;
    let target = "arn:aws:ecs:us-east-1:000000000000:task-definition/migration:1";
    let hook = json!([{ "hookTargetArn": target, "lifecycleStages": ["PRE_SCALE_UP"] }]);
    let name = "n".repeat(255);
    play.create(merged(hooks(&hook), json!({ "serviceName": name, "desiredCount": 0 }))).await;
    let of_hook = |_: &crate::task::table::TaskRow| Fate::Exits(0);
    let status = async || {
        let listed = play.bench.list_service_deployments(&owner(), json!({ "service": name })).await.unwrap();
        text(&listed["serviceDeployments"][0]["status"])
    };
    play.until_with(of_hook, async || ["SUCCESSFUL", "STOPPED"].contains(&status().await.as_str())).await;
    assert_eq!(status().await, "SUCCESSFUL");
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

/// A service whose newest deployment waits for the task of a hook.
async fn migrating() -> (Play, String) {
    let play = resting().await;
    play.bench.define("migration", json!({ "memory": 4 }), json!({})).await;
    let target = "arn:aws:ecs:us-east-1:000000000000:task-definition/migration:1";
    let hook = json!([{ "hookTargetArn": target, "lifecycleStages": ["PRE_SCALE_UP"] }]);
    play.update(merged(hooks(&hook), json!({ "forceNewDeployment": true }))).await;
    let listed = async || play.bench.list_tasks(&owner(), json!({ "family": "migration" })).await.unwrap();
    play.until(async || listed().await["taskArns"] != json!([])).await;
    let task = text(&listed().await["taskArns"][0]);
    play.until(async || play.bench.task(&task).await["lastStatus"] == "RUNNING").await;
    (play, task)
}

#[tokio::test(start_paused = true)]
async fn a_hooks_task_ends_with_its_deployment() {
    for (what, status) in [
        ("stopped", "STOPPED"),
        ("rolled back", "ROLLBACK_SUCCESSFUL"),
        ("superseded", "STOPPED"),
        ("deleted", "STOPPED"),
    ] {
        let (play, task) = migrating().await;
        let arn = play.deployment().await["serviceDeploymentArn"].clone();
        let stop = async |kind: &str| {
            let input = json!({ "serviceDeploymentArn": arn, "stopType": kind });
            play.bench.stop_service_deployment(&owner(), input).await.unwrap();
        };
        match what {
            "stopped" => stop("ABORT").await,
            "rolled back" => stop("ROLLBACK").await,
            "superseded" => {
                play.update(merged(hooks(&json!([])), json!({ "forceNewDeployment": true }))).await;
            }
            _ => {
                play.bench.delete_service(&owner(), json!({ "service": "web", "force": true })).await.unwrap();
            }
        }
        let about = json!({ "serviceDeploymentArns": [arn] });
        let former = async || {
            let answer = play.bench.describe_service_deployments(&owner(), about.clone()).await.unwrap();
            answer["serviceDeployments"][0].clone()
        };
        play.until(async || former().await["status"] == status).await;
        play.until(async || play.bench.task(&task).await["lastStatus"] == "STOPPED").await;
        let reason = play.bench.task(&task).await["stoppedReason"].clone();
        assert_eq!(reason, "The deployment of the lifecycle hook has ended.", "{what}");
        assert_eq!(former().await["lifecycleHookDetails"][0]["status"], "FAILED", "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_pause_of_a_deployment_that_goes_back_cannot_be_answered() {
    let play = resting().await;
    let given = hooks(&json!([pause("POST_SCALE_UP", json!({}))]));
    play.update(merged(given, json!({ "forceNewDeployment": true }))).await;
    let (arn, hook) = waiting(&play).await;
    let input = json!({ "serviceDeploymentArn": arn, "stopType": "ROLLBACK" });
    play.bench.stop_service_deployment(&owner(), input).await.unwrap();
    play.until(async || play.deployment().await["status"] != "ROLLBACK_REQUESTED").await;
    let input = json!({ "serviceDeploymentArn": arn, "hookId": hook, "action": "CONTINUE" });
    refusal(play.bench.continue_service_deployment(&owner(), input).await);
    assert_eq!(play.comes_to("ROLLBACK_SUCCESSFUL").await["lifecycleHookDetails"][0]["status"], "FAILED");
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

const MIGRATION: &str = "arn:aws:ecs:us-east-1:000000000000:task-definition/migration:1";

fn migration(more: Value) -> Value {
    merged(json!({ "hookTargetArn": MIGRATION, "lifecycleStages": ["POST_SCALE_UP"] }), more)
}

#[tokio::test(start_paused = true)]
async fn a_hooks_task_that_run_task_would_refuse_is_refused_with_the_service() {
    let play = resting().await;
    let bench = &play.bench;
    bench.define("migration", json!({ "memory": 4 }), json!({})).await;
    bench.define("addressed", json!({ "memory": 4 }), json!({ "networkMode": "awsvpc" })).await;
    let of = |family: &str| json!({ "hookTargetArn": MIGRATION.replace("migration:1", family) });
    let details = |details: Value| json!({ "hookDetails": details });
    let of_container = |more: Value| details(json!({ "containerOverrides": [merged(json!({ "name": "app" }), more)] }));
    let target = "lifecycleHooks[1].hookTargetArn: ";
    let hook_details = "lifecycleHooks[1].hookDetails: ";
    let twice = json!([{ "name": "app" }, { "name": "app" }]);
    for (more, code, field, words) in [
        (of("gone:1"), "ClientException", target, "TaskDefinition not found."),
        (of("migration:2"), "ClientException", target, "TaskDefinition not found."),
        (of("addressed:1"), "InvalidParameterException", target, "Network Configuration must be provided"),
        (of_container(json!({ "name": "other" })), "InvalidParameterException", hook_details, "container named other"),
        (of_container(json!({ "memory": 0 })), "InvalidParameterException", hook_details, "'app'"),
        (details(json!({ "cpu": "much" })), "InvalidParameterException", hook_details, "overrides.cpu"),
        (details(json!({ "containerOverrides": twice })), "InvalidParameterException", hook_details, "given twice"),
    ] {
        let given = hooks(&json!([pause("PRE_SCALE_UP", json!({})), migration(more.clone())]));
        let created =
            merged(given.clone(), json!({ "serviceName": "other", "taskDefinition": "web", "desiredCount": 1 }));
        let updated = merged(given, json!({ "service": "web" }));
        for told in [bench.create_service(&owner(), created).await, bench.update_service(&owner(), updated).await] {
            let told = refusal(told);
            assert!(told.starts_with(&format!("{code}: {field}")) && told.contains(words), "{more}: {told}");
        }
    }
    assert_eq!(bench.service("other").await, Value::Null);
    play.update(hooks(&json!([migration(of_container(json!({ "memory": 8 })))]))).await;
}

#[tokio::test(start_paused = true)]
async fn a_hooks_definition_has_to_fit_the_launch_type() {
    let play = resting().await;
    play.bench.define("migration", json!({ "memory": 4 }), json!({})).await;
    let fargate = json!({ "networkMode": "awsvpc", "cpu": "256", "memory": "512" });
    let fargate = merged(fargate, json!({ "requiresCompatibilities": ["FARGATE"] }));
    play.bench.define("addressed", json!({ "memory": 4 }), fargate).await;
    let network = json!({ "awsvpcConfiguration": { "subnets": ["subnet-1"] } });
    let service = json!({
        "serviceName": "other", "taskDefinition": "addressed", "desiredCount": 1, "launchType": "FARGATE",
        "networkConfiguration": network,
    });
    let input = merged(service.clone(), hooks(&json!([migration(json!({}))])));
    let told = refusal(play.bench.create_service(&owner(), input).await);
    assert!(
        told.contains("lifecycleHooks[0].hookTargetArn: Task definition does not support launch_type FARGATE"),
        "{told}"
    );
    let sized =
        json!({ "hookTargetArn": MIGRATION.replace("migration", "addressed"), "hookDetails": { "cpu": "300" } });
    let input = merged(service.clone(), hooks(&json!([migration(sized)])));
    let told = refusal(play.bench.create_service(&owner(), input).await);
    assert!(told.contains("lifecycleHooks[0].hookDetails: No Fargate configuration exists"), "{told}");
    let fitting = json!({ "hookTargetArn": MIGRATION.replace("migration", "addressed") });
    let input = merged(service, hooks(&json!([migration(fitting)])));
    play.bench.create_service(&owner(), input).await.unwrap();
}

/// A service whose next deployment pauses, and then migrates.
async fn with_a_migration() -> Play {
    let play = resting().await;
    play.bench.define("migration", json!({ "memory": 4 }), json!({})).await;
    play.update(hooks(&json!([pause("PRE_SCALE_UP", json!({})), migration(json!({}))]))).await;
    play
}

#[tokio::test(start_paused = true)]
async fn a_hook_whose_definition_is_deregistered_before_it_starts_has_failed() {
    let play = with_a_migration().await;
    play.update(json!({ "forceNewDeployment": true })).await;
    waiting(&play).await;
    play.bench.deregister_task_definition(&owner(), json!({ "taskDefinition": "migration:1" })).await.unwrap();
    answer(&play, "CONTINUE").await;
    let ended = play.comes_to("ROLLBACK_SUCCESSFUL").await;
    assert!(text(&ended["statusReason"]).contains("TaskDefinition is inactive"), "{ended}");
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_cannot_run_any_more_keeps_nobody_from_scaling() {
    let play = with_a_migration().await;
    play.bench.deregister_task_definition(&owner(), json!({ "taskDefinition": "migration:1" })).await.unwrap();
    play.update(json!({ "desiredCount": 2 })).await;
    assert_eq!(play.rests().await["runningCount"], 2);
    let input = json!({ "service": "web", "forceNewDeployment": true });
    let told = refusal(play.bench.update_service(&owner(), input).await);
    assert!(told.contains("lifecycleHooks[1].hookTargetArn: TaskDefinition is inactive"), "{told}");
}
