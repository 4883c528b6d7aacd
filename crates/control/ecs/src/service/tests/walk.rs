//! Services through whatever may happen: in the end each has its tasks, of its last revision, and nothing is left over.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::play::{Fate, Play};
use crate::container_instance::tests::bench::{merged, owner, text};
use crate::service::rollout_table::ServiceDeploymentRow;
use crate::task::table::TaskRow;

const NODES: [&str; 3] = ["a", "b", "c"];
/// Of a node's CPU units, and of a task's.
const CPU: (i64, i64) = (1024, 256);

#[derive(Debug, Clone)]
enum Event {
    Scale(usize),
    Deploy(Fate),
    /// With a hook at a stage: a PAUSE, or a task with a fate.
    DeployWithHook(&'static str, Option<Fate>),
    AnswerHook(&'static str),
    StopDeployment(&'static str),
    RestartController,
    StopTask(usize),
    ProtectTask(usize),
    Drain(usize),
    Activate(usize),
    LoseConnection(usize),
    Connect(usize),
    TimePasses(u64),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        (0..9_usize).prop_map(Event::Scale),
        prop_oneof![Just(Fate::Runs), Just(Fate::Exits(1)), Just(Fate::Fails)].prop_map(Event::Deploy),
        (
            prop_oneof![Just("RECONCILE_SERVICE"), Just("PRE_SCALE_UP"), Just("POST_SCALE_UP")],
            prop_oneof![Just(None), Just(Some(Fate::Exits(0))), Just(Some(Fate::Exits(1))), Just(Some(Fate::Runs))],
        )
            .prop_map(|(stage, task)| Event::DeployWithHook(stage, task)),
        prop_oneof![Just("CONTINUE"), Just("ROLLBACK")].prop_map(Event::AnswerHook),
        prop_oneof![Just("ABORT"), Just("ROLLBACK")].prop_map(Event::StopDeployment),
        Just(Event::RestartController),
        (0..9_usize).prop_map(Event::StopTask),
        (0..9_usize).prop_map(Event::ProtectTask),
        (0..NODES.len()).prop_map(Event::Drain),
        (0..NODES.len()).prop_map(Event::Activate),
        (0..NODES.len()).prop_map(Event::LoseConnection),
        (0..NODES.len()).prop_map(Event::Connect),
        (0..100_u64).prop_map(Event::TimePasses),
    ]
}

struct Walk {
    play: Play,
    nodes: Vec<String>,
    /// By deployment.
    fates: BTreeMap<String, Fate>,
    /// Of the tasks of hooks.
    of_hooks: Fate,
    is_daemon: bool,
}

impl Walk {
    async fn begin(configuration: &Value, is_daemon: bool) -> Self {
        let play = Play::with_nodes(&[]).await;
        let mut nodes = Vec::new();
        for name in NODES {
            nodes.push(play.bench.join(name, json!({})).await);
        }
        let kind = if is_daemon { json!({ "schedulingStrategy": "DAEMON" }) } else { json!({ "desiredCount": 3 }) };
        play.create(merged(kind, json!({ "deploymentConfiguration": configuration }))).await;
        play.bench.define("migration", json!({ "memory": 4, "cpu": 16 }), json!({})).await;
        Self { play, nodes, fates: BTreeMap::new(), of_hooks: Fate::Runs, is_daemon }
    }

    fn fate(&self) -> impl Fn(&TaskRow) -> Fate {
        let (fates, of_hooks) = (self.fates.clone(), self.of_hooks);
        move |task| {
            if task.family == "migration" {
                return of_hooks;
            }
            task.deployment.as_ref().and_then(|id| fates.get(id)).copied().unwrap_or(Fate::Runs)
        }
    }

    async fn task(&self, place: usize) -> Option<Value> {
        let answer = self.play.bench.list_tasks(&owner(), json!({ "serviceName": "web" })).await.unwrap();
        let arns = answer["taskArns"].as_array().unwrap();
        arns.get(place.checked_rem(arns.len())?).cloned()
    }

    async fn happens(&mut self, event: &Event) {
        let bench = &self.play.bench;
        match event {
            Event::Scale(_) if self.is_daemon => {}
            Event::Scale(count) => {
                self.play.update(json!({ "desiredCount": count })).await;
            }
            Event::Deploy(fate) => {
                let shown = self.play.update(deployment_with(&json!([]))).await;
                self.fates.insert(text(&shown["deployments"][0]["id"]), *fate);
            }
            Event::DeployWithHook(stage, task) => {
                let target = "arn:aws:ecs:us-east-1:000000000000:task-definition/migration:1";
                let hook = match task {
                    None => json!({ "targetType": "PAUSE", "lifecycleStages": [stage] }),
                    Some(_) => json!({ "hookTargetArn": target, "lifecycleStages": [stage] }),
                };
                self.of_hooks = task.unwrap_or(Fate::Runs);
                self.play.update(deployment_with(&json!([hook]))).await;
            }
            Event::AnswerHook(action) => self.answer_hook(action).await,
            Event::StopDeployment(kind) => {
                let arn = self.play.deployment().await["serviceDeploymentArn"].clone();
                let input = json!({ "serviceDeploymentArn": arn, "stopType": kind });
                // It may have ended, or have nothing to go back to.
                let _ = bench.stop_service_deployment(&owner(), input).await;
            }
            Event::RestartController => self.play.restart(),
            Event::StopTask(place) => {
                if let Some(task) = self.task(*place).await {
                    bench.stop_task(&owner(), json!({ "task": task })).await.unwrap();
                }
            }
            Event::ProtectTask(place) => {
                if let Some(task) = self.task(*place).await {
                    let input = json!({ "cluster": "default", "tasks": [task], "protectionEnabled": true, "expiresInMinutes": 10 });
                    bench.update_task_protection(&owner(), input).await.unwrap();
                }
            }
            Event::Drain(place) => self.set(*place, "DRAINING").await,
            Event::Activate(place) => self.set(*place, "ACTIVE").await,
            Event::LoseConnection(place) => bench.connect(&self.nodes[*place], false).await,
            Event::Connect(place) => bench.connect(&self.nodes[*place], true).await,
            Event::TimePasses(seconds) => {
                let part = Duration::from_secs(*seconds) / 10;
                for _ in 0..10 {
                    self.play.turn(part, &self.fate()).await;
                }
            }
        }
    }

    async fn answer_hook(&self, action: &str) {
        let deployment = self.play.deployment().await;
        let hooks = deployment["lifecycleHookDetails"].as_array().unwrap();
        if let Some(hook) = hooks.iter().find(|hook| hook["status"] == "AWAITING_ACTION") {
            let (arn, hook) = (&deployment["serviceDeploymentArn"], &hook["hookId"]);
            let input = json!({ "serviceDeploymentArn": arn, "hookId": hook, "action": action });
            self.play.bench.continue_service_deployment(&owner(), input).await.unwrap();
        }
    }

    async fn set(&self, place: usize, status: &str) {
        let input = json!({ "containerInstances": [self.nodes[place]], "status": status });
        self.play.bench.update_container_instances_state(&owner(), input).await.unwrap();
    }

    /// Everything that hinders is taken away.
    async fn ends_well(mut self, desired: usize) {
        for place in 0..NODES.len() {
            self.set(place, "ACTIVE").await;
            self.play.bench.connect(&self.nodes[place], true).await;
        }
        self.happens(&Event::Deploy(Fate::Runs)).await;
        let scale = if self.is_daemon { json!({}) } else { json!({ "desiredCount": desired }) };
        let shown = self.play.update(scale).await;
        let newest = shown["deployments"][0]["id"].clone();
        let rests = async || {
            let shown = self.play.show().await;
            let [primary] = &shown["deployments"].as_array().unwrap()[..] else { return false };
            primary["rolloutState"] == "COMPLETED" && shown["runningCount"] == desired && shown["pendingCount"] == 0
        };
        self.play.until_with(self.fate(), rests).await;
        let is_over = async || self.play.events().await.last().is_some_and(|event| event.contains("steady state"));
        self.play.until_with(self.fate(), is_over).await;
        while self.play.turn(Duration::ZERO, &self.fate()).await {}
        assert!(self.play.stands_still(Duration::from_secs(3600)).await);
        let shown = self.play.show().await;
        assert_eq!((&shown["deployments"][0]["id"], &shown["runningCount"]), (&newest, &json!(desired)));
        self.has_nothing_open();
        let reservations = self.nodes.iter().map(|node| self.play.bench.reservation(node));
        let (used, running, pending) = reservations
            .fold((0, 0, 0), |sum, (cpu, _, running, pending)| (sum.0 + CPU.0 - cpu, sum.1 + running, sum.2 + pending));
        let desired = i64::try_from(desired).unwrap();
        assert_eq!((used, running, pending), (desired * CPU.1, desired, 0));
    }
}

impl Walk {
    /// Service deployments have ended, and their hooks with them.
    fn has_nothing_open(&self) {
        for row in self.play.bench.ecs.store.view().scan::<ServiceDeploymentRow>("") {
            assert!(row.status.is_over(), "{:?}", row.status);
            assert!(row.finished_at.is_some() && row.hooks.iter().all(|hook| !hook.status.is_open()));
        }
    }
}

fn deployment_with(hooks: &Value) -> Value {
    json!({ "forceNewDeployment": true, "deploymentConfiguration": { "lifecycleHooks": hooks } })
}

fn configuration(minimum: i32, maximum: i32, breaker: bool) -> Value {
    let percents = json!({ "minimumHealthyPercent": minimum, "maximumPercent": maximum });
    merged(percents, json!({ "deploymentCircuitBreaker": { "enable": breaker, "rollback": breaker } }))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_service_comes_to_rest_whatever_has_happened(
        events in proptest::collection::vec(event(), 1..16),
        desired in 0..6_usize,
        percents in prop_oneof![Just((100, 200)), Just((50, 200)), Just((0, 100))],
        breaker: bool,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut walk = Walk::begin(&configuration(percents.0, percents.1, breaker), false).await;
            for event in &events {
                walk.happens(event).await;
            }
            walk.ends_well(desired).await;
        });
    }

    #[test]
    fn a_daemon_comes_to_rest_whatever_has_happened(
        events in proptest::collection::vec(event(), 1..16),
        minimum in prop_oneof![Just(0), Just(50)],
        breaker: bool,
        rolls_back: bool,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut configuration = configuration(minimum, 100, breaker);
            configuration["deploymentCircuitBreaker"]["rollback"] = json!(breaker && rolls_back);
            let mut walk = Walk::begin(&configuration, true).await;
            for event in &events {
                walk.happens(event).await;
            }
            walk.ends_well(NODES.len()).await;
        });
    }
}
