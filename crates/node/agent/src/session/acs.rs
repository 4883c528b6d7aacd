//! The session that brings tasks.

use estiva_agent_protocol::acs::{
    Ack, AgentMessage, CredentialsAck, HeartbeatAck, ImagePulled, ManifestTask, Nack, Payload, PullImage,
    ServerMessage, TaskManifest, TaskStopVerification,
};
use estiva_planning::lifecycle::DesiredStatus;
use tokio::task::JoinSet;
use tracing::{debug, info, warn};

use super::SessionError;
use super::connection::Connection;
use crate::engine::{ControlPlane, Engine, with_sources};
use crate::exec;
use crate::registration::{self, Registration};

/// What outlives one connection.
pub(crate) struct AcsSession {
    control_plane: ControlPlane,
    registration: Registration,
    engine: Engine,
    /// The newest generation of work that was seen: a manifest that is not newer is dropped.
    newest: i64,
    /// Images that are pulled for nobody yet.
    pulls: JoinSet<ImagePulled>,
}

impl AcsSession {
    /// Not connected yet.
    pub fn new(control_plane: ControlPlane, registration: Registration, engine: Engine) -> Self {
        Self { control_plane, registration, engine, newest: 0, pulls: JoinSet::new() }
    }

    /// Connects, and does what the control plane says until it closes the connection. `connected` is called when it has
    /// said something: it knows of the connection then.
    pub async fn run(&mut self, connected: impl FnOnce()) -> Result<(), SessionError> {
        let endpoint = registration::discover(&self.control_plane.client, &self.registration).await?.acs;
        let query = [
            ("clusterArn", self.registration.cluster.as_str()),
            ("containerInstanceArn", &self.registration.arn),
            ("agentVersion", env!("CARGO_PKG_VERSION")),
            ("seqNum", "1"),
            ("protocolVersion", "2"),
            ("sendCredentials", "true"),
        ];
        let mut connection = Connection::open(&self.control_plane, &endpoint, &query).await?;
        info!(endpoint, "connected to the control plane");
        let mut connected = Some(connected);
        loop {
            let text = tokio::select! {
                text = connection.next() => text?,
                Some(pulled) = self.pulls.join_next() => {
                    if let Ok(pulled) = pulled {
                        connection.send(AgentMessage::ImagePulled(pulled).encode()).await?;
                    }
                    continue;
                }
            };
            let Some(text) = text else { return Ok(()) };
            // Whoever sends has noted the connection: tasks can be placed here from now on.
            if let Some(connected) = connected.take() {
                connected();
            }
            let message = match ServerMessage::decode(&text) {
                Ok(message) => message,
                Err(error) => {
                    warn!(error = &error as &dyn std::error::Error, "a message from the control plane cannot be read");
                    continue;
                }
            };
            for answer in self.take(message).await? {
                connection.send(answer.encode()).await?;
            }
        }
    }

