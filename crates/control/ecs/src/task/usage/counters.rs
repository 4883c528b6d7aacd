//! What a node's measurements mean. Estiva's agent says what was used within its interval. AWS's agent says what was used since a
//! container's start, but of restarts what came since its last publication.

use std::collections::BTreeMap;

use estiva_agent_protocol::tcs::{ContainerMetric, NetworkStatsSet, StatsSet};
use estiva_api_estiva::types::ContainerUsage;
use estiva_model::Timestamp;

use super::CONTAINERS_MAX;

/// Seconds that the measurements of Estiva's agent span.
const INTERVAL_SECONDS: f64 = 20.0;

/// A container's use as Estiva's own agent measures it.
pub(super) fn of_own_agent(metric: &ContainerMetric) -> ContainerUsage {
    let (network, storage) = (metric.network_stats_set, metric.storage_stats_set);
    let rate = |set: StatsSet| (set.sample_count > 0).then(|| finite(set.sum / INTERVAL_SECONDS)).flatten();
    ContainerUsage {
        network_received_bytes_per_second: network.and_then(|it| rate(it.rx_bytes)),
        network_sent_bytes_per_second: network.and_then(|it| rate(it.tx_bytes)),
        storage_read_bytes_per_second: storage.and_then(|it| rate(it.read_size_bytes)),
        storage_written_bytes_per_second: storage.and_then(|it| rate(it.write_size_bytes)),
        restart_count: metric.restart_stats_set.map(|it| it.restart_count),
        ..common(metric)
    }
}

/// What AWS's agent has said of the containers of a task, by name.
#[derive(Debug, Default)]
pub(super) struct Counters(BTreeMap<String, Counter>);

#[derive(Debug, Clone, Copy, Default)]
struct Counter {
    storage: Option<Storage>,
    restarts: Option<i64>,
}

/// Bytes since the container's start.
#[derive(Debug, Clone, Copy)]
struct Storage {
    at: Timestamp,
    read: f64,
    written: f64,
}

impl Counters {
    /// A container's use as AWS's agent measures it.
    pub fn of_awss_agent(&mut self, metric: &ContainerMetric, now: Timestamp) -> ContainerUsage {
        let before = self.0.get(&metric.container_name).copied().unwrap_or_default();
        let storage = metric.storage_stats_set.filter(|it| it.read_size_bytes.sample_count > 0);
        let storage =
            storage.map(|it| Storage { at: now, read: it.read_size_bytes.max, written: it.write_size_bytes.max });
        let more = metric.restart_stats_set.map(|it| it.restart_count.max(0));
        let restarts = more.map(|more| before.restarts.unwrap_or(0).saturating_add(more)).or(before.restarts);
        // A node may name any containers, but not any number of them.
        if self.0.len() < CONTAINERS_MAX || self.0.contains_key(&metric.container_name) {
            self.0.insert(metric.container_name.clone(), Counter { storage, restarts });
        }
        let grown = before.storage.zip(storage);
        let network = metric.network_stats_set;
        let second = |of: fn(NetworkStatsSet) -> Option<StatsSet>| network.and_then(of).and_then(average);
        ContainerUsage {
            network_received_bytes_per_second: second(|it| it.rx_bytes_per_second),
            network_sent_bytes_per_second: second(|it| it.tx_bytes_per_second),
            storage_read_bytes_per_second: grown.and_then(|(before, now)| rate(&before, &now, |it| it.read)),
            storage_written_bytes_per_second: grown.and_then(|(before, now)| rate(&before, &now, |it| it.written)),
            restart_count: restarts,
            ..common(metric)
        }
    }
}

/// What both agents say alike.
fn common(metric: &ContainerMetric) -> ContainerUsage {
    ContainerUsage {
        name: metric.container_name.clone(),
        cpu_percent: average(metric.cpu_stats_set),
        memory_mi_b: average(metric.memory_stats_set),
        ..ContainerUsage::default()
    }
}

#[allow(clippy::cast_precision_loss, reason = "samples of 20 s are few")]
fn average(set: StatsSet) -> Option<f64> {
    (set.sample_count > 0).then(|| finite(set.sum / set.sample_count as f64)).flatten()
}

