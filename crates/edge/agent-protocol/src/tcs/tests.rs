//! Frames of AWS's agent 1.105.1, and what our own sends.

use serde_json::{Value, json};

use super::*;

const HEALTH: &str = include_str!("../../fixtures/aws-agent/publish-health.json");
const METRICS: &str = include_str!("../../fixtures/aws-agent/publish-metrics.json");
const IDLE: &str = include_str!("../../fixtures/aws-agent/publish-metrics-idle.json");
const STATUS: &str = include_str!("../../fixtures/aws-agent/publish-instance-status.json");

/// As the agent frames it.
fn signed(json: &str) -> String {
    format!("Authorization: AWS4-HMAC-SHA256 x\r\nHost: h\r\nX-Amz-Date: d\r\n\r\n{json}")
}

fn decode(json: &str) -> AgentMessage {
    AgentMessage::decode(envelope(&signed(json))).unwrap()
}

#[test]
fn health_of_awss_agent_is_read() {
    let AgentMessage::PublishHealth(health) = decode(HEALTH) else { panic!("not health") };
    let [task] = health.tasks.as_slice() else { panic!("not one task") };
    assert_eq!(task.task_arn, "arn:aws:ecs:us-east-1:000000000000:task/aws/ed90f5358ee1b94915a145c808872476");
    let [container] = task.containers.as_slice() else { panic!("not one container") };
    assert_eq!((container.container_name.as_str(), container.health_status.as_str()), ("c", "HEALTHY"));
}

#[test]
fn metrics_of_awss_agent_are_read() {
    let AgentMessage::PublishMetrics(metrics) = decode(METRICS) else { panic!("not metrics") };
    let container = &metrics.task_metrics[0].container_metrics[0];
    let cpu = StatsSet { min: 0.01, max: 1.75, sum: 7.5, sample_count: 15 };
    assert_eq!(container.cpu_stats_set, cpu);
    let network = container.network_stats_set.unwrap();
    assert_eq!(network.rx_bytes.max.to_bits(), 1016_f64.to_bits());
    assert_eq!(network.rx_bytes_per_second.unwrap().sum.to_bits(), 30_f64.to_bits());
    assert_eq!(container.restart_stats_set.unwrap().restart_count, 1);
    let AgentMessage::PublishMetrics(idle) = decode(IDLE) else { panic!("not metrics") };
    assert_eq!(idle.task_metrics, []);
}

#[test]
fn the_state_of_awss_agent_is_read() {
    assert!(matches!(decode(STATUS), AgentMessage::PublishInstanceStatus(_)));
}

/// What nobody reads may be of any form: AWS's, that of an older agent of ours, or one that is still to come.
#[test]
fn what_nobody_reads_makes_no_message_unreadable() {
    let times = [json!(1_796_077_641.07), json!(1_796_077_641_070_i64), json!("2026-12-01T00:00:00Z"), json!(null)];
    for time in times {
        for frame in [HEALTH, METRICS, IDLE, STATUS] {
            let mut frame: Value = serde_json::from_str(frame).unwrap();
            replace(&mut frame, &time);
            frame["message"]["metadata"] = time.clone();
            decode(&frame.to_string());
        }
    }
}

fn replace(value: &mut Value, time: &Value) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                if ["timestamp", "statusSince", "lastUpdated", "lastStatusChange"].contains(&name.as_str()) {
                    *member = time.clone();
                } else {
                    replace(member, time);
                }
            }
        }
        Value::Array(elements) => elements.iter_mut().for_each(|element| replace(element, time)),
        _ => {}
    }
}

#[test]
fn our_own_agent_writes_times_as_awss_does() {
    let container =
        ContainerHealth { status_since: Seconds::of_millis(1_796_077_856_868), ..ContainerHealth::default() };
    let task = TaskHealth { containers: vec![container], ..TaskHealth::default() };
    let timestamp = Seconds::of_millis(1_796_077_961_055);
    let health = PublishHealth { timestamp, tasks: vec![task], ..PublishHealth::default() };
    let sent: Value = serde_json::from_str(&AgentMessage::PublishHealth(health).encode()).unwrap();
    assert_eq!(sent["message"]["timestamp"], json!(1_796_077_961.055));
    assert_eq!(sent["message"]["tasks"][0]["containers"][0]["statusSince"], json!(1_796_077_856.868));
}
