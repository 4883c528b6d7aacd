//! A bench whose services' controller runs, and whose nodes do at once what they are told. Time stands still unless it is
//! moved, so that nothing is overtaken by the clock while the store's thread works.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use estiva_planning::lifecycle::{DesiredStatus, TaskStatus};
use estiva_store::Row;
use serde_json::{Value, json};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, advance};

use crate::alarm::AlarmStates;
use crate::container_instance::tests::bench::{Bench, merged, owner, text};
use crate::task::table::{TaskRow, TaskStatusRow};

const STEP: Duration = Duration::from_millis(100);
/// How long the last container of a task lingers.
const LINGERS: Duration = Duration::from_secs(60);
const STEP_MAX: Duration = Duration::from_secs(60);
/// So many looks: two days or more of [`STEP_MAX`] each.
const PATIENCE: usize = 3000;
/// Looks of a millisecond, for what should come to an end at once.
const QUIET_LOOKS_MAX: usize = 2000;

/// What becomes of a task that is to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It runs.
    Runs,
    /// It runs, and exits at once.
    Exits(i32),
    /// It runs, and exits at once; another container of it takes a minute to end.
    Lingers(i32),
    /// It never runs.
    Fails,
}

pub(super) struct Play {
    pub bench: Bench,
    controller: JoinHandle<()>,
    /// The tasks of which one container lingers, and since when.
    lingering: RefCell<BTreeMap<String, Instant>>,
    /// Blocking work keeps tokio from moving a paused clock by itself; this lasts as long as the play.
    _clock_holder: mpsc::Sender<()>,
}

impl Drop for Play {
    fn drop(&mut self) {
        self.controller.abort();
    }
}

impl Play {
    /// As [`Bench::with_nodes`].
    pub async fn with_nodes(names: &[&str]) -> Self {
        Self::on(Bench::with_nodes(names).await)
    }

    /// With somebody who keeps alarms.
    pub async fn with_alarms(names: &[&str], alarms: Arc<dyn AlarmStates>) -> Self {
        let mut bench = Bench::with_nodes(names).await;
        bench.ecs = bench.ecs.with_alarms(alarms);
        Self::on(bench)
    }

    fn on(bench: Bench) -> Self {
        let ecs = bench.ecs.clone();
        let (holder, held) = mpsc::channel();
        spawn_blocking(move || held.recv());
        let controller = tokio::spawn(async move { ecs.run().await });
        Self { bench, controller, lingering: RefCell::default(), _clock_holder: holder }
    }

    /// Kills the controller.
    pub async fn kill(&mut self) {
        self.controller.abort();
        let _ = (&mut self.controller).await;
    }

    /// Kills the controller, and starts another.
    pub fn restart(&mut self) {
        self.controller.abort();
        let ecs = self.bench.ecs.clone();
        self.controller = tokio::spawn(async move { ecs.run().await });
    }

    /// Makes the service `web` of `web`, with `more`.
    pub async fn create(&self, more: Value) -> Value {
        let input = merged(json!({ "serviceName": "web", "taskDefinition": "web" }), more);
        self.bench.create_service(&owner(), input).await.unwrap()["service"].clone()
    }

    pub async fn update(&self, more: Value) -> Value {
        let input = merged(json!({ "service": "web" }), more);
        self.bench.update_service(&owner(), input).await.unwrap()["service"].clone()
    }

    /// The service as DescribeServices shows it.
    pub async fn show(&self) -> Value {
        let answer = self.bench.describe_services(&owner(), json!({ "services": ["web"] })).await.unwrap();
        answer["services"][0].clone()
    }

    /// What it told, the oldest first.
    pub async fn events(&self) -> Vec<String> {
        let shown = self.show().await;
        let events = shown["events"].as_array().unwrap().iter().rev();
        events.map(|event| text(&event["message"]).replace("(service web) ", "")).collect()
    }

    /// How many events have a text.
    pub async fn told(&self, words: &str) -> usize {
        self.events().await.iter().filter(|event| event.contains(words)).count()
    }

    /// The newest service deployment.
    pub async fn deployment(&self) -> Value {
        let listed = self.bench.list_service_deployments(&owner(), json!({ "service": "web" })).await.unwrap();
        let input = json!({ "serviceDeploymentArns": [listed["serviceDeployments"][0]["serviceDeploymentArn"]] });
        let answer = self.bench.describe_service_deployments(&owner(), input).await.unwrap();
        answer["serviceDeployments"][0].clone()
    }

