//! What users do: run and stop tasks, take nodes out and put them back, and pull plugs.

use std::time::Duration;

use estiva_planning::lifecycle::DesiredStatus;
use rand::RngExt;
use rand::rngs::StdRng;
use tokio::time::{Instant, sleep, sleep_until};

use crate::agent::short;
use crate::cluster::Cluster;
use crate::definition::{Definition, Image};
use crate::plane::CallError;

/// The families that there are.
pub fn definitions() -> Vec<Definition> {
    let plain = |family: &str, image| Definition::new(family, image);
    vec![
        plain("web", Image::Good),
        Definition { host_port: Some(8080), ..plain("port", Image::Good) },
        Definition { cpu: 1500, memory: 1500, ..plain("large", Image::Good) },
        Definition { has_check: true, ..plain("checked", Image::Good) },
        plain("brief", Image::Brief),
        plain("crashing", Image::Crashing),
        plain("unstartable", Image::Unstartable),
        Definition { has_check: true, ..plain("sick", Image::Sick) },
    ]
}

/// Registers all definitions; to be done while nothing fails.
pub async fn define(cluster: &Cluster, definitions: &[Definition]) {
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
            0..50 => self.run().await,
            50..75 => self.stop().await,
            75..85 => self.kill(),
            85..98 => self.set_state().await,
            _ => self.deregister().await,
        }
    }

    async fn run(&mut self) {
        let definitions = definitions();
        let family = &definitions[self.rng.random_range(0..definitions.len())].family;
        let count = self.rng.random_range(1..=5);
        let Some(arns) = self.heard(self.cluster.run_task(family, count).await) else { return };
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
