//! The session that takes telemetry away: that the node is well.

use std::time::Duration;

use estiva_agent_protocol::tcs::{
    AgentMessage, InstanceStatus, InstanceStatusMetadata, Metadata, PublishInstanceStatus, PublishMetrics,
    ServerMessage,
};
use estiva_model::{Timestamp, hex_id};
use tokio::time::{MissedTickBehavior, interval};
use tracing::debug;

use super::SessionError;
use super::connection::Connection;
use crate::engine::{ControlPlane, Engine};
use crate::registration::{self, Registration};

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
    let mut connection = Connection::open(control_plane, &endpoint, &query).await?;
    let started = Timestamp::now();
    let mut ticks = interval(PUBLISH_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                connection.send(metrics(registration, engine).encode()).await?;
                connection.send(instance_status(registration, started).encode()).await?;
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

fn metrics(registration: &Registration, engine: &Engine) -> AgentMessage {
    AgentMessage::PublishMetrics(PublishMetrics {
        metadata: Metadata {
            cluster: registration.cluster.clone(),
            container_instance: registration.arn.clone(),
            message_id: hex_id(&mut rand::rng(), 32),
            idle: engine.is_idle(),
            fin: true,
        },
        timestamp: Timestamp::now().as_millis(),
        task_metrics: Vec::new(),
    })
}

fn instance_status(registration: &Registration, since: Timestamp) -> AgentMessage {
    let status = InstanceStatus {
        kind: "ContainerRuntime".to_owned(),
        status: "OK".to_owned(),
        last_updated: Timestamp::now().as_millis(),
        last_status_change: since.as_millis(),
    };
    AgentMessage::PublishInstanceStatus(PublishInstanceStatus {
        metadata: InstanceStatusMetadata {
            cluster: registration.cluster.clone(),
            container_instance: registration.arn.clone(),
            request_id: hex_id(&mut rand::rng(), 32),
        },
        statuses: vec![status],
        timestamp: Timestamp::now().as_millis(),
    })
}
