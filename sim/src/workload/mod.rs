//! What users do: run and stop tasks, change services, take nodes out and put them back, and pull plugs.

mod families;
mod mend;
mod services;
mod task_sets;

use std::time::Duration;

use estiva_api_ecs::types as api;
use estiva_ecs::service::table::ServiceRow;
use estiva_planning::lifecycle::DesiredStatus;
use rand::RngExt;
use rand::rngs::StdRng;
use tokio::time::{Instant, sleep, sleep_until};

use crate::agent::short;
use crate::cluster::Cluster;
use crate::definition::{Capacity, Definition};
use crate::owner::Run;
use crate::plane::CallError;

pub use families::definitions;
pub use mend::mend;

/// Creates the cluster, and registers all definitions; to be done while nothing fails.
pub async fn define(cluster: &Cluster, definitions: &[Definition]) {
    if let Err(error) = cluster.create().await {
        cluster.world.violated(&format!("the cluster cannot be created: {error:?}"));
    }
    for definition in definitions {
        if let Err(error) = cluster.define(definition).await {
            cluster.world.violated(&format!("{} cannot be defined: {error:?}", definition.family));
        }
    }
}

/// A user at work.
struct User<'a> {
    cluster: &'a Cluster,
    rng: StdRng,
    tasks: Vec<String>,
}

/// Works until then, with a call so often.
pub async fn work(cluster: &Cluster, every: Duration, until: Instant) {
    let mut user = User { cluster, rng: cluster.world.rng("user"), tasks: Vec::new() };
    loop {
        let wait = every.mul_f64(-user.rng.random::<f64>().max(1e-6).ln());
        if Instant::now() + wait >= until {
            break;
        }
        sleep(wait).await;
        user.act().await;
    }
    sleep_until(until).await;
}

impl User<'_> {
    async fn act(&mut self) {
        match self.rng.random_range(0..100) {
            0..18 => self.run().await,
            18..31 => self.stop().await,
            31..40 => self.kill(),
            40..48 => self.set_state().await,
            48..50 => self.deregister().await,
            50..58 => self.protect().await,
            58..62 => self.answer().await,
            _ => self.service().await,
        }
    }

    async fn run(&mut self) {
        let definitions = definitions();
        let definition = &definitions[self.rng.random_range(0..definitions.len())];
        let is_fargate = definition.capacity == Capacity::Fargate;
        let run = Run {
            definition: definition.family.clone(),
            count: self.rng.random_range(1..=5),
            capacity: definition.capacity,
            shares: if is_fargate && self.rng.random_bool(0.7) { self.shares() } else { Vec::new() },
            timeout: self.rng.random_bool(0.2).then(|| self.rng.random_range(10..120)),
            concurrency: self.rng.random_bool(0.2).then(|| self.rng.random_range(1..4)),
        };
        let Some(arns) = self.heard(self.cluster.run(&run).await) else { return };
        for arn in &arns {
            self.say(format_args!("runs {}", short(arn)));
            let is_known = self.cluster.plane.audit(|audit| audit.task(arn).is_some());
            self.check(is_known, || format!("RunTask answered {arn}, which is not in the store"));
        }
        self.tasks.extend(arns);
    }

    async fn stop(&mut self) {
        if self.tasks.is_empty() {
            return;
        }
        let arn = self.tasks.swap_remove(self.rng.random_range(0..self.tasks.len()));
        if self.heard(self.cluster.stop_task(&arn).await).is_none() {
            return self.tasks.push(arn);
        }
        self.say(format_args!("stops {}", short(&arn)));
        let is_noted = self
            .cluster
            .plane
            .audit(|audit| audit.task(&arn).is_some_and(|row| row.desired_status == DesiredStatus::Stopped));
        self.check(is_noted, || format!("StopTask of {arn} is not in the store"));
    }

    fn kill(&mut self) {
        let node = self.rng.random_range(0..self.cluster.nodes.len());
        self.cluster.nodes[node].kill_container();
    }

    async fn set_state(&mut self) {
        let Some(instance) = self.instance() else { return };
        let is_draining = self.rng.random_bool(0.3);
        self.say(format_args!("sets {} {}", short(&instance), if is_draining { "DRAINING" } else { "ACTIVE" }));
        self.heard(self.cluster.set_state(&instance, is_draining).await);
    }

    async fn deregister(&mut self) {
        let Some(instance) = self.instance() else { return };
        self.say(format_args!("deregisters {}", short(&instance)));
        self.heard(self.cluster.deregister(&instance).await);
    }

    fn instance(&mut self) -> Option<String> {
        let node = self.rng.random_range(0..self.cluster.nodes.len());
        self.cluster.nodes[node].instance()
    }

    /// The answer, if there is one.
    fn heard<T>(&self, answer: Result<T, CallError>) -> Option<T> {
        match answer {
            Ok(answer) => return Some(answer),
            Err(CallError::Refused(error)) => self.say(format_args!("is refused: {error}")),
            Err(CallError::Lost) => {}
        }
        None
    }

    fn say(&self, what: std::fmt::Arguments<'_>) {
        self.cluster.world.say(format_args!("user {what}"));
    }

    fn check(&self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.cluster.world.violated(&what());
        }
    }
}

/// What a service's tasks run on.
fn capacity_of(service: &ServiceRow) -> Capacity {
    match (service.launch_type(), &service.settings.network_configuration) {
        (api::LaunchType::Fargate, _) => Capacity::Fargate,
        (_, Some(_)) => Capacity::Awsvpc,
        (_, None) => Capacity::Bridge,
    }
}
