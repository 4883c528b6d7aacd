//! Sessions of tasks' roles: which task is behind one, and that handlers ask about each resource.

use std::sync::{Arc, Mutex};

use estiva_model::{Caller, Region};
use estiva_schema::{ApiError, ResourceAuthorizer, SessionTasks, denied};
use serde_json::json;

use crate::container_instance::tests::bench::{Bench, offer, owner, refusal, session};
use crate::task::session::TasksOfSessions;

const ROLE: &str = "arn:aws:iam::000000000000:role/crew/web";
const ECS: &str = "arn:aws:ecs:us-east-1:000000000000";

async fn bench() -> Bench {
    let bench = Bench::with_nodes(&[]).await;
    let mut attributes = offer("a")["attributes"].clone();
    for capability in ["logging-driver.awslogs", "task-iam-role"] {
        let name = format!("com.amazonaws.ecs.capability.{capability}");
        attributes.as_array_mut().unwrap().push(json!({ "name": name }));
    }
    bench.join("a", json!({ "attributes": attributes })).await;
    let options = json!({ "awslogs-group": "/web", "awslogs-region": "us-east-1" });
    let container = json!({ "memory": 100, "logConfiguration": { "logDriver": "awslogs", "options": options } });
    bench.define("own", container, json!({ "taskRoleArn": ROLE })).await;
    bench
}

fn id(task: &str) -> &str {
    task.rsplit('/').next().unwrap()
}

#[tokio::test]
async fn a_session_is_its_tasks_until_the_task_has_ended() {
    let bench = bench().await;
    let tasks = TasksOfSessions::new(bench.ecs.store.clone());
    let task = bench.run("own").await;
    let found = tasks.of(&session("web", id(&task))).unwrap();
    assert_eq!((&found.task, found.definition), (&task, format!("{ECS}:task-definition/own:1")));
    assert_eq!(found.log_groups, ["arn:aws:logs:us-east-1:000000000000:log-group:/web"]);
    for status in ["RUNNING", "STOPPED"] {
        assert!(tasks.of(&session("web", id(&task))).is_some(), "before {status}");
        bench.report("a", &task, json!({ "status": status })).await.unwrap();
    }
    assert_eq!(tasks.of(&session("web", id(&task))), None);
}

#[tokio::test]
async fn a_session_is_of_the_tasks_own_role() {
    let bench = bench().await;
    let tasks = TasksOfSessions::new(bench.ecs.store.clone());
    let (own, without) = (bench.run("own").await, bench.run("web").await);
    let overrides = json!({ "taskRoleArn": "arn:aws:iam::000000000000:role/other" });
    let input = json!({ "taskDefinition": "own", "overrides": overrides });
    let answer = bench.run_task(&owner(), input).await.unwrap();
    let overridden = answer["tasks"][0]["taskArn"].as_str().unwrap();
    for (role, session_name, is_found) in [
        ("web", id(&own), true),
        ("other", id(overridden), true),
        ("other", id(&own), false),
        ("web", id(overridden), false),
        ("crew/web", id(&own), false),
        ("web", id(&without), false),
        ("", id(&without), false),
        ("web", "", false),
        ("web", &own, false),
        ("web", &format!("{}/", id(&own)), false),
        ("web", &format!("../default/{}", id(&own)), false),
    ] {
        assert_eq!(tasks.of(&session(role, session_name)).is_some(), is_found, "{role} {session_name}");
    }
    let elsewhere = Caller { region: Region::parse("eu-west-1").unwrap(), ..session("web", id(&own)) };
    assert_eq!(tasks.of(&elsewhere), None);
    assert_eq!(tasks.of(&owner()), None);
}

/// Notes what it is asked, and lets nobody pass.
#[derive(Default)]
struct Notes(Mutex<Vec<String>>);

impl ResourceAuthorizer for Notes {
    fn authorize_on(&self, caller: &Caller, action: &str, resource: &str) -> Result<(), ApiError> {
        self.0.lock().unwrap().push(format!("{action} {resource}"));
        Err(denied(caller, action, Some(resource)))
    }
}

