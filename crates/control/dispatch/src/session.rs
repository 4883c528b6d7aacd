//! One ACS session: a container instance is told what to run and what to stop.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use estiva_agent_protocol::acs::{
    AgentMessage, Heartbeat, ImagePulled, Nack, Notice, Payload, PullImage, ServerMessage, StartSession, TaskManifest,
    TaskStopVerification, TaskStopVerificationAck,
};
use estiva_api_ecs::types::VersionInfo;
use estiva_ecs::container_instance::table::{ContainerInstanceRow, ContainerInstanceStatus};
use estiva_ecs::container_instance::version;
use estiva_ecs::exec_session::table::ExecSessionRow;
use estiva_ecs::image_pull;
use estiva_ecs::image_pull::table::{BY_PENDING_INSTANCE, ImagePullRow, ImagePullStatus};
use estiva_ecs::task::report::note_refusal;
use estiva_store::{Row, Snapshot, StoreError};
use estiva_wire::server::{Refusal, Upgrade, UpgradeHandler, UpgradedIo};
use tokio::time::{Instant, MissedTickBehavior, interval, interval_at};
use tracing::{debug, error, info, warn};

use crate::assignments::{Assignments, Batch, message_id};
use crate::sessions::{Dirty, Inbox, Sessions};
use crate::websocket::{Io, SessionError, WebSocket};
use crate::{admission, connections, manifest};

/// AWS's agent closes a connection on which nothing has come for one to two minutes.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(20);
/// A node that does not answer is known to be silent within three of these: its tasks are to run elsewhere soon.
const PROBE_INTERVAL: Duration = Duration::from_millis(2500);

/// Well within the six hours that a role's credentials last.
const CREDENTIALS_RENEWAL: Duration = Duration::from_secs(2 * 3600);

/// Serves ACS.
pub(crate) struct Acs(pub Arc<Sessions>);

impl Acs {
    fn instance(&self, upgrade: &Upgrade) -> Result<Arc<ContainerInstanceRow>, Refusal> {
        admission::instance(&self.0.store.view(), upgrade, "clusterArn", "containerInstanceArn")
    }
}

#[async_trait]
impl UpgradeHandler for Acs {
    async fn admit(&self, upgrade: &Upgrade) -> Result<(), Refusal> {
        let instance = self.instance(upgrade)?;
        if self.0.is_alive(&instance.key()).await {
            let (instance, caller) = (instance.arn(), upgrade.caller.arn());
            warn!(
                instance,
                caller, "a second session of a node that has one was refused: its key may be in other hands"
            );
            return Err(admission::refused("The container instance has a session."));
        }
        if self.0.has_room(&instance.key()) { Ok(()) } else { Err(admission::too_many()) }
    }

    async fn serve(&self, upgrade: Upgrade, io: UpgradedIo) {
        self.speak(upgrade, io).await;
    }
}

impl Acs {
    /// Notes what the node's agent says of itself, and that it is connected.
    async fn begin(&self, instance: &str, upgrade: &Upgrade) -> Result<(), StoreError> {
        let said = |name: &str| upgrade.parameter(name).map(str::to_owned);
        let version = VersionInfo {
            agent_hash: said("agentHash"),
            agent_version: said("agentVersion"),
            docker_version: said("dockerVersion"),
        };
        version::note(&self.0.store, instance, &version).await?;
        connections::note(&self.0, instance).await
    }

    /// Speaks with the node at the other end of `io`, until one of them ends it.
    pub async fn speak<S: Io>(&self, upgrade: Upgrade, io: S) {
        // Both were so a moment ago, when the connection was admitted; a node whose connection ends comes back.
        let Ok(instance) = self.instance(&upgrade) else { return };
        let key = instance.key();
        let Some(seat) = self.0.enter(&key) else { return };
        let arn = instance.arn();
        match self.begin(&key, &upgrade).await {
            Ok(()) => {
                info!(instance = arn, "node connected");
                let socket = WebSocket::heard_by(io, seat.heard.clone()).await;
                match Session::new(Arc::clone(&self.0), instance).run(socket, &seat.inbox).await {
                    Ok(reason) => info!(instance = arn, reason, "node disconnected"),
                    Err(error) => info!(instance = arn, error = &error as &dyn std::error::Error, "node lost"),
                }
            }
            // Nothing would be placed on it.
            Err(error) => error!(
                instance = arn,
                error = &error as &dyn std::error::Error,
                "that the node is connected was not stored; it is sent away"
            ),
        }
        drop(seat);
        if let Err(error) = connections::note(&self.0, &key).await {
            error!(
                instance = arn,
                error = &error as &dyn std::error::Error,
                "that the node is disconnected was not stored"
            );
        }
    }
}

