//! One ACS session: a container instance is told what to run and what to stop.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use estiva_agent_protocol::acs::{
    AgentMessage, Heartbeat, ManifestTask, Notice, Payload, ServerMessage, TaskManifest, TaskStopVerification,
    TaskStopVerificationAck,
};
use estiva_ecs::container_instance::table::ContainerInstanceRow;
use estiva_ecs::task::table::{BY_CONTAINER_INSTANCE, TaskRow, TaskStatusRow};
use estiva_model::{Timestamp, hex_id};
use estiva_planning::lifecycle::{DesiredStatus, TaskStatus};
use estiva_store::{Row, Snapshot};
use estiva_wire::server::{Refusal, Upgrade, UpgradeHandler, UpgradedIo};
use tokio::time::{Interval, MissedTickBehavior, interval};
use tracing::{debug, info, warn};

use crate::sessions::{Dirty, Inbox, Sessions};
use crate::websocket::{SessionError, WebSocket};
use crate::{admission, connections, payload};

/// AWS's agent closes a connection on which nothing has come for one to two minutes.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(20);
/// A node that leaves so many heartbeats unanswered is not there.
const UNANSWERED_MAX: u32 = 2;
/// So many tasks a payload keep it below what a frame may have.
const TASKS_A_PAYLOAD: usize = 10;

/// Serves ACS.
pub(crate) struct Acs(pub Arc<Sessions>);

#[async_trait]
impl UpgradeHandler for Acs {
    async fn admit(&self, upgrade: &Upgrade) -> Result<(), Refusal> {
        admission::instance(&self.0.store.view(), upgrade, "containerInstanceArn").map(drop)
    }

    async fn serve(&self, upgrade: Upgrade, io: UpgradedIo) {
        let view = self.0.store.view();
        // It was there a moment ago, when the connection was admitted.
        let Ok(instance) = admission::instance(&view, &upgrade, "containerInstanceArn") else { return };
        let key = instance.key();
        let Some((id, inbox)) = self.0.enter(&key) else {
            warn!(instance = instance.arn(), "too many sessions: the node has to come back");
            return;
        };
        connections::set(&self.0.store, &key, true).await;
        info!(instance = instance.arn(), "node connected");
        let socket = WebSocket::new(io).await;
        let session = Session { sessions: Arc::clone(&self.0), instance, sent: HashMap::new(), unanswered: 0 };
        let arn = session.instance.arn();
        match session.run(socket, &inbox).await {
            Ok(()) => info!(instance = arn, "node disconnected"),
            Err(error) => info!(instance = arn, error = &error as &dyn std::error::Error, "node lost"),
        }
        if self.0.leave(&key, id) {
            connections::set(&self.0.store, &key, false).await;
        }
    }
}

struct Session {
    sessions: Arc<Sessions>,
    instance: Arc<ContainerInstanceRow>,
    /// What was last sent of each task, by key; tasks that have ended are not in it.
    sent: HashMap<String, DesiredStatus>,
    unanswered: u32,
}

impl Session {
    async fn run(mut self, mut socket: WebSocket, inbox: &Inbox) -> Result<(), SessionError> {
        let mut heartbeats: Interval = interval(HEARTBEAT_INTERVAL);
        heartbeats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut manifest_due = true;
        let sessions = Arc::clone(&self.sessions);
        let closed = sessions.closed();
        tokio::pin!(closed);
        loop {
            tokio::select! {
                dirty = inbox.take() => {
                    if dirty.superseded {
                        socket.close().await;
                        return Ok(());
                    }
                    for message in self.assignments(&dirty) {
                        socket.send(message.encode()).await?;
                    }
                    if std::mem::take(&mut manifest_due) {
                        socket.send(self.manifest().encode()).await?;
                    }
                }
                _ = heartbeats.tick() => {
                    if self.unanswered >= UNANSWERED_MAX {
                        return Err(SessionError::Silent);
                    }
                    self.unanswered += 1;
                    let heartbeat = Heartbeat { healthy: true, message_id: message_id() };
                    socket.send(ServerMessage::Heartbeat(heartbeat).encode()).await?;
                }
                text = socket.next() => {
                    let Some(text) = text? else { return Ok(()) };
                    if let Some(answer) = self.take(&text) {
                        socket.send(answer.encode()).await?;
                    }
                }
                () = &mut closed => {
                    let notice = Notice { message: "the server is going down".to_owned() };
                    socket.send(ServerMessage::Close(notice).encode()).await?;
                    socket.close().await;
                    return Ok(());
                }
            }
        }
    }

