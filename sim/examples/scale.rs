//! A large cluster on the virtual clock: services come to run, and all their tasks are replaced by a rolling deployment.
//!
//! `cargo run --release -p estiva-sim --example scale -- [NODES] [SERVICES] [TASKS]` (5,000, 20 and 100,000 in all). Prints what each
//! part took, of real time and of virtual time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use estiva_ecs::container_instance::table::ConnectionRow;
use estiva_ecs::service::rollout_table::RolloutRow;
use estiva_sim::agent::Offer;
use estiva_sim::cluster::Cluster;
use estiva_sim::definition::{Definition, Image};
use estiva_sim::meter::Component;
use estiva_sim::owner::{Change, Service};
use estiva_sim::run::on_virtual_time;
use estiva_sim::world::World;
use tokio::time::sleep;

/// How often it is looked whether a part is over.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Of RunTask.
const CALLS: usize = 1000;
/// A part that lasts longer hangs.
const PATIENCE: Duration = Duration::from_secs(3600);

fn main() {
    let mut arguments = std::env::args().skip(1).filter_map(|text| text.parse().ok());
    let mut argument = |default: usize| arguments.next().unwrap_or(default);
    let (nodes, services, tasks) = (argument(5000), argument(20), argument(100_000));
    on_virtual_time(run(nodes, services, tasks));
}

async fn run(nodes: usize, services: usize, tasks: usize) {
    let world = World::large(1);
    let offer = |node: usize| Offer {
        cpu: 4096,
        memory: 4096,
        task_slots: None,
        zone: format!("us-east-1{}", ["a", "b", "c"][node % 3]),
        addresses: 0,
        is_fargate: false,
    };
    let mut parts = Parts::begin(&world);
    let cluster = Cluster::start(&world, (0..nodes).map(offer)).await;
    wait_until(&cluster, || connected(&cluster) == nodes).await;
    parts.end(&cluster, &format!("{nodes} nodes register and connect"));

    let small = Definition { cpu: 10, memory: 10, ..Definition::new("web", Image::Good) };
    cluster.define(&small).await.expect("the task definition is right");
    let each = i32::try_from(tasks / services).expect("services are not that large");
    for number in 0..services {
        let service = Service::new(&format!("service-{number}"), "web", each);
        cluster.create_service(&service).await.expect("the service is right");
    }
    wait_until(&cluster, || is_settled(&cluster)).await;
    parts.end(&cluster, &format!("{services} services come to {tasks} tasks"));

    cluster.define(&small).await.expect("the task definition is right");
    for number in 0..services {
        let change = Change { definition: Some("web".to_owned()), ..Change::default() };
        cluster.update_service(&format!("service-{number}"), change).await.expect("the change is right");
    }
    wait_until(&cluster, || is_settled(&cluster)).await;
    parts.end(&cluster, &format!("a rolling deployment replaces {tasks} tasks"));

    for _ in 0..CALLS {
        let tasks = cluster.run_task("web", 1).await.expect("the call is right");
        assert_eq!(tasks.len(), 1, "there is room");
    }
    parts.end(&cluster, &format!("{CALLS} calls of RunTask, a task each"));

    sleep(Duration::from_secs(60)).await;
    parts.end(&cluster, "a minute at rest");
    row("peak RSS, simulated nodes included", format!("{} MB", peak_rss_mb()));
}

async fn wait_until(cluster: &Cluster, is_over: impl Fn() -> bool) {
    let begun = cluster.world.clock.elapsed();
    while !is_over() {
        sleep(LOOK_INTERVAL).await;
        assert!(cluster.world.clock.elapsed() < begun + PATIENCE, "it does not end");
    }
}

fn connected(cluster: &Cluster) -> usize {
    let view = cluster.plane.view().expect("nobody stops the control plane");
    view.scan::<ConnectionRow>("").filter(|row| row.connected).count()
}

/// No service has anything left to do.
fn is_settled(cluster: &Cluster) -> bool {
    let view = cluster.plane.view().expect("nobody stops the control plane");
    view.scan::<RolloutRow>("").all(|row| row.is_steady && row.under_way.is_none())
}

/// What each part of the run takes.
struct Parts {
    world: Arc<World>,
    wall: Instant,
    virtual_time: Duration,
    transactions: u64,
    frames: u64,
    spent: [Duration; Component::ALL.len()],
}

impl Parts {
    fn begin(world: &Arc<World>) -> Self {
        Self {
            world: Arc::clone(world),
            wall: Instant::now(),
            virtual_time: Duration::ZERO,
            transactions: 0,
            frames: 0,
            spent: Default::default(),
        }
    }

    fn end(&mut self, cluster: &Cluster, what: &str) {
        let transactions = cluster.plane.view().map_or(0, |view| view.revision());
        let (virtual_time, frames) = (self.world.clock.elapsed(), self.world.frames());
        let spent = Component::ALL.map(|component| self.world.meter.spent(component));
        row(what, format!("{:.1} s", self.wall.elapsed().as_secs_f64()));
        row("  virtual time", format!("{:.0} s", virtual_time.as_secs_f64() - self.virtual_time.as_secs_f64()));
        row("  transactions", transactions - self.transactions);
        row("  messages to nodes", frames - self.frames);
        for (component, (now, before)) in Component::ALL.into_iter().zip(spent.into_iter().zip(self.spent)) {
            row(&format!("  in {component:?}"), format!("{:.1} s", now.as_secs_f64() - before.as_secs_f64()));
        }
        *self = Self { wall: Instant::now(), virtual_time, transactions, frames, spent, ..Self::begin(&self.world) };
    }
}

/// A row of the table, as `bench/run.py` reads it.
fn row(what: &str, value: impl std::fmt::Display) {
    println!("{what}\t{value}");
}

fn peak_rss_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) / 1024
}
