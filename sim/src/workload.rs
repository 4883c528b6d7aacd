//! What users do: run and stop tasks, take nodes out and put them back, and pull plugs.

use std::time::Duration;

use estiva_ecs::service::table::ServiceStatus;
use estiva_planning::lifecycle::DesiredStatus;
use rand::RngExt;
use rand::rngs::StdRng;
use tokio::time::{Instant, sleep, sleep_until};

use crate::agent::{Power, short};
use crate::cluster::Cluster;
use crate::definition::{Definition, Image};
use crate::owner::{Change, Service};
use crate::plane::{CallError, scope};

/// How many of the services are DAEMONs.
const DAEMON_SHARE: f64 = 0.0;
/// Services that there may be at one time.
const SERVICES: u32 = 4;

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

/// What a good operator does after a storm: what is gone is deregistered, what was taken out is put back, and every service
/// runs something that works.
pub async fn mend(cluster: &Cluster) {
    for node in cluster.nodes.iter() {
        let Some(instance) = node.instance() else { continue };
        // Whether it was registered at all is no matter.
        let _ = match node.power() {
            Power::Gone => cluster.deregister(&instance).await,
            Power::On | Power::Off => cluster.set_state(&instance, false).await,
        };
    }
    let names: Vec<String> = cluster.plane.audit(|audit| audit.services.active().map(str::to_owned).collect());
    for name in names {
        cluster.world.say(format_args!("user mends {name}"));
        let change = Change { definition: Some("checked".to_owned()), desired: None, is_forced: true };
        let change = if cluster.plane.audit(|audit| audit.services.is_daemon(&name)) {
            change
        } else {
            Change { desired: Some(3), ..change }
        };
        if let Err(error) = cluster.update_service(&name, change).await {
            cluster.world.violated(&format!("{name} cannot be mended: {error:?}"));
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
            0..20 => self.run().await,
            20..35 => self.stop().await,
            35..45 => self.kill(),
            45..53 => self.set_state().await,
            53..55 => self.deregister().await,
            _ => self.service().await,
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

    /// Creates a service, or does something with the one that there is.
    async fn service(&mut self) {
        let name = format!("service-{}", self.rng.random_range(0..SERVICES));
        let Some(key) = self.service_key(&name) else { return self.create(&name).await };
        let change = match self.rng.random_range(0..100) {
            0..30 => Change { desired: Some(self.rng.random_range(0..8)), ..Change::default() },
            30..75 => Change { definition: Some(self.family()), ..Change::default() },
            75..85 => Change { is_forced: true, ..Change::default() },
            85..93 => return self.stop_deployment(&key).await,
            _ => {
                self.say(format_args!("deletes {name}"));
                self.heard(self.cluster.delete_service(&name).await);
                return;
            }
        };
        self.say(format_args!("changes {name}: {change:?}"));
        self.heard(self.cluster.update_service(&name, change).await);
    }

    async fn create(&mut self, name: &str) {
        let percents = [(100, 200), (50, 100), (100, 150), (0, 100), (50, 200), (100, 100)];
        let is_daemon = self.rng.random_bool(DAEMON_SHARE);
        let service = Service {
            name: name.to_owned(),
            definition: self.family(),
            desired: self.rng.random_range(0..8),
            percents: if is_daemon { (0, 100) } else { percents[self.rng.random_range(0..percents.len())] },
            is_daemon,
            has_breaker: self.rng.random_bool(0.5),
        };
        self.say(format_args!("creates {service:?}"));
        self.heard(self.cluster.create_service(&service).await);
    }

    async fn stop_deployment(&mut self, service: &str) {
        let under_way = self.cluster.plane.audit(|audit| audit.services.under_way(service));
        let Some(arn) = under_way else { return };
        let rolls_back = self.rng.random_bool(0.7);
        self.say(format_args!("stops {arn}, rolling back: {rolls_back}"));
        self.heard(self.cluster.stop_deployment(&arn, rolls_back).await);
    }

    /// The key of the service, if it is ACTIVE.
    fn service_key(&self, name: &str) -> Option<String> {
        let key = scope().key(&["default", name]);
        let is_active = self
            .cluster
            .plane
            .audit(|audit| audit.services.services.get(&key).is_some_and(|row| row.status == ServiceStatus::Active));
        is_active.then_some(key)
    }

    fn family(&mut self) -> String {
        // Mostly something that runs for long.
        let families = ["web", "web", "web", "checked", "checked", "port", "large", "crashing", "unstartable", "sick"];
        families[self.rng.random_range(0..families.len())].to_owned()
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
