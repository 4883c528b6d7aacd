//! What the node's containers use, from one publication to the next.

use std::collections::HashMap;
use std::time::Instant;

use estiva_agent_protocol::tcs::{
    ContainerHealth, ContainerMetric, NetworkStatsSet, RestartStatsSet, Seconds, StatsSet, StorageStatsSet, TaskHealth,
    TaskMetric,
};
use estiva_planning::lifecycle::ContainerStatus;
use estiva_shim::usage::{self, NetworkUsage, Usage};

use crate::engine::{KnownContainer, TaskView, docker_config};

/// Counters as they were last read, by cgroup.
#[derive(Debug, Default)]
pub(super) struct Measurer(HashMap<String, Read>);

#[derive(Debug, Clone, Copy)]
struct Read {
    at: Instant,
    usage: Usage,
    network: Option<NetworkUsage>,
}

impl Measurer {
    /// Reads the counters of every running container. Blocks.
    pub fn measure(&mut self, tasks: &[TaskView]) -> Vec<TaskMetric> {
        let before = std::mem::take(&mut self.0);
        tasks.iter().map(|task| self.task(task, &before)).filter(|task| !task.container_metrics.is_empty()).collect()
    }

    fn task(&mut self, view: &TaskView, before: &HashMap<String, Read>) -> TaskMetric {
        let running = view.known.containers.iter().filter(|it| it.status == ContainerStatus::Running);
        TaskMetric {
            task_arn: view.task.arn.clone(),
            cluster_arn: view.task.task_cluster_arn.clone(),
            task_definition_family: view.task.family.clone(),
            task_definition_version: view.task.version.clone(),
            container_metrics: running.filter_map(|it| self.container(view, it, before)).collect(),
        }
    }

    fn container(
        &mut self,
        view: &TaskView,
        known: &KnownContainer,
        before: &HashMap<String, Read>,
    ) -> Option<ContainerMetric> {
        let cgroup = format!("{}/{}", view.cgroup, known.name);
        // It may have ended in this moment.
        let usage = usage::read(&cgroup).ok()?;
        let own_network = view.task.network_mode.as_deref() != Some("host");
        let network = own_network.then(|| usage::read_network(&cgroup).ok().flatten()).flatten();
        let now = Read { at: Instant::now(), usage, network };
        let former = before.get(&cgroup);
        self.0.insert(cgroup, now);
        let restarts = view.task.containers.iter().find(|it| it.name == known.name)?.restart_policy.as_ref();
        let restart_stats_set =
            restarts.filter(|policy| policy.enabled).map(|_| RestartStatsSet { restart_count: known.restarts.into() });
        Some(metric(known, &now, former, restart_stats_set))
    }
}

#[allow(clippy::cast_precision_loss, reason = "measurements, not counts")]
fn metric(
    known: &KnownContainer,
    now: &Read,
    before: Option<&Read>,
    restart_stats_set: Option<RestartStatsSet>,
) -> ContainerMetric {
    const MIB: f64 = (1 << 20) as f64;
    let grown = |now: u64, before: u64| one(now.saturating_sub(before) as f64);
    // A counter that went back is one of a container that was started anew.
    let before = before.filter(|before| before.usage.cpu_ns <= now.usage.cpu_ns);
    let cpu_stats_set = before.map_or_else(StatsSet::default, |before| {
        let wall_ns = now.at.duration_since(before.at).as_nanos().max(1) as f64;
        one((now.usage.cpu_ns - before.usage.cpu_ns) as f64 / wall_ns * 100.0)
    });
    let network_stats_set = before.and_then(|before| before.network).zip(now.network).map(|(before, now)| {
        let (rx_bytes, tx_bytes) = (grown(now.rx_bytes, before.rx_bytes), grown(now.tx_bytes, before.tx_bytes));
        NetworkStatsSet { rx_bytes, tx_bytes, ..NetworkStatsSet::default() }
    });
    let storage_stats_set = before.map(|before| StorageStatsSet {
        read_size_bytes: grown(now.usage.read_bytes, before.usage.read_bytes),
        write_size_bytes: grown(now.usage.write_bytes, before.usage.write_bytes),
    });
    ContainerMetric {
        container_name: known.name.clone(),
        cpu_stats_set,
        memory_stats_set: one(now.usage.memory_bytes as f64 / MIB),
        network_stats_set,
        storage_stats_set,
        restart_stats_set,
    }
}

fn one(value: f64) -> StatsSet {
    StatsSet { min: value, max: value, sum: value, sample_count: 1 }
}

/// The health of every container that has a health check.
pub(super) fn health(tasks: &[TaskView]) -> Vec<TaskHealth> {
    let of_task = |view: &TaskView| TaskHealth {
        task_arn: view.task.arn.clone(),
        cluster_arn: view.task.task_cluster_arn.clone(),
        task_definition_family: view.task.family.clone(),
        task_definition_version: view.task.version.clone(),
        containers: view.known.containers.iter().filter(|it| is_checked(view, it)).map(of_container).collect(),
    };
    tasks.iter().map(of_task).filter(|task| !task.containers.is_empty()).collect()
}

fn is_checked(view: &TaskView, known: &KnownContainer) -> bool {
    let definition = view.task.containers.iter().find(|it| it.name == known.name);
    let checked = definition.filter(|it| it.health_check_type.is_some());
    checked.is_some_and(|it| docker_config(it).is_ok_and(|(config, _)| config.healthcheck.is_some()))
}

fn of_container(known: &KnownContainer) -> ContainerHealth {
    ContainerHealth {
        container_name: known.name.clone(),
        health_status: known.health.as_str().to_owned(),
        status_since: Seconds::of_millis(known.health_since.map_or(0, estiva_model::Timestamp::as_millis)),
    }
}
