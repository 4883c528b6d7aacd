//! How fast tasks are placed: a million of them on 10,000 container instances, with each strategy.
//!
//! Prints a line a measurement: its name, a tab, its value. Run it with `--release`.

use std::error::Error;
use std::fs;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use estiva_planning::placement::{
    Amount, Candidate, Demand, Ranking, Resources, STRATEGIES_MAX, Strategies, Strategy, ZONE, place,
};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

const INSTANCES: usize = 10_000;
const TASKS: usize = 1_000_000;
/// Of as many kinds of tasks, one service each; they take turns, and each sees what the others have taken.
const SERVICES: usize = 10;
/// Without a ranking that is kept, so many calls are enough to see what one costs.
const CALLS_AFRESH: usize = 500;
const BATCHES: [u32; 3] = [1, 10, 100];
const ZONES: [&str; 3] = ["a", "b", "c"];
const CORES: [i64; 4] = [16, 32, 48, 64];
const GIB: [i64; 4] = [64, 128, 192, 256];

fn main() -> Result<(), Box<dyn Error>> {
    let zone = || Strategy::SpreadAttribute(ZONE.into());
    let memory = || Strategy::Binpack(Amount::Memory);
    let mut out = io::stdout();
    for (name, strategies) in [
        ("default", Vec::new()),
        ("spread instance", vec![Strategy::SpreadInstance]),
        ("binpack cpu", vec![Strategy::Binpack(Amount::Cpu)]),
        ("binpack memory", vec![memory()]),
        ("random", vec![Strategy::Random]),
        ("spread AZ, binpack memory", vec![zone(), memory()]),
    ] {
        let strategies = Strategies::new(strategies);
        for batch in BATCHES {
            let calls = Cluster::new().place_all(&strategies, batch as usize);
            writeln!(out, "{name}, {batch} a call\t{}", summary(batch, calls))?;
        }
    }
    for batch in BATCHES {
        let calls = Cluster::new().place_afresh(batch as usize);
        writeln!(out, "default, ranked afresh, {batch} a call\t{}", summary(batch, calls))?;
    }
    writeln!(out, "peak RSS\t{} MB", peak_rss_kib()? / 1024)?;
    Ok(())
}

/// What placement reads, as a store would have it.
struct Cluster {
    remaining: Vec<Resources>,
    zones: Vec<&'static str>,
    /// Of each service: its tasks on each instance.
    group_tasks: Vec<Vec<usize>>,
    demands: Vec<Demand>,
    rng: SmallRng,
}

impl Cluster {
    fn new() -> Self {
        let mut rng = SmallRng::seed_from_u64(1);
        let mut instance = || Resources {
            cpu: CORES[rng.random_range(0..CORES.len())] * 1024,
            memory: GIB[rng.random_range(0..GIB.len())] * 1024,
            tcp_ports: [22, 2375, 2376, 51678].into(),
            ..Resources::default()
        };
        let remaining = (0..INSTANCES).map(|_| instance()).collect();
        let demand = |size: i64| Resources { cpu: 32 * size, memory: 64 * size, ..Resources::default() };
        let sizes = (1..).take(SERVICES);
        Self {
            remaining,
            zones: ZONES.into_iter().cycle().take(INSTANCES).collect(),
            group_tasks: vec![vec![0; INSTANCES]; SERVICES],
            demands: sizes.map(|size| Demand { resources: demand(size), ..Demand::default() }).collect(),
            rng,
        }
    }

    fn candidate(&self, service: usize, instance: usize) -> Candidate<'_> {
        let mut spread = [None; STRATEGIES_MAX];
        spread[0] = Some(self.zones[instance]);
        let group_tasks = self.group_tasks[service][instance];
        Candidate { remaining: &self.remaining[instance], addresses: 0, group_tasks, refused: None, spread }
    }

    fn candidates(&self, service: usize) -> Vec<Candidate<'_>> {
        (0..INSTANCES).map(|instance| self.candidate(service, instance)).collect()
    }

    /// Each service keeps its ranking; a call starts with what the others have changed since its last one.
    fn place_all(&mut self, strategies: &Strategies, batch: usize) -> Vec<Duration> {
        let mut rng = self.rng.clone();
        let mut rankings = Vec::new();
        for (service, demand) in self.demands.iter().enumerate() {
            rankings.push(Ranking::new(demand, strategies, &self.candidates(service), &mut rng));
        }
        let mut changes: Vec<(usize, usize)> = Vec::with_capacity(TASKS);
        let mut seen = [0; SERVICES];
        let mut calls = Vec::with_capacity(TASKS / batch);
        for service in (0..SERVICES).cycle().take(TASKS / batch) {
            let begun = Instant::now();
            for (by, instance) in &changes[seen[service]..] {
                if *by != service {
                    rankings[service].update(*instance, Some(&self.candidate(service, *instance)), &mut rng);
                }
            }
            let placement = rankings[service].place(batch, &mut rng);
            calls.push(begun.elapsed());
            assert_eq!(placement.chosen.len(), batch, "there is room for all");
            for instance in placement.chosen {
                self.remaining[instance].reserve(&self.demands[service].resources);
                self.group_tasks[service][instance] += 1;
                changes.push((service, instance));
            }
            seen[service] = changes.len();
        }
        calls
    }

    /// Each call looks at all instances.
    fn place_afresh(&mut self, batch: usize) -> Vec<Duration> {
        let mut rng = self.rng.clone();
        let call = |service: usize| {
            let begun = Instant::now();
            let candidates = self.candidates(service);
            let placement = place(&self.demands[service], batch, &Strategies::default(), &candidates, &mut rng);
            assert_eq!(placement.chosen.len(), batch, "there is room for all");
            begun.elapsed()
        };
        (0..SERVICES).cycle().take(CALLS_AFRESH).map(call).collect()
    }
}

/// Decisions a second, and how long one takes: a call's time, divided by the tasks that it places.
fn summary(batch: u32, mut calls: Vec<Duration>) -> String {
    calls.sort_unstable();
    let microseconds = |percent: usize| {
        let call = calls[(calls.len() - 1) * percent / 100];
        call.as_secs_f64() * 1e6 / f64::from(batch)
    };
    let mean = calls.iter().map(Duration::as_secs_f64).sum::<f64>() / f64::from(batch);
    let rate = calls.iter().map(|_| 1.0).sum::<f64>() / mean;
    format!("{rate:.0}/s, p50 {:.2} µs, p99 {:.2} µs", microseconds(50), microseconds(99))
}

/// The most memory that this process ever had.
fn peak_rss_kib() -> Result<u64, Box<dyn Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