/// Bytes a second from one publication to the next. A container that was started again counts from 0.
fn rate(before: &Storage, now: &Storage, bytes: fn(&Storage) -> f64) -> Option<f64> {
    let seconds = now.at.since(before.at).as_secs_f64();
    let grown = if bytes(now) < bytes(before) { bytes(now) } else { bytes(now) - bytes(before) };
    (seconds > 0.0).then(|| finite(grown / seconds)).flatten()
}

fn finite(value: f64) -> Option<f64> {
    Some(value).filter(|value| value.is_finite())
}

#[cfg(test)]
mod tests {
    use estiva_agent_protocol::tcs::{AgentMessage, RestartStatsSet, StorageStatsSet};

    use super::*;

    /// A frame of AWS's agent.
    const FRAME: &str = include_str!("../../../../../edge/agent-protocol/fixtures/aws-agent/publish-metrics.json");

    fn metric() -> ContainerMetric {
        let AgentMessage::PublishMetrics(metrics) = AgentMessage::decode(FRAME).unwrap() else { panic!("not metrics") };
        metrics.task_metrics[0].container_metrics[0].clone()
    }

    fn stored(read: f64, written: f64) -> ContainerMetric {
        let set = |max| StatsSet { min: 0.0, max, sum: max * 15.0, sample_count: 15 };
        let storage = StorageStatsSet { read_size_bytes: set(read), write_size_bytes: set(written) };
        ContainerMetric { storage_stats_set: Some(storage), ..metric() }
    }

    fn shown(usage: &ContainerUsage) -> (Option<f64>, Option<f64>) {
        (usage.storage_read_bytes_per_second, usage.storage_written_bytes_per_second)
    }

    #[test]
    fn what_came_long_ago_is_no_rate() {
        let usage = Counters::default().of_awss_agent(&metric(), Timestamp(0));
        assert_eq!((usage.cpu_percent, usage.memory_mi_b), (Some(0.5), Some(1.0)));
        // 1016 bytes since the container's start, 30 of them within these 15 seconds.
        assert_eq!(usage.network_received_bytes_per_second, Some(2.0));
        assert_eq!(usage.network_sent_bytes_per_second, Some(0.0));
        assert_eq!(shown(&usage), (None, None));
        let without = ContainerMetric { network_stats_set: None, ..metric() };
        assert_eq!(Counters::default().of_awss_agent(&without, Timestamp(0)).network_received_bytes_per_second, None);
    }

    #[test]
    fn storage_is_what_grew_between_two_frames() {
        let mut counters = Counters::default();
        let at = |seconds: i64| Timestamp(seconds * 1000);
        counters.of_awss_agent(&stored(4096.0, 100.0), at(20));
        let idle = counters.of_awss_agent(&stored(4096.0, 100.0), at(40));
        assert_eq!(shown(&idle), (Some(0.0), Some(0.0)));
        // A frame was lost.
        let busy = counters.of_awss_agent(&stored(8192.0, 2100.0), at(80));
        assert_eq!(shown(&busy), (Some(102.4), Some(50.0)));
        let anew = counters.of_awss_agent(&stored(40.0, 0.0), at(100));
        assert_eq!(shown(&anew), (Some(2.0), Some(0.0)));
    }

    #[test]
    fn restarts_add_up() {
        let mut counters = Counters::default();
        let mut after = |growth: Option<i64>| {
            let set = growth.map(|restart_count| RestartStatsSet { restart_count });
            counters.of_awss_agent(&ContainerMetric { restart_stats_set: set, ..metric() }, Timestamp(0)).restart_count
        };
        let growth = [None, Some(1), Some(0), Some(2), None];
        assert_eq!(growth.map(&mut after), [None, Some(1), Some(1), Some(3), Some(3)]);
        let own = ContainerMetric { restart_stats_set: Some(RestartStatsSet { restart_count: 3 }), ..metric() };
        assert_eq!(of_own_agent(&own).restart_count, Some(3));
    }

    #[test]
    fn a_node_names_no_more_containers_than_a_task_can_have() {
        let mut counters = Counters::default();
        for number in 0..100 {
            let metric = ContainerMetric { container_name: number.to_string(), ..metric() };
            counters.of_awss_agent(&metric, Timestamp(0));
        }
        assert_eq!(counters.0.len(), CONTAINERS_MAX);
    }
}