#[tokio::test]
async fn handlers_ask_about_each_resource_whether_or_not_it_exists() {
    let Bench { ecs } = bench().await;
    let notes = Arc::new(Notes::default());
    let bench = Bench { ecs: ecs.with_access(notes.clone()) };
    let task = bench.run("own").await;
    let web = session("web", id(&task));
    let unknown = "f".repeat(32);
    let before = bench.everything();
    for (cluster, reference, resource) in [
        ("default", task.as_str(), task.clone()),
        ("default", id(&task), task.clone()),
        ("nowhere", id(&task), format!("{ECS}:task/nowhere/{}", id(&task))),
        ("default", &unknown, format!("{ECS}:task/default/{unknown}")),
        ("other", &task, task.clone()),
        ("default", "../x", "../x".to_owned()),
    ] {
        let refused = [
            bench.describe_tasks(&web, json!({ "cluster": cluster, "tasks": [reference] })).await,
            bench.get_task_protection(&web, json!({ "cluster": cluster, "tasks": [reference] })).await,
            bench
                .update_task_protection(
                    &web,
                    json!({ "cluster": cluster, "tasks": [reference], "protectionEnabled": true }),
                )
                .await,
        ];
        for refused in refused {
            assert!(refusal(refused).starts_with("AccessDeniedException: "), "{cluster} {reference}");
        }
        let asked = std::mem::take(&mut *notes.0.lock().unwrap());
        let actions = ["DescribeTasks", "GetTaskProtection", "UpdateTaskProtection"];
        assert_eq!(asked, actions.map(|action| format!("ecs:{action} {resource}")));
    }
    for (reference, resource) in [
        ("own", "own:1"),
        ("own:1", "own:1"),
        ("own:9", "own:9"),
        ("nothing", "nothing"),
        ("arn:aws:ecs:us-east-1:000000000000:task-definition/own:1", "own:1"),
    ] {
        let refused = bench.describe_task_definition(&web, json!({ "taskDefinition": reference })).await;
        assert!(refusal(refused).starts_with("AccessDeniedException: "), "{reference}");
        let asked = std::mem::take(&mut *notes.0.lock().unwrap());
        assert_eq!(asked, [format!("ecs:DescribeTaskDefinition {ECS}:task-definition/{resource}")]);
    }
    assert_eq!(bench.everything(), before);
}

#[tokio::test]
async fn one_task_of_a_stranger_refuses_the_whole_call() {
    let Bench { ecs } = bench().await;
    let bench = Bench { ecs };
    let (own, other) = (bench.run("own").await, bench.run("web").await);
    bench.regroup(&own, "service:own").await;
    bench.regroup(&other, "service:other").await;
    let bench = Bench { ecs: bench.ecs.clone().with_access(Arc::new(Only(own.clone()))) };
    let input = |tasks: serde_json::Value| json!({ "cluster": "default", "tasks": tasks, "protectionEnabled": true });
    let web = session("web", id(&own));
    let refused = bench.update_task_protection(&web, input(json!([own, other]))).await;
    assert!(refusal(refused).contains(&format!("on resource: {other} because")));
    let answer = bench.get_task_protection(&web, json!({ "cluster": "default", "tasks": [own] })).await.unwrap();
    assert_eq!(answer["protectedTasks"][0]["protectionEnabled"], false);
    let answer = bench.update_task_protection(&web, input(json!([own]))).await.unwrap();
    assert_eq!(answer["protectedTasks"][0]["protectionEnabled"], true);
}

/// Lets everybody pass to one resource.
struct Only(String);

impl ResourceAuthorizer for Only {
    fn authorize_on(&self, caller: &Caller, action: &str, resource: &str) -> Result<(), ApiError> {
        if resource == self.0 { Ok(()) } else { Err(denied(caller, action, Some(resource))) }
    }
}
