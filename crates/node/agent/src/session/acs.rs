//! The session that brings tasks.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use estiva_agent_protocol::acs::{
    Ack, AgentMessage, CredentialsAck, HeartbeatAck, ImagePulled, ManifestTask, Nack, Payload, PullImage,
    ServerMessage, TaskManifest, TaskStopVerification,
};
use estiva_planning::lifecycle::DesiredStatus;
use tokio::task::{JoinHandle, JoinSet};
use tracing::{debug, info, warn};

use super::SessionError;
use super::connection::Connection;
use crate::engine::{ControlPlane, Engine, with_sources};
use crate::exec;
use crate::registration::{self, Registration};

/// The server probes the connection every few seconds.
const SILENCE_MAX: Duration = Duration::from_secs(20);
/// Messages that wait for one that is being worked on; beyond that nothing is read, and the server sees that too.
const WAITING_MAX: usize = 32;

/// What outlives one connection.
pub(crate) struct AcsSession {
    control_plane: ControlPlane,
    registration: Registration,
    engine: Engine,
    /// The newest generation of work that was seen in this connection: a manifest that is not newer is dropped. Of another
    /// connection's nothing follows: a control plane whose store was restored counts from an earlier point.
    newest: i64,
    /// Work that writes to disk, however long that takes; it gives what is to be answered. One at a time.
    work: Option<JoinHandle<Option<AgentMessage>>>,
    /// Images that are pulled for nobody yet.
    pulls: JoinSet<ImagePulled>,
}

impl AcsSession {
    /// Not connected yet.
    pub fn new(control_plane: ControlPlane, registration: Registration, engine: Engine) -> Self {
        Self { control_plane, registration, engine, newest: 0, work: None, pulls: JoinSet::new() }
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
        let mut connection = Connection::open(&self.control_plane, &endpoint, &query, SILENCE_MAX).await?;
        info!(endpoint, "connected to the control plane");
        self.newest = 0;
        let mut connected = Some(connected);
        let mut waiting = VecDeque::new();
        loop {
            while self.work.is_none()
                && let Some(message) = waiting.pop_front()
            {
                for answer in self.take(message)? {
                    connection.send(answer.encode()).await?;
                }
            }
            // It is read on while the disk is slow: a node that answers is not taken for lost.
            tokio::select! {
                text = connection.next(), if waiting.len() < WAITING_MAX => {
                    let Some(text) = text? else { return Ok(()) };
                    // Whoever sends has noted the connection: tasks can be placed here from now on.
                    if let Some(connected) = connected.take() {
                        self.engine.admitted();
                        connected();
                    }
                    match ServerMessage::decode(&text) {
                        Ok(message) => waiting.push_back(message),
                        Err(error) => {
                            let error: &dyn std::error::Error = &error;
                            warn!(error, "a message from the control plane cannot be read");
                        }
                    }
                }
                answer = done(&mut self.work) => if let Some(answer) = answer {
                    connection.send(answer.encode()).await?;
                },
                Some(pulled) = self.pulls.join_next() => if let Ok(pulled) = pulled {
                    connection.send(AgentMessage::ImagePulled(pulled).encode()).await?;
                },
            }
        }
    }

    fn take(&mut self, message: ServerMessage) -> Result<Vec<AgentMessage>, SessionError> {
        Ok(match message {
            ServerMessage::Heartbeat(heartbeat) => {
                vec![AgentMessage::HeartbeatAck(HeartbeatAck { message_id: heartbeat.message_id })]
            }
            ServerMessage::Payload(payload) => {
                self.take_payload(payload);
                Vec::new()
            }
            ServerMessage::TaskManifest(manifest) => self.compare(&manifest),
            ServerMessage::TaskStopVerificationAck(verified) => {
                self.stop(verified.stop_tasks);
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
            ServerMessage::AttachTaskNetworkInterfaces(attach) => vec![ack(&self.registration, attach.message_id)],
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
    fn take_payload(&mut self, payload: Payload) {
        self.newest = self.newest.max(payload.seq_num);
        let (engine, registration) = (self.engine.clone(), self.registration.clone());
        self.work = Some(tokio::task::spawn_blocking(move || {
            let Payload { message_id, tasks, .. } = payload;
            // One that cannot be taken keeps no other from being taken, and above all from being stopped.
            let refused: Vec<_> = tasks.into_iter().filter_map(|task| engine.accept(task).err()).collect();
            let Some(error) = refused.first() else { return Some(ack(&registration, message_id)) };
            warn!(tasks = refused.len(), error = error as &dyn std::error::Error, "a part of a payload was not taken");
            Some(AgentMessage::Nack(Nack {
                cluster: registration.cluster,
                container_instance: registration.arn,
                message_id,
                reason: format!("the node cannot keep the task: {}", with_sources(error)),
            }))
        }));
    }

    fn stop(&mut self, tasks: Vec<ManifestTask>) {
        let engine = self.engine.clone();
        self.work = Some(tokio::task::spawn_blocking(move || {
            for ManifestTask { task_arn, .. } in tasks {
                warn!(task = task_arn, "the control plane has no such task for this node; it is stopped");
                if let Err(error) = engine.stop_known(&task_arn) {
                    // It is named again with the next manifest.
                    warn!(
                        task = task_arn,
                        error = &error as &dyn std::error::Error,
                        "that it has to stop was not kept"
                    );
                }
            }
            None
        }));
    }

    /// Names the tasks that run here though the manifest lacks them.
    fn compare(&mut self, manifest: &TaskManifest) -> Vec<AgentMessage> {
        if manifest.timeline <= self.newest {
            debug!(timeline = manifest.timeline, newest = self.newest, "a manifest is out of date");
            return Vec::new();
        }
        self.newest = manifest.timeline;
        let wanted: HashSet<&str> = manifest.tasks.iter().map(|task| task.task_arn.as_str()).collect();
        let surplus = self.engine.live_tasks().into_iter().filter(|(arn, _)| !wanted.contains(arn.as_str()));
        let candidate = |(task_arn, task_cluster_arn)| ManifestTask {
            task_arn,
            task_cluster_arn,
            desired_status: DesiredStatus::Stopped.as_str().to_owned(),
        };
        let stop_candidates: Vec<_> = surplus.map(candidate).collect();
        let message_id = manifest.message_id.clone();
        let mut answers = vec![ack(&self.registration, message_id.clone())];
        if !stop_candidates.is_empty() {
            answers.push(AgentMessage::TaskStopVerification(TaskStopVerification { message_id, stop_candidates }));
        }
        answers
    }
}

fn ack(registration: &Registration, message_id: String) -> AgentMessage {
    let Registration { arn, cluster } = registration.clone();
    AgentMessage::Ack(Ack { cluster, container_instance: arn, message_id })
}

/// What work that is done has to answer; without work it waits for ever. Cancelled, it has lost nothing.
async fn done(work: &mut Option<JoinHandle<Option<AgentMessage>>>) -> Option<AgentMessage> {
    let Some(running) = work else { return std::future::pending().await };
    // It panicked, which the panic hook has reported, or the runtime is going down: what it was for comes again.
    let answer = running.await.unwrap_or_default();
    *work = None;
    answer
}