    /// What the node has to be told so that it knows what is wanted of the tasks in question.
    fn assignments(&mut self, dirty: &Dirty) -> Vec<ServerMessage> {
        let view = self.sessions.store.view();
        let rows: Vec<Arc<TaskRow>> = if dirty.all {
            self.sent.clear();
            view.index::<TaskRow>(BY_CONTAINER_INSTANCE, &self.instance.key()).collect()
        } else {
            dirty.tasks.iter().filter_map(|key| view.get::<TaskRow>(key)).collect()
        };
        let mut tasks = Vec::new();
        for row in rows {
            let key = row.key();
            let Some(wanted) = self.news_of(&view, &row, &key) else { continue };
            let Some(task) = payload::task(&view, &row, wanted) else {
                warn!(task = row.arn(), "the task's definition is gone; its node is not told of it");
                continue;
            };
            self.sent.insert(key, wanted);
            tasks.push(task);
        }
        tasks.chunks(TASKS_A_PAYLOAD).map(|tasks| self.payload(tasks.to_vec())).collect()
    }

    /// What the node has to be told of a task; `None` if it knows.
    fn news_of(&mut self, view: &Snapshot, row: &TaskRow, key: &str) -> Option<DesiredStatus> {
        let status = view.get::<TaskStatusRow>(key)?.state.last_status;
        if status == TaskStatus::Stopped {
            self.sent.remove(key);
            return None;
        }
        // A task that runs is known to its node.
        let known = row.desired_status == DesiredStatus::Running && status >= TaskStatus::Running;
        let news = !known && self.sent.get(key) != Some(&row.desired_status);
        news.then_some(row.desired_status)
    }

    fn payload(&self, tasks: Vec<estiva_agent_protocol::task::Task>) -> ServerMessage {
        ServerMessage::Payload(Payload {
            cluster_arn: self.cluster_arn(),
            container_instance_arn: self.instance.arn(),
            message_id: message_id(),
            seq_num: self.sessions.next_generation(),
            generated_at: Timestamp::now().as_millis(),
            tasks,
        })
    }

    fn manifest(&self) -> ServerMessage {
        let view = self.sessions.store.view();
        let rows = view.index::<TaskRow>(BY_CONTAINER_INSTANCE, &self.instance.key());
        let live = rows.filter(|row| is_wanted(&view, row));
        ServerMessage::TaskManifest(TaskManifest {
            message_id: message_id(),
            cluster_arn: self.cluster_arn(),
            container_instance_arn: self.instance.arn(),
            generated_at: Timestamp::now().as_millis(),
            timeline: self.sessions.next_generation(),
            tasks: live.map(|row| manifest_task(&row)).collect(),
        })
    }

    fn take(&mut self, text: &str) -> Option<ServerMessage> {
        let instance = self.instance.arn();
        match AgentMessage::decode(text) {
            Ok(AgentMessage::HeartbeatAck(_)) => self.unanswered = 0,
            Ok(AgentMessage::Ack(ack)) => debug!(instance, message = ack.message_id, "acknowledged"),
            // It is sent again when the node connects again; sent at once, it would be refused for the same reason.
            Ok(AgentMessage::Nack(nack)) => warn!(instance, reason = nack.reason, "the node refuses tasks"),
            Ok(AgentMessage::CredentialsAck(_)) => {}
            Ok(AgentMessage::TaskStopVerification(candidates)) => return Some(self.verify(candidates)),
            Err(error) => {
                warn!(instance, error = &error as &dyn std::error::Error, "a message from the node cannot be read");
            }
        }
        None
    }

    /// Of the tasks that the node would stop, those that it may.
    fn verify(&self, candidates: TaskStopVerification) -> ServerMessage {
        let view = self.sessions.store.view();
        let of_instance = view.index::<TaskRow>(BY_CONTAINER_INSTANCE, &self.instance.key());
        let wanted: Vec<String> = of_instance.filter(|row| is_wanted(&view, row)).map(|row| row.arn()).collect();
        let surplus = candidates.stop_candidates.into_iter().filter(|task| !wanted.contains(&task.task_arn));
        let stop_tasks: Vec<_> = surplus.collect();
        for task in &stop_tasks {
            warn!(instance = self.instance.arn(), task = task.task_arn, "the node has a task that is none of its own");
        }
        ServerMessage::TaskStopVerificationAck(TaskStopVerificationAck {
            message_id: candidates.message_id,
            generated_at: Timestamp::now().as_millis(),
            stop_tasks,
        })
    }

    fn cluster_arn(&self) -> String {
        self.instance.scope.arn(format!("cluster/{}", self.instance.cluster))
    }
}

fn is_wanted(view: &Snapshot, row: &TaskRow) -> bool {
    let status = view.get::<TaskStatusRow>(&row.key());
    status.is_some_and(|row| row.state.last_status != TaskStatus::Stopped)
}

fn manifest_task(row: &TaskRow) -> ManifestTask {
    ManifestTask {
        task_arn: row.arn(),
        task_cluster_arn: row.scope.arn(format!("cluster/{}", row.cluster)),
        desired_status: row.desired_status.as_str().to_owned(),
    }
}

fn message_id() -> String {
    hex_id(&mut rand::rng(), 32)
}
