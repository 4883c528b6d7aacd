//! TCS: what nodes tell of themselves and of their tasks.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use estiva_agent_protocol::tcs::{self, Ack, AgentMessage, ContainerHealth, Heartbeat, ServerMessage};
use estiva_ecs::container_instance::table::ContainerInstanceRow;
use estiva_ecs::task::health;
use estiva_planning::lifecycle::HealthStatus;
use estiva_store::Row;
use estiva_wire::server::{Refusal, Upgrade, UpgradeHandler, UpgradedIo};
use tokio::time::{MissedTickBehavior, interval};
use tracing::{debug, error, warn};

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
        let instance = admission::instance(&self.0.store.view(), upgrade, "cluster", "containerInstance")?;
        if self.0.has_room_for_telemetry(&instance.key()) { Ok(()) } else { Err(admission::too_many()) }
    }

    async fn serve(&self, upgrade: Upgrade, io: UpgradedIo) {
        // Both were so a moment ago, when the connection was admitted; a node whose connection ends comes back.
        let found = admission::instance(&self.0.store.view(), &upgrade, "cluster", "containerInstance");
        let Ok(instance) = found else { return };
        let Some(seat) = self.0.enter_telemetry(&instance.key()) else { return };
        let arn = instance.arn();
        let mut socket = WebSocket::new(io).await;
        tokio::select! {
            () = self.0.closed() => {}
            () = seat.superseded.notified() => debug!(instance = arn, "another telemetry session has taken over"),
            ended = self.listen(&mut socket, &instance) => match ended {
                Ok(()) => debug!(instance = arn, "telemetry ended"),
                Err(error) => debug!(instance = arn, error = &error as &dyn std::error::Error, "telemetry lost"),
            },
        }
        socket.close().await;
    }
}

impl Tcs {
    async fn listen(
        &self,
        socket: &mut WebSocket<UpgradedIo>,
        instance: &ContainerInstanceRow,
    ) -> Result<(), SessionError> {
        let mut heartbeats = interval(HEARTBEAT_INTERVAL);
        heartbeats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = heartbeats.tick() => {
                    socket.send(ServerMessage::Heartbeat(Heartbeat { healthy: true }).encode()).await?;
                    // TCS has no answer to a heartbeat, and a node with nothing to tell may be silent.
                    socket.probe().await?;
                }
                text = socket.next() => {
                    let Some(text) = text? else { return Ok(()) };
                    match AgentMessage::decode(tcs::envelope(&text)) {
                        Ok(message) => socket.send(self.take(instance, message).await.encode()).await?,
                        Err(error) => {
                            let error: &dyn std::error::Error = &error;
                            warn!(instance = instance.arn(), error, "telemetry cannot be read");
                        }
                    }
                }
            }
        }
    }

    async fn take(&self, instance: &ContainerInstanceRow, message: AgentMessage) -> ServerMessage {
        let ack = Ack { message: "ok".to_owned() };
        match message {
            AgentMessage::PublishMetrics(metrics) => {
                self.0.feeds.usages.take(&self.0.store.view(), instance, metrics, self.0.feeds.ambient.now());
                ServerMessage::AckPublishMetric(ack)
            }
            AgentMessage::PublishHealth(published) => {
                let tasks =
                    published.tasks.into_iter().map(|task| (task.task_arn, statuses(&task.containers))).collect();
                if let Err(error) = health::take(&self.0.store, instance, tasks, self.0.feeds.ambient.now()).await {
                    let error: &dyn std::error::Error = &error;
                    error!(instance = instance.arn(), error, "containers' health was not stored");
                }
                ServerMessage::AckPublishHealth(ack)
            }
            AgentMessage::PublishInstanceStatus(_) => ServerMessage::AckPublishInstanceStatus(ack),
        }
    }
}

fn statuses(containers: &[ContainerHealth]) -> Vec<(String, HealthStatus)> {
    let status = |it: &ContainerHealth| Some((it.container_name.clone(), HealthStatus::parse(&it.health_status)?));
    containers.iter().filter_map(status).collect()
}