    /// The nodes do as they are told until the service's newest deployment has a status.
    pub async fn comes_to(&self, status: &str) -> Value {
        self.until(async || self.deployment().await["status"] == status).await;
        self.deployment().await
    }

    /// The nodes do as they are told until the service rests as it is wanted.
    pub async fn rests(&self) -> Value {
        self.until(async || {
            let shown = self.show().await;
            let deployments = shown["deployments"].as_array().unwrap();
            deployments.len() == 1
                && deployments[0]["rolloutState"] == "COMPLETED"
                && shown["runningCount"] == shown["desiredCount"]
                && shown["pendingCount"] == 0
        })
        .await;
        self.show().await
    }

    /// The nodes do as they are told until something holds.
    pub async fn until(&self, holds: impl AsyncFn() -> bool) {
        self.until_with(|_| Fate::Runs, holds).await;
    }

    /// The same, with tasks that may fail.
    pub async fn until_with(&self, fate: impl Fn(&TaskRow) -> Fate, holds: impl AsyncFn() -> bool) {
        let mut step = STEP;
        for _ in 0..PATIENCE {
            if holds().await {
                return;
            }
            let is_busy = self.turn(step, &fate).await;
            step = if is_busy { STEP } else { (step * 2).min(STEP_MAX) };
        }
        panic!("it did not come about: {:?}", self.events().await);
    }

    /// The nodes do as they are told, and then time passes; whether there was anything to do.
    pub async fn turn(&self, time: Duration, fate: &impl Fn(&TaskRow) -> Fate) -> bool {
        let is_busy = self.obey(fate).await;
        self.quiet().await;
        advance(time).await;
        is_busy
    }

    /// Each node does what it is told; whether there was anything.
    async fn obey(&self, fate: &impl Fn(&TaskRow) -> Fate) -> bool {
        let mut has_reported = false;
        let view = self.bench.ecs.store.view();
        for task in view.scan::<TaskRow>("") {
            let Some(status) = view.get::<TaskStatusRow>(&task.key()) else { continue };
            let has_lingered =
                |key: &str| self.lingering.borrow().get(key).is_some_and(|since| since.elapsed() >= LINGERS);
            let reports: &[Value] = match (task.desired_status, status.state.last_status) {
                (DesiredStatus::Running, TaskStatus::Running) if has_lingered(&task.key()) => {
                    &[json!({ "status": "STOPPED" })]
                }
                (_, TaskStatus::Stopped) | (DesiredStatus::Running, TaskStatus::Running) => &[],
                (DesiredStatus::Stopped, _) => &[json!({ "status": "STOPPED" })],
                (DesiredStatus::Running, _) => match fate(&task) {
                    Fate::Runs => &[running()],
                    Fate::Exits(code) => &[running(), stopped(code)],
                    Fate::Lingers(code) => {
                        self.lingering.borrow_mut().insert(task.key(), Instant::now());
                        &[merged(stopped(code), running())]
                    }
                    Fate::Fails => &[json!({ "status": "STOPPED", "reason": "CannotPullContainerError: none" })],
                },
            };
            for report in reports {
                let input = merged(json!({ "cluster": task.cluster, "task": task.arn() }), report.clone());
                self.bench.submit_task_state_change(&owner(), input).await.unwrap();
                has_reported = true;
            }
        }
        has_reported
    }

    /// Lets time pass; whether the store stays as it is meanwhile.
    pub async fn stands_still(&self, time: Duration) -> bool {
        if !self.quiet().await {
            return false;
        }
        let before = self.revision();
        for _ in 0..time.as_secs() / STEP_MAX.as_secs() {
            advance(STEP_MAX).await;
            self.quiet().await;
        }
        self.revision() == before
    }

    /// Waits until the controller and the store's thread have done what there is to do now; whether they came to an end.
    async fn quiet(&self) -> bool {
        let mut quiet = 0;
        for _ in 0..QUIET_LOOKS_MAX {
            let before = self.revision();
            let _ = spawn_blocking(|| std::thread::sleep(Duration::from_millis(1))).await;
            quiet = if self.revision() == before { quiet + 1 } else { 0 };
            if quiet == 2 {
                return true;
            }
        }
        false
    }

    fn revision(&self) -> estiva_store::Revision {
        self.bench.ecs.store.view().revision()
    }
}

fn running() -> Value {
    json!({ "status": "RUNNING" })
}

fn stopped(code: i32) -> Value {
    json!({ "status": "STOPPED", "containers": [{ "containerName": "app", "status": "STOPPED", "exitCode": code }] })
}
