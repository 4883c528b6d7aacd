//! TCS: what nodes tell of themselves is acknowledged. Nobody reads it yet, so nothing of it is kept.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use estiva_agent_protocol::tcs::{self, Ack, AgentMessage, Heartbeat, ServerMessage};
use estiva_wire::server::{Refusal, Upgrade, UpgradeHandler, UpgradedIo};
use tokio::time::{MissedTickBehavior, interval};
use tracing::{debug, warn};

use crate::admission;
use crate::sessions::Sessions;
use crate::websocket::{SessionError, WebSocket};

/// AWS's agent wants a sign of life once a minute.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(30);

/// Serves TCS.
pub(crate) struct Tcs(pub Arc<Sessions>);

#[async_trait]
impl UpgradeHandler for Tcs {
    async fn admit(&self, upgrade: &Upgrade) -> Result<(), Refusal> {
        admission::instance(&self.0.store.view(), upgrade, "cluster", "containerInstance")?;
        if self.0.has_room_for_telemetry() { Ok(()) } else { Err(admission::too_many()) }
    }

    async fn serve(&self, upgrade: Upgrade, io: UpgradedIo) {
        // There was a moment ago; a node whose connection ends comes back.
        let Some(_permit) = self.0.enter_telemetry() else { return };
        let instance = upgrade.parameter("containerInstance").unwrap_or_default();
        let mut socket = WebSocket::new(io).await;
        tokio::select! {
            () = self.0.closed() => {}
            ended = acknowledge(&mut socket, instance) => match ended {
                Ok(()) => debug!(instance, "telemetry ended"),
                Err(error) => debug!(instance, error = &error as &dyn std::error::Error, "telemetry lost"),
            },
        }
        socket.close().await;
    }
}

async fn acknowledge(socket: &mut WebSocket<UpgradedIo>, instance: &str) -> Result<(), SessionError> {
    let mut heartbeats = interval(HEARTBEAT_INTERVAL);
    heartbeats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = heartbeats.tick() => {
                socket.beat(ServerMessage::Heartbeat(Heartbeat { healthy: true }).encode()).await?;
                // TCS has no answer to a heartbeat, and a node with nothing to tell may be silent.
                socket.ping().await?;
            }
            text = socket.next() => {
                let Some(text) = text? else { return Ok(()) };
                match AgentMessage::decode(tcs::envelope(&text)) {
                    Ok(message) => socket.send(answer(&message).encode()).await?,
                    Err(error) => {
                        warn!(instance, error = &error as &dyn std::error::Error, "telemetry cannot be read");
                    }
                }
            }
        }
    }
}

fn answer(message: &AgentMessage) -> ServerMessage {
    let ack = Ack { message: "ok".to_owned() };
    match message {
        AgentMessage::PublishMetrics(_) => ServerMessage::AckPublishMetric(ack),
        AgentMessage::PublishHealth(_) => ServerMessage::AckPublishHealth(ack),
        AgentMessage::PublishInstanceStatus(_) => ServerMessage::AckPublishInstanceStatus(ack),
    }
}
