//! Misfortune: which faults happen, how often, and for how long.

use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::agent::{Node, Power};
use crate::cluster::Cluster;
use crate::disk::Death;
use crate::world::{Weather, spread};

/// How bad it gets.
#[derive(Debug, Clone)]
pub struct Climate {
    /// Time from one fault to the next, on average.
    pub every: Duration,
    /// Each fault that may happen, and how likely it is beside the others.
    pub faults: Vec<(Fault, u32)>,
    /// Faults of single messages, tasks and disks.
    pub weather: Weather,
}

/// One kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A connection breaks.
    Cut,
    /// Nothing comes to a node for a while.
    Deaf,
    /// Nothing comes from a node for a while.
    Mute,
    /// A node is cut off for a while.
    Partition,
    /// A node is cut off and back again several times.
    Flapping,
    /// An agent dies and is started again.
    AgentCrash,
    /// A node loses its power and boots.
    NodeCrash,
    /// A node loses its power for good.
    NodeLoss,
    /// The control plane is killed and comes back.
    PlaneCrash,
    /// The control plane dies in the middle of a write.
    PlaneDeath,
    /// The control plane's wall clock jumps by up to an hour.
    ClockJump,
}

impl Climate {
    /// Everything happens, about every ten seconds.
    pub fn stormy() -> Self {
        Self {
            every: Duration::from_secs(10),
            faults: vec![
                (Fault::Cut, 20),
                (Fault::Deaf, 8),
                (Fault::Mute, 8),
                (Fault::Partition, 8),
                (Fault::Flapping, 3),
                (Fault::AgentCrash, 15),
                (Fault::NodeCrash, 8),
                (Fault::NodeLoss, 3),
                (Fault::PlaneCrash, 8),
                (Fault::PlaneDeath, 8),
            ],
            weather: Weather { loss: 0.1, late: 0.2, slow_disk: 0.05, failed_start: 0.05, exit: 0.1 },
        }
    }

    /// The wall clock jumps all the time, and connections break. The control plane goes on: what it has seen begin it has seen
    /// begin by a clock that does not jump, but another life has the wall clock alone to go by.
    pub fn jumpy() -> Self {
        let faults = vec![(Fault::ClockJump, 3), (Fault::Cut, 1), (Fault::AgentCrash, 1)];
        Self { faults, ..Self::stormy() }
    }

    /// Nothing happens.
    pub fn calm() -> Self {
        Self { every: Duration::from_secs(3600), faults: Vec::new(), weather: Weather::default() }
    }

    /// Only this fault, so often.
    pub fn of(fault: Fault, every: Duration) -> Self {
        Self { every, faults: vec![(fault, 1)], weather: Weather::default() }
    }
}

/// Lets faults happen until then. What they have broken is not mended.
pub async fn happen(cluster: &Cluster, climate: &Climate, until: Instant) {
    cluster.world.set_weather(climate.weather);
    let mut rng = cluster.world.rng("faults");
    let mut under_way = JoinSet::new();
    under_way.spawn(keep_alive(cluster.clone()));
    while !climate.faults.is_empty() {
        let wait = climate.every.mul_f64(-rng.random::<f64>().max(1e-6).ln());
        if Instant::now() + wait >= until {
            break;
        }
        sleep(wait).await;
        let fault = choose(&climate.faults, &mut rng);
        let node = cluster.nodes[rng.random_range(0..cluster.nodes.len())].clone();
        let lasting = spread(&mut rng, Duration::from_millis(200), Duration::from_secs(120));
        under_way.spawn(strike(cluster.clone(), node, fault, lasting, rng.random()));
    }
    sleep_until(until).await;
    under_way.shutdown().await;
}

/// A control plane that died of a write comes back.
pub async fn keep_alive(cluster: Cluster) {
    loop {
        cluster.plane.disk().death().await;
        cluster.bounce(Duration::from_secs(2)).await;
    }
}

fn choose(faults: &[(Fault, u32)], rng: &mut StdRng) -> Fault {
    let mut left = rng.random_range(0..faults.iter().map(|(_, weight)| weight).sum());
    for (fault, weight) in faults {
        if left < *weight {
            return *fault;
        }
        left -= weight;
    }
    Fault::Cut
}

async fn strike(cluster: Cluster, node: Node, fault: Fault, lasting: Duration, chance: u32) {
    if node.power() != Power::On && !matches!(fault, Fault::PlaneCrash | Fault::PlaneDeath | Fault::ClockJump) {
        return;
    }
    cluster.world.say(format_args!("fault {fault:?} {} for {:.3} s", node.name(), lasting.as_secs_f64()));
    match fault {
        Fault::Cut => node.link().cut(),
        Fault::Deaf => block(&node, true, false, lasting).await,
        Fault::Mute => block(&node, false, true, lasting).await,
        Fault::Partition => block(&node, true, true, lasting).await,
        Fault::Flapping => {
            for _ in 0..5 {
                block(&node, true, true, Duration::from_secs(10)).await;
                sleep(Duration::from_secs(10)).await;
            }
        }
        Fault::AgentCrash => {
            node.kill_agent();
            sleep(lasting).await;
            if node.power() == Power::On {
                node.start_agent();
            }
        }
        Fault::NodeCrash => {
            node.power_off(Power::Off);
            sleep(lasting).await;
            node.power_on();
        }
        Fault::NodeLoss => {
            // Some must be left.
            let left = cluster.nodes.iter().filter(|node| node.power() != Power::Gone).count();
            if left > cluster.nodes.len() / 2 + 1 {
                node.power_off(Power::Gone);
            }
        }
        Fault::PlaneCrash => {
            if cluster.plane.is_up() {
                cluster.bounce(lasting / 4).await;
            }
        }
        Fault::PlaneDeath => {
            let commit = cluster.plane.disk().commits() + 1 + u64::from(chance % 20);
            cluster.plane.disk().set_death(Death { commit, is_written: chance >> 16 & 1 == 1 });
        }
        Fault::ClockJump => {
            cluster.world.clock.set_skew(i64::from(chance % 7_200_000) - 3_600_000);
            sleep(lasting).await;
            cluster.world.clock.set_skew(0);
        }
    }
}

async fn block(node: &Node, is_deaf: bool, is_mute: bool, lasting: Duration) {
    node.link().block(is_deaf, is_mute);
    sleep(lasting).await;
    // A node without power hears nothing anyway.
    if node.power() == Power::On {
        node.link().block(false, false);
    }
}
