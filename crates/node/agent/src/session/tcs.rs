//! The session that takes telemetry away: what containers use, how they are, and that the node is well.

use std::time::Duration;

use estiva_agent_protocol::tcs::{
    AgentMessage, InstanceStatus, InstanceStatusMetadata, Metadata, PublishHealth, PublishInstanceStatus,
    PublishMetrics, Seconds, ServerMessage, TASKS_MAX, TaskMetric,
};
use estiva_model::{Timestamp, hex_id};
use tokio::time::{MissedTickBehavior, interval};
use tracing::debug;

use super::SessionError;
use super::connection::Connection;
use super::measure::{Measurer, health};
use crate::engine::{ControlPlane, Engine, TaskView};
use crate::registration::{self, Registration};

/// The server speaks at least every 30 s.
const SILENCE_MAX: Duration = Duration::from_secs(90);
/// As AWS's agent does.
const PUBLISH_INTERVAL: Duration = Duration::from_secs(20);

/// Connects, and publishes until the connection ends.
pub(crate) async fn run(
    control_plane: &ControlPlane,
    registration: &Registration,
    engine: &Engine,
) -> Result<(), SessionError> {
    let endpoint = registration::discover(&control_plane.client, registration).await?.tcs;
    let query = [
        ("cluster", registration.cluster.as_str()),
        ("containerInstance", &registration.arn),
        ("agentVersion", env!("CARGO_PKG_VERSION")),
    ];
    let mut connection = Connection::open(control_plane, &endpoint, &query, SILENCE_MAX).await?;
    let started = Timestamp::now();
    let mut measurer = Measurer::default();
    let mut ticks = interval(PUBLISH_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                let tasks = engine.views();
                let usage;
                (measurer, usage) = measure(measurer, tasks.clone()).await;
                for message in metrics(registration, &usage, tasks.is_empty()) {
                    connection.send(message.encode()).await?;
                }
                publish_health(&mut connection, registration, &tasks).await?;
                connection.send(instance_status(registration, started).encode()).await?;
            }
            tasks = engine.health_changed() => {
                publish_health(&mut connection, registration, &tasks).await?;
            }
            text = connection.next() => {
                let Some(text) = text? else { return Ok(()) };
                if let Err(error) = ServerMessage::decode(&text) {
                    debug!(error = &error as &dyn std::error::Error, "a telemetry message cannot be read");
                }
            }
        }
    }
}

async fn measure(mut measurer: Measurer, tasks: Vec<TaskView>) -> (Measurer, Vec<TaskMetric>) {
    let work = move || {
        let usage = measurer.measure(&tasks);
        (measurer, usage)
    };
    // It fails when the runtime is going down.
    tokio::task::spawn_blocking(work).await.unwrap_or_default()
}

/// Publications of at most ten tasks each; one, without any, if there are none.
fn metrics(registration: &Registration, tasks: &[TaskMetric], idle: bool) -> Vec<AgentMessage> {
    let mut pages: Vec<Vec<TaskMetric>> = tasks.chunks(TASKS_MAX).map(<[TaskMetric]>::to_vec).collect();
    if pages.is_empty() {
        pages.push(Vec::new());
    }
    let last = pages.len() - 1;
    let message = |(number, task_metrics)| {
        AgentMessage::PublishMetrics(PublishMetrics {
            metadata: metadata(registration, idle, number == last),
            timestamp: now(),
            task_metrics,
        })
    };
    pages.into_iter().enumerate().map(message).collect()
}

async fn publish_health(
    connection: &mut Connection,
    registration: &Registration,
    tasks: &[TaskView],
) -> Result<(), SessionError> {
    let healths = health(tasks);
    let pages = healths.chunks(TASKS_MAX);
    let last = pages.len().saturating_sub(1);
    for (number, page) in pages.enumerate() {
        let message = AgentMessage::PublishHealth(PublishHealth {
            metadata: metadata(registration, false, number == last),
            timestamp: now(),
            tasks: page.to_vec(),
        });
        connection.send(message.encode()).await?;
    }
    Ok(())
}

fn now() -> Seconds {
    Seconds::of_millis(Timestamp::now().as_millis())
}

fn metadata(registration: &Registration, idle: bool, fin: bool) -> Metadata {
    Metadata {
        cluster: registration.cluster.clone(),
        container_instance: registration.arn.clone(),
        message_id: hex_id(&mut rand::rng(), 32),
        idle,
        fin,
    }
}

fn instance_status(registration: &Registration, since: Timestamp) -> AgentMessage {
    let status = InstanceStatus {
        kind: "ContainerRuntime".to_owned(),
        status: "OK".to_owned(),
        last_updated: now(),
        last_status_change: Seconds::of_millis(since.as_millis()),
    };
    AgentMessage::PublishInstanceStatus(PublishInstanceStatus {
        metadata: InstanceStatusMetadata {
            cluster: registration.cluster.clone(),
            container_instance: registration.arn.clone(),
            request_id: hex_id(&mut rand::rng(), 32),
        },
        statuses: vec![status],
        timestamp: now(),
    })
}