struct Session {
    sessions: Arc<Sessions>,
    instance: Arc<ContainerInstanceRow>,
    assignments: Assignments,
}

impl Session {
    fn new(sessions: Arc<Sessions>, instance: Arc<ContainerInstanceRow>) -> Self {
        let assignments = Assignments::new(instance.key(), sessions.feeds.clone());
        Self { sessions, instance, assignments }
    }

    /// Speaks with the node until one side has enough; says why.
    async fn run<S: Io>(mut self, mut socket: WebSocket<S>, inbox: &Inbox) -> Result<&'static str, SessionError> {
        let mut heartbeats = interval(HEARTBEAT_INTERVAL);
        heartbeats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut probes = interval(PROBE_INTERVAL);
        probes.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first ones come with the tasks.
        let mut renewals = interval_at(Instant::now() + CREDENTIALS_RENEWAL, CREDENTIALS_RENEWAL);
        renewals.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut manifest_due = true;
        let sessions = Arc::clone(&self.sessions);
        let closed = sessions.closed();
        tokio::pin!(closed);
        let (last, reason) = loop {
            tokio::select! {
                // In order, not at random, so that a simulation can be replayed. The node's frames come last: a node that
                // floods the session keeps nothing else from it.
                biased;
                () = &mut closed => {
                    let notice = notice("the server is going down");
                    break (Some(ServerMessage::Close(notice)), "the server is going down");
                }
                _ = heartbeats.tick() => {
                    let heartbeat = Heartbeat { healthy: true, message_id: message_id(&sessions.feeds) };
                    socket.send(ServerMessage::Heartbeat(heartbeat).encode()).await?;
                    let batches = self.assignments.retry(&sessions.store.view());
                    self.send(&mut socket, batches).await?;
                }
                _ = probes.tick() => {
                    socket.probe().await?;
                    if self.assignments.ended_by_itself() {
                        socket.send(self.manifest().encode()).await?;
                    }
                }
                _ = renewals.tick() => {
                    for message in self.assignments.credentials(&sessions.store.view()) {
                        socket.send(ServerMessage::Credentials(message).encode()).await?;
                    }
                }
                dirty = inbox.take() => {
                    if dirty.superseded {
                        break (None, "another session of the node has taken over");
                    }
                    if dirty.challenged {
                        socket.ping().await?;
                    }
                    let view = sessions.store.view();
                    if !self.is_active(&view) {
                        let notice = notice("the container instance is deregistered");
                        break (Some(ServerMessage::InactiveInstance(notice)), "deregistered");
                    }
                    let batches = self.assignments.news(&view, &dirty);
                    self.send(&mut socket, batches).await?;
                    for id in &dirty.exec_sessions {
                        if let Some(message) = start_session(&view, id) {
                            socket.send(message.encode()).await?;
                        }
                    }
                    for message in self.image_pulls(&view, &dirty) {
                        socket.send(message.encode()).await?;
                    }
                    if std::mem::take(&mut manifest_due) {
                        socket.send(self.manifest().encode()).await?;
                    }
                }
                text = socket.next() => {
                    let Some(text) = text? else { return Ok("the node closed the connection") };
                    if let Some(answer) = self.take(&text) {
                        socket.send(answer.encode()).await?;
                    }
                }
            }
        };
        if let Some(last) = last {
            socket.send(last.encode()).await?;
        }
        socket.close().await;
        Ok(reason)
    }

    async fn send<S: Io>(&self, socket: &mut WebSocket<S>, batches: Vec<Batch>) -> Result<(), SessionError> {
        for batch in batches {
            socket.send(self.payload(batch).encode()).await?;
        }
        Ok(())
    }

    fn is_active(&self, view: &Snapshot) -> bool {
        let row = view.get::<ContainerInstanceRow>(&self.instance.key());
        row.is_some_and(|row| row.status != ContainerInstanceStatus::Inactive)
    }

    fn payload(&self, batch: Batch) -> ServerMessage {
        ServerMessage::Payload(Payload {
            cluster_arn: self.cluster_arn(),
            container_instance_arn: self.instance.arn(),
            message_id: batch.message_id,
            seq_num: self.sessions.next_generation(),
            generated_at: self.sessions.feeds.ambient.now().as_millis(),
            tasks: batch.tasks,
        })
    }

    fn manifest(&self) -> ServerMessage {
        ServerMessage::TaskManifest(TaskManifest {
            message_id: message_id(&self.sessions.feeds),
            cluster_arn: self.cluster_arn(),
            container_instance_arn: self.instance.arn(),
            generated_at: self.sessions.feeds.ambient.now().as_millis(),
            timeline: self.sessions.next_generation(),
            tasks: manifest::tasks(&self.sessions.store.view(), &self.instance.key()),
        })
    }

    /// Takes in what the node says; gives the answer, if there is one.
    fn take(&mut self, text: &str) -> Option<ServerMessage> {
        let instance = self.instance.arn();
        match AgentMessage::decode(text) {
            // That the node is there was noted when the frame came.
            Ok(AgentMessage::HeartbeatAck(_) | AgentMessage::CredentialsAck(_)) => {}
            Ok(AgentMessage::Ack(ack)) => debug!(instance, message = ack.message_id, "acknowledged"),
            // At once it would be refused for the same reason: it is sent again with the next heartbeat.
            Ok(AgentMessage::Nack(nack)) => self.refused(nack),
            Ok(AgentMessage::ImagePulled(pulled)) => self.pulled(pulled),
            Ok(AgentMessage::TaskStopVerification(candidates)) => return Some(self.verify(candidates)),
            Err(error) => {
                warn!(instance, error = &error as &dyn std::error::Error, "a message from the node cannot be read");
            }
        }
        None
    }

    fn refused(&mut self, nack: Nack) {
        let Nack { message_id, reason, .. } = nack;
        let tasks = self.assignments.refuse(&message_id);
        // A node that repeats itself, or that refuses what it was not sent, makes no work.
        if tasks.is_empty() {
            return;
        }
        warn!(instance = self.instance.arn(), reason, "the node could not take its tasks; it is asked again");
        let (store, now) = (self.sessions.store.clone(), self.sessions.feeds.ambient.now());
        tokio::spawn(async move {
            if let Err(error) = note_refusal(&store, tasks, &reason, now).await {
                error!(error = &error as &dyn std::error::Error, "why the node took no tasks was not stored");
            }
        });
    }

    /// The pulls to begin: new ones, and, in a new session, those of which nothing was heard yet.
    fn image_pulls(&self, view: &Snapshot, dirty: &Dirty) -> Vec<ServerMessage> {
        let rows: Vec<Arc<ImagePullRow>> = if dirty.all {
            view.index::<ImagePullRow>(BY_PENDING_INSTANCE, &self.instance.key()).collect()
        } else {
            dirty.image_pulls.iter().filter_map(|key| view.get::<ImagePullRow>(key)).collect()
        };
        let message = |row: Arc<ImagePullRow>| {
            ServerMessage::PullImage(PullImage { pull_id: row.id.clone(), image: row.image.clone() })
        };
        rows.into_iter().map(message).collect()
    }

    fn pulled(&self, pulled: ImagePulled) {
        let ImagePulled { pull_id, image_digest, reason } = pulled;
        let status = if image_digest.is_empty() {
            ImagePullStatus::Failed(reason)
        } else {
            ImagePullStatus::Pulled(image_digest)
        };
        let (store, instance) = (self.sessions.store.clone(), Arc::clone(&self.instance));
        // What nobody waits for makes no work.
        if !image_pull::is_pending(&store.view(), &instance, &pull_id) {
            return;
        }
        tokio::spawn(async move {
            if let Err(error) = image_pull::finish(&store, &instance, &pull_id, status).await {
                error!(error = &error as &dyn std::error::Error, "what became of an image pull was not stored");
            }
        });
    }

    /// Of the tasks that the node would stop, those that it may.
    fn verify(&self, candidates: TaskStopVerification) -> ServerMessage {
        let message_id = candidates.message_id.clone();
        let stop_tasks = manifest::surplus(&self.sessions.store.view(), &self.instance.key(), candidates);
        if !stop_tasks.is_empty() {
            let instance = self.instance.arn();
            warn!(instance, tasks = stop_tasks.len(), "the node stops tasks that are none of its own");
        }
        let generated_at = self.sessions.feeds.ambient.now().as_millis();
        ServerMessage::TaskStopVerificationAck(TaskStopVerificationAck { message_id, generated_at, stop_tasks })
    }

    fn cluster_arn(&self) -> String {
        self.instance.scope.arn(format!("cluster/{}", self.instance.cluster))
    }
}

fn start_session(view: &Snapshot, id: &str) -> Option<ServerMessage> {
    let row = view.get::<ExecSessionRow>(id)?;
    Some(ServerMessage::StartSession(StartSession {
        session_id: row.id.clone(),
        task_arn: row.task_arn.clone(),
        container_name: row.container.clone(),
        command: row.command.clone(),
        log_group: row.log_group.clone().unwrap_or_default(),
    }))
}

fn notice(message: &str) -> Notice {
    Notice { message: message.to_owned() }
}