    async fn take(&mut self, message: ServerMessage) -> Result<Vec<AgentMessage>, SessionError> {
        Ok(match message {
            ServerMessage::Heartbeat(heartbeat) => {
                vec![AgentMessage::HeartbeatAck(HeartbeatAck { message_id: heartbeat.message_id })]
            }
            ServerMessage::Payload(payload) => vec![self.take_payload(payload).await],
            ServerMessage::TaskManifest(manifest) => self.compare(manifest),
            ServerMessage::TaskStopVerificationAck(verified) => {
                for task in verified.stop_tasks {
                    warn!(task = task.task_arn, "the control plane has no such task for this node; it is stopped");
                    // It is named again with the next manifest.
                    let _ = self.in_engine(move |engine| engine.stop_known(&task.task_arn)).await;
                }
                Vec::new()
            }
            ServerMessage::InactiveInstance(_) => return Err(SessionError::Inactive),
            ServerMessage::Close(notice) | ServerMessage::Error(notice) => {
                info!(notice = notice.message, "the control plane ends the session");
                Vec::new()
            }
            ServerMessage::PullImage(PullImage { pull_id, image }) => {
                let engine = self.engine.clone();
                self.pulls.spawn(async move {
                    let (image_digest, reason) = match engine.pull(&image).await {
                        Ok(digest) => (digest, String::new()),
                        Err(reason) => (String::new(), reason),
                    };
                    ImagePulled { pull_id, image_digest, reason }
                });
                Vec::new()
            }
            ServerMessage::StartSession(request) => {
                tokio::spawn(exec::serve(self.control_plane.clone(), self.engine.clone(), request));
                Vec::new()
            }
            ServerMessage::AttachTaskNetworkInterfaces(attach) => vec![self.ack(attach.message_id)],
            ServerMessage::Credentials(message) => {
                let credentials = message.role_credentials.filter(|_| message.role_type == "TaskApplication");
                let Some(credentials) = credentials else { return Ok(Vec::new()) };
                let ack = CredentialsAck {
                    message_id: message.message_id,
                    credentials_id: credentials.credentials_id.clone(),
                    expiration: credentials.expiration.clone(),
                };
                self.engine.renew_credentials(&message.task_arn, credentials);
                vec![AgentMessage::CredentialsAck(ack)]
            }
        })
    }

    /// Acknowledges once all the tasks are on disk.
    async fn take_payload(&mut self, payload: Payload) -> AgentMessage {
        self.newest = self.newest.max(payload.seq_num);
        let tasks = payload.tasks;
        let taken = self.in_engine(move |engine| tasks.into_iter().try_for_each(|task| engine.accept(task))).await;
        let Err(reason) = taken else { return self.ack(payload.message_id) };
        AgentMessage::Nack(Nack {
            cluster: self.registration.cluster.clone(),
            container_instance: self.registration.arn.clone(),
            message_id: payload.message_id,
            reason: format!("the node cannot keep the task: {reason}"),
        })
    }

    /// Names the tasks that run here though the manifest lacks them.
    fn compare(&mut self, manifest: TaskManifest) -> Vec<AgentMessage> {
        if manifest.timeline <= self.newest {
            debug!(timeline = manifest.timeline, newest = self.newest, "a manifest is out of date");
            return Vec::new();
        }
        self.newest = manifest.timeline;
        let wanted = |arn: &str| manifest.tasks.iter().any(|task| task.task_arn == arn);
        let surplus = self.engine.live_tasks().into_iter().filter(|(arn, _)| !wanted(arn));
        let candidate = |(task_arn, task_cluster_arn)| ManifestTask {
            task_arn,
            task_cluster_arn,
            desired_status: DesiredStatus::Stopped.as_str().to_owned(),
        };
        let stop_candidates: Vec<_> = surplus.map(candidate).collect();
        let message_id = manifest.message_id.clone();
        let mut answers = vec![self.ack(manifest.message_id)];
        if !stop_candidates.is_empty() {
            answers.push(AgentMessage::TaskStopVerification(TaskStopVerification { message_id, stop_candidates }));
        }
        answers
    }

    fn ack(&self, message_id: String) -> AgentMessage {
        AgentMessage::Ack(Ack {
            cluster: self.registration.cluster.clone(),
            container_instance: self.registration.arn.clone(),
            message_id,
        })
    }

    /// Does work that writes to disk; an error is why it was not done.
    async fn in_engine<E>(&self, work: impl FnOnce(&Engine) -> Result<(), E> + Send + 'static) -> Result<(), String>
    where
        E: std::error::Error + Send + 'static,
    {
        let engine = self.engine.clone();
        match tokio::task::spawn_blocking(move || work(&engine)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                warn!(error = &error as &dyn std::error::Error, "what the control plane asked for was not taken");
                Err(with_sources(&error))
            }
            // It panicked, which the panic hook has reported, or the runtime is going down.
            Err(_) => Err("the agent is going down".to_owned()),
        }
    }
}
