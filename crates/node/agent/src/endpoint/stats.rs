//! A container's use of the machine in the shape of Docker's stats, which the metadata endpoint hands through.

use estiva_shim::usage::{self, NetworkUsage, Usage};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use estiva_model::Timestamp;

use crate::engine::{KnownContainer, TaskView};

/// What was last read of each container, for readers who want to know the difference: by cgroup.
#[derive(Default)]
pub(super) struct Stats(Mutex<HashMap<String, Read>>);

#[derive(Clone, Copy)]
struct Read {
    at: Instant,
    time: Timestamp,
    usage: Usage,
    network: Option<NetworkUsage>,
    system_ns: u64,
}

/// More than a node runs: what is forgotten is read anew.
const READS_MAX: usize = 4096;

impl Stats {
    /// Docker's stats of the container; null when it does not run.
    pub fn of(&self, view: &TaskView, container: &KnownContainer) -> Value {
        let cgroup = format!("{}/{}", view.cgroup, container.name);
        let Ok(usage) = usage::read(&cgroup) else { return Value::Null };
        // Containers with the host's network have no counters of their own.
        let own_network = view.task.network_mode.as_deref() != Some("host");
        let network = own_network.then(|| usage::read_network(&cgroup).ok().flatten()).flatten();
        let (at, time) = (Instant::now(), Timestamp::now());
        let now = Read { at, time, usage, network, system_ns: system_cpu_ns() };
        let mut reads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if reads.len() >= READS_MAX {
            reads.clear();
        }
        let before = reads.insert(cgroup, now);
        render(container, &now, before.as_ref())
    }
}

fn render(container: &KnownContainer, now: &Read, before: Option<&Read>) -> Value {
    let before_usage = before.map(|read| read.usage).unwrap_or_default();
    let cpu = |usage: &Usage, system_ns: u64| {
        json!({
            "cpu_usage": {
                "total_usage": usage.cpu_ns,
                "usage_in_kernelmode": usage.cpu_system_ns,
                "usage_in_usermode": usage.cpu_user_ns,
            },
            "system_cpu_usage": system_ns,
            "online_cpus": std::thread::available_parallelism().map_or(1, usize::from),
            "throttling_data": { "periods": 0, "throttled_periods": 0, "throttled_time": 0 },
        })
    };
    let mut stats = json!({
        "read": now.time.to_rfc3339(),
        "preread": before.map_or_else(|| "0001-01-01T00:00:00Z".to_owned(), |read| read.time.to_rfc3339()),
        "id": container.runtime_id,
        "name": format!("/{}", container.name),
        "num_procs": 0,
        "pids_stats": { "current": now.usage.pids },
        "blkio_stats": { "io_service_bytes_recursive": [
            { "major": 0, "minor": 0, "op": "Read", "value": now.usage.read_bytes },
            { "major": 0, "minor": 0, "op": "Write", "value": now.usage.write_bytes },
        ] },
        "cpu_stats": cpu(&now.usage, now.system_ns),
        "precpu_stats": cpu(&before_usage, before.map_or(0, |read| read.system_ns)),
        "memory_stats": {
            "usage": now.usage.memory_bytes,
            "max_usage": now.usage.memory_max_bytes,
            "limit": now.usage.memory_limit_bytes.unwrap_or_else(total_memory_bytes),
            "stats": { "cache": now.usage.memory_cache_bytes },
        },
    });
    if let Some(network) = now.network {
        stats["networks"] = json!({ "eth0": {
            "rx_bytes": network.rx_bytes, "rx_packets": network.rx_packets,
            "rx_errors": network.rx_errors, "rx_dropped": network.rx_dropped,
            "tx_bytes": network.tx_bytes, "tx_packets": network.tx_packets,
            "tx_errors": network.tx_errors, "tx_dropped": network.tx_dropped,
        } });
        let earlier = before.and_then(|read| Some((read.network?, now.at.duration_since(read.at).as_secs_f64())));
        if let Some((earlier, seconds)) = earlier.filter(|(_, seconds)| *seconds > 0.0) {
            #[allow(clippy::cast_precision_loss, reason = "a rate, not a count")]
            let rate = |now: u64, before: u64| now.saturating_sub(before) as f64 / seconds;
            stats["network_rate_stats"] = json!({
                "rx_bytes_per_sec": rate(network.rx_bytes, earlier.rx_bytes),
                "tx_bytes_per_sec": rate(network.tx_bytes, earlier.tx_bytes),
            });
        }
    }
    stats
}

/// What all cores have worked, in nanoseconds: the first line of `/proc/stat`, which counts hundredths of a second.
fn system_cpu_ns() -> u64 {
    const NS_A_TICK: u64 = 10_000_000;
    let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let ticks = text.lines().next().unwrap_or_default().split_ascii_whitespace().skip(1).take(7);
    ticks.filter_map(|tick| tick.parse::<u64>().ok()).sum::<u64>().saturating_mul(NS_A_TICK)
}

fn total_memory_bytes() -> u64 {
    u64::try_from(crate::capacity::of_this_machine().memory).unwrap_or(0) << 20
}
