//! One run: a cluster comes to be, lives through its faults, comes to rest, and is judged.

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;
use tokio::time::{Instant, sleep};

use crate::agent::{Offer, Power};
use crate::cluster::Cluster;
use crate::fault::{self, Climate};
use crate::settle;
use crate::silence;
use crate::workload;
use crate::world::World;

/// What a run is like.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Nodes at the beginning.
    pub nodes: usize,
    /// How long faults happen and users work.
    pub chaos: Duration,
    /// Which faults.
    pub climate: Climate,
    /// Time from one call of a user's to the next, on average.
    pub work_every: Duration,
    /// How long after the last fault everything must be as it is wanted.
    pub patience: Duration,
}

/// What came of a run.
#[derive(Debug)]
pub struct Outcome {
    /// What everything followed from.
    pub seed: u64,
    /// What happened.
    pub trace: String,
    /// What must never be and has been.
    pub violations: Vec<String>,
    /// Transactions that changed something.
    pub transactions: u64,
    /// Messages to nodes.
    pub frames: u64,
    /// How long it was, in virtual time.
    pub lasted: Duration,
}

impl Default for Scenario {
    fn default() -> Self {
        Self {
            nodes: 5,
            chaos: Duration::from_secs(120),
            climate: Climate::stormy(),
            work_every: Duration::from_secs(3),
            patience: Duration::from_secs(1800),
        }
    }
}

/// Runs what follows from the seed. Blocks; takes milliseconds for minutes.
pub fn run(seed: u64, scenario: &Scenario) -> Outcome {
    simulate(seed, |world| live(world, scenario.clone()))
}

/// Runs anything on a virtual clock, and gives what it gives.
pub fn on_virtual_time<F: Future>(life: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime without I/O can be made").block_on(life)
}

/// Runs anything on a virtual clock, and gives what came of it.
pub fn simulate<F: Future<Output = Option<Cluster>>>(seed: u64, life: impl FnOnce(Arc<World>) -> F) -> Outcome {
    on_virtual_time(async {
        let world = World::new(seed);
        let cluster = life(Arc::clone(&world)).await;
        let transactions = cluster.map_or(0, |cluster| cluster.plane.audit(|audit| audit.transactions));
        Outcome {
            seed,
            trace: world.trace.text(),
            violations: world.violations(),
            transactions,
            frames: world.frames(),
            lasted: world.clock.elapsed(),
        }
    })
}

async fn live(world: Arc<World>, scenario: Scenario) -> Option<Cluster> {
    let mut rng = world.rng("nodes");
    let offer = |number: usize| Offer {
        cpu: rng.random_range(1..=4) * 1024,
        memory: rng.random_range(1..=4) * 1024,
        task_slots: rng.random_bool(0.3).then(|| rng.random_range(3..12)),
        zone: format!("us-east-1{}", ["a", "b", "c"][number % 3]),
        addresses: if rng.random_bool(0.8) { rng.random_range(2..10) } else { 0 },
        is_fargate: rng.random_bool(0.6),
    };
    let offers: Vec<Offer> = (0..scenario.nodes).map(offer).collect();
    let cluster = Cluster::start(&world, offers).await;
    workload::define(&cluster, &workload::definitions()).await;
    let until = Instant::now() + scenario.chaos;
    let happening = async {
        tokio::join!(
            fault::happen(&cluster, &scenario.climate, until),
            workload::work(&cluster, scenario.work_every, until),
        )
    };
    tokio::select! {
        biased;
        _ = happening => {}
        () = silence::watch(&cluster) => {}
    }
    cluster.heal().await;
    workload::mend(&cluster).await;
    // Copies of reports that are still under way.
    sleep(Duration::from_secs(30)).await;
    settle::settle(&cluster, scenario.patience).await;
    let gone = cluster.nodes.iter().filter(|node| node.power() == Power::Gone).count();
    world.say(format_args!("the end, with {gone} nodes lost"));
    Some(cluster)
}

impl Outcome {
    /// Fails, with what led to it and how to see it again, if something was that must never be.
    pub fn check(&self, test: &str) {
        assert!(
            self.violations.is_empty(),
            "seed {}: {:#?}\n\nthe end of the trace:\n{}\nto see it again: SEED={} cargo nextest run -p estiva-sim {test}",
            self.seed,
            self.violations,
            tail(&self.trace),
            self.seed,
        );
    }
}

fn tail(trace: &str) -> String {
    let lines: Vec<&str> = trace.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}
