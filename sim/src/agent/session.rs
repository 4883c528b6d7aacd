//! A node's end of an ACS session: takes tasks, and asks which of those that it runs it should not have.

use std::collections::BTreeSet;
use std::time::Duration;

use estiva_agent_protocol::acs::{
    Ack, AgentMessage, HeartbeatAck, ManifestTask, Payload, ServerMessage, TaskManifest, TaskStopVerification,
};
use futures_util::{SinkExt, StreamExt};
use tokio::sync::oneshot::Receiver;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use super::tasks::Tasks;
use super::{Node, short};
use crate::network::{Link, Wire};
use crate::plane::Refused;
use crate::world::{lock, spread};

/// A connection on which nothing came for so long is given up, as AWS's agent does.
const SILENCE_MAX_S: std::ops::Range<u64> = 60..120;

/// What a connection reads at a time.
const READ_BUFFER_BYTES: usize = 4 << 10;

/// How a session ended.
pub(super) enum Ended {
    /// The container instance was deregistered.
    Inactive,
    /// It had begun.
    Worked,
    /// It had not.
    Failed,
}

struct Session<'a> {
    node: &'a Node,
    socket: WebSocketStream<Wire>,
}

/// Speaks with the control plane until the connection ends.
pub(super) async fn run(node: &Node) -> Ended {
    let Some(instance) = node.instance() else { return Ended::Failed };
    // Both ends have to hear of each other for a connection to be.
    if !node.gets_through(Link::is_mute).await || !node.gets_through(Link::is_deaf).await {
        return Ended::Failed;
    }
    let Some((stream, refusal)) = node.0.plane.connect(&node.0.name, &instance) else { return Ended::Failed };
    let config = WebSocketConfig::default().read_buffer_size(READ_BUFFER_BYTES);
    let wire = node.0.link.attach(stream);
    let socket = WebSocketStream::from_raw_socket(wire, Role::Client, Some(config)).await;
    node.tasks(Tasks::begin_session);
    let mut session = Session { node, socket };
    let mut begun = false;
    let ended = session.listen(&mut begun).await;
    node.say(&format!("session ends: {ended:?}"));
    match ended {
        Some(End::Inactive) => Ended::Inactive,
        _ if is_inactive(refusal) => Ended::Inactive,
        _ if begun => Ended::Worked,
        _ => Ended::Failed,
    }
}

fn is_inactive(mut refusal: Receiver<Refused>) -> bool {
    refusal.try_recv() == Ok(Refused::Inactive)
}

#[derive(Debug)]
enum End {
    Inactive,
    Silent,
    Broken,
}

impl Session<'_> {
    async fn listen(&mut self, begun: &mut bool) -> Option<End> {
        loop {
            let patience = Duration::from_secs(self.node.random(SILENCE_MAX_S));
            let Ok(frame) = timeout_at(Instant::now() + patience, self.socket.next()).await else {
                return Some(End::Silent);
            };
            match frame {
                None | Some(Ok(Message::Close(_))) => return None,
                Some(Err(_)) => return Some(End::Broken),
                Some(Ok(Message::Text(text))) => {
                    *begun = true;
                    self.node.0.world.count_frame();
                    let message = match ServerMessage::decode(&text) {
                        Ok(message) => message,
                        Err(error) => {
                            self.node.0.world.violated(&format!("a node cannot read a message: {error}"));
                            continue;
                        }
                    };
                    if matches!(message, ServerMessage::InactiveInstance(_)) {
                        return Some(End::Inactive);
                    }
                    self.take(message).await?;
                }
                Some(Ok(_)) => {}
            }
        }
    }

    /// `Some` to go on.
    async fn take(&mut self, message: ServerMessage) -> Option<()> {
        match message {
            ServerMessage::Heartbeat(heartbeat) => {
                self.say(AgentMessage::HeartbeatAck(HeartbeatAck { message_id: heartbeat.message_id })).await
            }
            ServerMessage::Payload(payload) => self.take_payload(payload).await,
            ServerMessage::TaskManifest(manifest) => self.compare(manifest).await,
            ServerMessage::TaskStopVerificationAck(verified) => {
                for task in verified.stop_tasks {
                    self.node.say(&format!("stops surplus {}", short(&task.task_arn)));
                    self.node.tasks(|tasks| tasks.stop(&task.task_arn, Instant::now()));
                }
                self.node.0.news.notify_waiters();
                Some(())
            }
            _ => Some(()),
        }
    }

    /// Acknowledges only what is on the disk.
    async fn take_payload(&mut self, payload: Payload) -> Option<()> {
        self.write_disk().await;
        self.node.tasks(|tasks| tasks.check_generation(payload.seq_num));
        for task in payload.tasks {
            self.node.say(&format!("is told {} {}", short(&task.arn), task.desired_status));
            self.node.tasks(|tasks| tasks.take(&task, payload.seq_num, Instant::now()));
        }
        self.node.0.news.notify_waiters();
        let ack = Ack { message_id: payload.message_id, ..Ack::default() };
        self.say(AgentMessage::Ack(ack)).await
    }

    async fn compare(&mut self, manifest: TaskManifest) -> Option<()> {
        let wanted: BTreeSet<_> = manifest.tasks.iter().map(|task| task.task_arn.clone()).collect();
        let surplus = self.node.tasks(|tasks| tasks.compare(&wanted, manifest.timeline));
        let ack = Ack { message_id: manifest.message_id.clone(), ..Ack::default() };
        self.say(AgentMessage::Ack(ack)).await?;
        if surplus.is_empty() {
            return Some(());
        }
        let candidate = |task_arn| ManifestTask { task_arn, ..ManifestTask::default() };
        self.say(AgentMessage::TaskStopVerification(TaskStopVerification {
            message_id: manifest.message_id,
            stop_candidates: surplus.into_iter().map(candidate).collect(),
        }))
        .await
    }

    async fn write_disk(&self) {
        let wait = {
            let is_slow = self.node.chance(self.node.0.world.weather().slow_disk);
            let (least, most) = if is_slow { (1000, 12_000) } else { (1, 20) };
            spread(&mut lock(&self.node.0.rng), Duration::from_millis(least), Duration::from_millis(most))
        };
        sleep(wait).await;
    }

    async fn say(&mut self, message: AgentMessage) -> Option<()> {
        self.socket.send(Message::text(message.encode())).await.ok()
    }
}
