//! What a container uses of the machine, as its cgroup counts it.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::cgroup::Cgroup;

/// Counters of one cgroup, from its beginning.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time, in nanoseconds.
    pub cpu_ns: u64,
    /// Of it, in user mode.
    pub cpu_user_ns: u64,
    /// Of it, in the kernel.
    pub cpu_system_ns: u64,
    /// Memory without what the kernel could take back at once (inactive file pages), in bytes: Docker's measure.
    pub memory_bytes: u64,
    /// The most memory that was ever used, page cache included; 0 where the kernel does not tell.
    pub memory_max_bytes: u64,
    /// Page cache, in bytes.
    pub memory_cache_bytes: u64,
    /// The memory limit; `None` is none.
    pub memory_limit_bytes: Option<u64>,
    /// Read from block devices, in bytes.
    pub read_bytes: u64,
    /// Written to block devices, in bytes.
    pub write_bytes: u64,
    /// Processes and threads.
    pub pids: u64,
}

/// Counters of the network namespace that a container is in, loopback aside.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NetworkUsage {
    /// Received.
    pub rx_bytes: u64,
    /// Received.
    pub rx_packets: u64,
    /// Received in error.
    pub rx_errors: u64,
    /// Received and dropped.
    pub rx_dropped: u64,
    /// Sent.
    pub tx_bytes: u64,
    /// Sent.
    pub tx_packets: u64,
    /// Not sent for an error.
    pub tx_errors: u64,
    /// Dropped instead of sent.
    pub tx_dropped: u64,
}

/// An unlimited v1 cgroup shows a number of pages that no machine has.
const UNLIMITED_V1: u64 = 1 << 60;

/// Reads the counters of the cgroup at `path`, absolute from the roots of the hierarchies.
///
/// # Errors
/// There is no such cgroup.
pub fn read(path: &str) -> io::Result<Usage> {
    let cgroup = Cgroup::new(path)?;
    if cgroup.is_unified() { read_v2(&cgroup) } else { read_v1(&cgroup) }
}

/// Counters of the network of the cgroup's processes; `None` when it has none.
///
/// # Errors
/// There is no such cgroup.
pub fn read_network(path: &str) -> io::Result<Option<NetworkUsage>> {
    let cgroup = Cgroup::new(path)?;
    let Some(procs) = cgroup.procs_files().into_iter().next() else { return Ok(None) };
    let processes = fs::read_to_string(procs)?;
    let Some(pid) = processes.lines().next() else { return Ok(None) };
    Ok(fs::read_to_string(format!("/proc/{pid}/net/dev")).ok().map(|text| interfaces(&text)))
}

fn read_v2(cgroup: &Cgroup) -> io::Result<Usage> {
    let dirs = cgroup.dirs();
    let cpu = text(dirs, "cpu.stat")?;
    let memory = text(dirs, "memory.stat").unwrap_or_default();
    let current = number(dirs, "memory.current");
    let limit = text(dirs, "memory.max").ok().and_then(|text| text.trim().parse().ok());
    let io = text(dirs, "io.stat").unwrap_or_default();
    let sum = |key: &str| {
        let fields = io.split_ascii_whitespace().filter_map(|field| field.strip_prefix(key)?.strip_prefix('='));
        fields.filter_map(|value| value.parse::<u64>().ok()).sum()
    };
    Ok(Usage {
        cpu_ns: field(&cpu, "usage_usec").saturating_mul(1000),
        cpu_user_ns: field(&cpu, "user_usec").saturating_mul(1000),
        cpu_system_ns: field(&cpu, "system_usec").saturating_mul(1000),
        memory_bytes: current.saturating_sub(field(&memory, "inactive_file")),
        memory_max_bytes: number(dirs, "memory.peak"),
        memory_cache_bytes: field(&memory, "file"),
        memory_limit_bytes: limit,
        read_bytes: sum("rbytes"),
        write_bytes: sum("wbytes"),
        pids: number(dirs, "pids.current"),
    })
}

