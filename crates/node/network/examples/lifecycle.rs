//! Measures what a task's network costs: wall time and CPU of `create_bridge` and `delete`, one at a time and many at
//! once. Run as root; works in a network namespace of its own, so that nothing of the host is changed.
//!
//! `cargo run --release -p estiva-network --example lifecycle -- 200`
#![allow(clippy::print_stdout, reason = "a program that prints a table")]

use std::time::{Duration, Instant};

use estiva_network::{Config, Error, NodeNetwork, PortMapping, Protocol};

const MAPPING: [PortMapping; 1] = [PortMapping { container_port: 80, host_port: None, protocol: Protocol::Tcp }];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Before the runtime starts its threads, which then are all within.
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET)?;
    tokio::runtime::Runtime::new()?.block_on(run())
}

async fn run() -> Result<(), Box<dyn std::error::Error>> {
    let count: usize = std::env::args().nth(1).map_or(Ok(100), |count| count.parse())?;
    let dir = tempfile::tempdir()?;
    let config = Config::new(format!("measure-{}", std::process::id()), dir.path(), dir.path().join("run"));
    let net = NodeNetwork::open(config).await?;
    let result = measure(&net, count).await;
    net.dismantle().await?;
    Ok(result?)
}

async fn measure(net: &NodeNetwork, count: usize) -> Result<(), Error> {
    println!("{:<28} {:>9} {:>9} {:>9} {:>12}", "", "p50 ms", "p99 ms", "all ms", "CPU ms/task");
    let ids: Vec<String> = (0..count).map(|n| format!("task-{n}")).collect();

    let (cpu, started, mut times) = (cpu_time(), Instant::now(), Vec::new());
    for id in &ids {
        let begin = Instant::now();
        net.create_bridge(id, &MAPPING).await?;
        times.push(begin.elapsed());
    }
    report("create_bridge, one by one", times, started.elapsed(), cpu);

    let (cpu, started, mut times) = (cpu_time(), Instant::now(), Vec::new());
    for id in &ids {
        let begin = Instant::now();
        net.delete(id).await?;
        times.push(begin.elapsed());
    }
    report("delete, one by one", times, started.elapsed(), cpu);

    let (cpu, started) = (cpu_time(), Instant::now());
    let times = at_once(net, &ids, async |net, id| net.create_bridge(&id, &MAPPING).await.map(|_| ())).await?;
    report("create_bridge, all at once", times, started.elapsed(), cpu);

    let (cpu, started) = (cpu_time(), Instant::now());
    let times = at_once(net, &ids, async |net, id| net.delete(&id).await).await?;
    report("delete, all at once", times, started.elapsed(), cpu);
    Ok(())
}

async fn at_once<F>(
    net: &NodeNetwork,
    ids: &[String],
    operation: impl Fn(NodeNetwork, String) -> F,
) -> Result<Vec<Duration>, Error>
where
    F: Future<Output = Result<(), Error>> + Send + 'static,
{
    let mut tasks = tokio::task::JoinSet::new();
    for id in ids {
        let work = operation(net.clone(), id.clone());
        tasks.spawn(async move {
            let begin = Instant::now();
            work.await.map(|()| begin.elapsed())
        });
    }
    tasks.join_all().await.into_iter().collect()
}

fn report(what: &str, mut times: Vec<Duration>, all: Duration, cpu_before: Duration) {
    times.sort();
    let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
    let percentile = |percent: usize| times.get((times.len() * percent / 100).min(times.len().saturating_sub(1)));
    let per_task = milliseconds(cpu_time().saturating_sub(cpu_before))
        / f64::from(u32::try_from(times.len().max(1)).unwrap_or(u32::MAX));
    let shown = |percent| percentile(percent).copied().map_or(0.0, milliseconds);
    println!("{what:<28} {:>9.2} {:>9.2} {:>9.1} {per_task:>12.2}", shown(50), shown(99), milliseconds(all));
}

/// User and system time of this process so far. What the kernel's workers do afterwards (freeing a namespace) is not in.
fn cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a timespec that lives until the call returns.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}