fn read_v1(cgroup: &Cgroup) -> io::Result<Usage> {
    let dirs = cgroup.dirs();
    let cpu: u64 = text(dirs, "cpuacct.usage")?.trim().parse().unwrap_or(0);
    let memory = text(dirs, "memory.stat").unwrap_or_default();
    let current = number(dirs, "memory.usage_in_bytes");
    let limit = Some(number(dirs, "memory.limit_in_bytes")).filter(|limit| (1..UNLIMITED_V1).contains(limit));
    let io = text(dirs, "blkio.throttle.io_service_bytes").unwrap_or_default();
    let sum = |kind: &str| {
        let of_kind = io.lines().filter(|line| line.split(' ').nth(1) == Some(kind));
        of_kind.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
    };
    Ok(Usage {
        cpu_ns: cpu,
        cpu_user_ns: number(dirs, "cpuacct.usage_user"),
        cpu_system_ns: number(dirs, "cpuacct.usage_sys"),
        memory_bytes: current.saturating_sub(field(&memory, "total_inactive_file")),
        memory_max_bytes: number(dirs, "memory.max_usage_in_bytes"),
        memory_cache_bytes: field(&memory, "total_cache"),
        memory_limit_bytes: limit,
        read_bytes: sum("Read"),
        write_bytes: sum("Write"),
        pids: number(dirs, "pids.current"),
    })
}

/// The file `name` of whichever hierarchy has it.
fn text(dirs: &[PathBuf], name: &str) -> io::Result<String> {
    let found = dirs.iter().map(|dir| fs::read_to_string(dir.join(Path::new(name)))).find(Result::is_ok);
    found.unwrap_or_else(|| Err(io::ErrorKind::NotFound.into()))
}

fn number(dirs: &[PathBuf], name: &str) -> u64 {
    text(dirs, name).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

/// Of lines `key value`.
fn field(text: &str, key: &str) -> u64 {
    let value = |line: &str| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok();
    text.lines().find_map(value).unwrap_or(0)
}

/// `/proc/<pid>/net/dev`: two lines of headings, then `name: ` and eight numbers each way.
fn interfaces(text: &str) -> NetworkUsage {
    let mut sum = NetworkUsage::default();
    for line in text.lines().skip(2) {
        let Some((name, counters)) = line.split_once(':') else { continue };
        let counters: Vec<u64> = counters.split_ascii_whitespace().filter_map(|number| number.parse().ok()).collect();
        let [rx_bytes, rx_packets, rx_errors, rx_dropped, _, _, _, _, tx_bytes, tx_packets, tx_errors, tx_dropped, ..] =
            counters[..]
        else {
            continue;
        };
        if name.trim() == "lo" {
            continue;
        }
        sum.rx_bytes += rx_bytes;
        sum.rx_packets += rx_packets;
        sum.rx_errors += rx_errors;
        sum.rx_dropped += rx_dropped;
        sum.tx_bytes += tx_bytes;
        sum.tx_packets += tx_packets;
        sum.tx_errors += tx_errors;
        sum.tx_dropped += tx_dropped;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_are_summed_without_loopback() {
        let text = "Inter-|   Receive                            |  Transmit\n face |bytes packets errs …\n    \
            lo: 9 9 9 9 0 0 0 0 9 9 9 9 0 0 0 0\n  eth0: 100 2 3 4 0 0 0 0 200 5 6 7 0 0 0 0\n  eth1: 1 1 1 1 0 0 0 0 1 1 1 1 0 0 0 0\n";
        let usage = interfaces(text);
        assert_eq!((usage.rx_bytes, usage.rx_packets, usage.rx_errors, usage.rx_dropped), (101, 3, 4, 5));
        assert_eq!((usage.tx_bytes, usage.tx_packets, usage.tx_errors, usage.tx_dropped), (201, 6, 7, 8));
        assert_eq!(interfaces("garbage"), NetworkUsage::default());
    }

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let text = "file 7\ninactive_file 5\n";
        assert_eq!((field(text, "inactive_file"), field(text, "file"), field(text, "fil")), (5, 7, 0));
    }
}
