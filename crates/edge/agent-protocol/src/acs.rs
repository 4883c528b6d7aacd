//! ACS: what the control plane tells a node, and how the node answers.

use serde::{Deserialize, Serialize};

use crate::frame::messages;
use crate::task::{Credentials, ElasticNetworkInterface, Task};

messages! {
    /// From the control plane to the node.
    ServerMessage {
        /// Sent every half minute at least: a node closes a silent connection.
        Heartbeat(Heartbeat) = "HeartbeatMessage",
        /// Tasks to run, or, with `desiredStatus` STOPPED, to stop.
        Payload(Payload) = "PayloadMessage",
        /// Fresh credentials of a running task.
        Credentials(CredentialsMessage) = "IAMRoleCredentialsMessage",
        /// A session with a program in a container is to be opened; Estiva's own message.
        StartSession(StartSession) = "StartSessionMessage",
        /// An image is to be there before any task needs it; Estiva's own message.
        PullImage(PullImage) = "PullImageMessage",
        /// A network interface that a task is about to use.
        AttachTaskNetworkInterfaces(AttachTaskNetworkInterfaces) = "AttachTaskNetworkInterfacesMessage",
        /// Every task that the node ought to have.
        TaskManifest(TaskManifest) = "TaskManifestMessage",
        /// Which of the surplus tasks the node stops.
        TaskStopVerificationAck(TaskStopVerificationAck) = "TaskStopVerificationAck",
        /// The server ends the session.
        Close(Notice) = "CloseMessage",
        /// The container instance is deregistered.
        InactiveInstance(Notice) = "InactiveInstanceException",
        /// The server cannot go on with this session.
        Error(Notice) = "ErrorMessage",
    }
}

messages! {
    /// From the node to the control plane.
    AgentMessage {
        /// Answers [`ServerMessage::Heartbeat`].
        HeartbeatAck(HeartbeatAck) = "HeartbeatAckRequest",
        /// The message is kept on the node's disk.
        Ack(Ack) = "AckRequest",
        /// The node cannot take the message.
        Nack(Nack) = "NackRequest",
        /// Answers [`ServerMessage::Credentials`].
        CredentialsAck(CredentialsAck) = "IAMRoleCredentialsAckRequest",
        /// What became of [`ServerMessage::PullImage`].
        ImagePulled(ImagePulled) = "ImagePulledRequest",
        /// Tasks that run here and that the manifest lacks.
        TaskStopVerification(TaskStopVerification) = "TaskStopVerificationMessage",
    }
}

macro_rules! wire_structs {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        pub struct $name { $($(#[$field_doc])* pub $field: $type,)* }
    )*};
}

wire_structs! {
    /// A sign of life.
    Heartbeat {
        /// Whether the server is well.
        healthy: bool,
        /// Comes back in the acknowledgement.
        message_id: String,
    }
    /// The node saw the heartbeat.
    HeartbeatAck {
        /// Of the heartbeat.
        message_id: String,
    }
    /// Tasks for one node.
    Payload {
        /// The cluster that the container instance is registered to.
        cluster_arn: String,
        /// The node.
        container_instance_arn: String,
        /// Comes back in the acknowledgement.
        message_id: String,
        /// Grows with each payload and manifest of the instance: the generation of this set.
        seq_num: i64,
        /// Milliseconds since 1970.
        generated_at: i64,
        /// What to run or stop.
        tasks: Vec<Task>,
    }
    /// Credentials of one role of one task.
    CredentialsMessage {
        /// Comes back in the acknowledgement.
        message_id: String,
        /// The task that the credentials are for.
        task_arn: String,
        /// The cluster of the task.
        task_cluster_arn: String,
        /// `TaskApplication` or `TaskExecution`.
        role_type: String,
        /// The secret part.
        role_credentials: Option<Credentials>,
    }
    /// An image to pull.
    PullImage {
        /// Comes back with the result.
        pull_id: String,
        /// As in a task definition.
        image: String,
    }
    /// What became of a pull.
    ImagePulled {
        /// Which.
        pull_id: String,
        /// The digest of the image's manifest; empty if the pull failed.
        image_digest: String,
        /// Why it failed.
        reason: String,
    }
    /// A program to run in a container, with whoever asked for it at the other end of a WebSocket.
    StartSession {
        /// Names the session, also where the node connects to.
        session_id: String,
        /// The task.
        task_arn: String,
        /// The container's name.
        container_name: String,
        /// The program and its arguments, as a shell would split them.
        command: String,
        /// Where the session's output is written too; empty is nowhere.
        log_group: String,
    }
    /// Network interfaces of a task in network mode awsvpc.
    AttachTaskNetworkInterfaces {
        /// Comes back in the acknowledgement.
        message_id: String,
        /// The cluster that the container instance is registered to.
        cluster_arn: String,
        /// The node.
        container_instance_arn: String,
        /// The task that the interfaces are for.
        task_arn: String,
        /// The cluster of the task.
        task_cluster_arn: String,
        /// How long the node may wait for the interfaces to appear.
        wait_timeout_ms: i64,
        /// Milliseconds since 1970.
        generated_at: i64,
        /// The interfaces.
        elastic_network_interfaces: Vec<ElasticNetworkInterface>,
    }
    /// All tasks that the node ought to have.
    TaskManifest {
        /// Comes back in the acknowledgement.
        message_id: String,
        /// The cluster that the container instance is registered to.
        cluster_arn: String,
        /// The node.
        container_instance_arn: String,
        /// Milliseconds since 1970.
        generated_at: i64,
        /// One series with `seqNum` of the payloads; a manifest that is not newer than both is dropped.
        timeline: i64,
        /// What ought to be there.
        tasks: Vec<ManifestTask>,
    }
    /// One task of a manifest, or a candidate to stop.
    ManifestTask {
        /// Which task.
        task_arn: String,
        /// The cluster of the task.
        task_cluster_arn: String,
        /// RUNNING or STOPPED.
        desired_status: String,
    }
    /// The server's word on the node's stop candidates.
    TaskStopVerificationAck {
        /// Of the [`TaskStopVerification`].
        message_id: String,
        /// Milliseconds since 1970.
        generated_at: i64,
        /// Exactly these are stopped.
        stop_tasks: Vec<ManifestTask>,
    }
    /// A text for the node's log.
    Notice {
        /// What the server says.
        message: String,
    }
    /// Acknowledges a message that carries work.
    Ack {
        /// The cluster that the container instance is registered to.
        cluster: String,
        /// The node.
        container_instance: String,
        /// Of the message.
        message_id: String,
    }
    /// Refuses a message.
    Nack {
        /// The cluster that the container instance is registered to.
        cluster: String,
        /// The node.
        container_instance: String,
        /// Of the message.
        message_id: String,
        /// Why.
        reason: String,
    }
    /// The node holds the credentials.
    CredentialsAck {
        /// Of the message.
        message_id: String,
        /// Which credentials.
        credentials_id: String,
        /// When they end, ISO 8601.
        expiration: String,
    }
    /// Tasks that the node runs though the manifest lacks them.
    TaskStopVerification {
        /// Comes back in the acknowledgement.
        message_id: String,
        /// Which tasks.
        stop_candidates: Vec<ManifestTask>,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_have_the_agents_envelope() {
        let heartbeat = ServerMessage::Heartbeat(Heartbeat { healthy: true, message_id: "m1".to_owned() });
        assert_eq!(heartbeat.encode(), r#"{"type":"HeartbeatMessage","message":{"healthy":true,"messageId":"m1"}}"#);
        assert_eq!(ServerMessage::decode(&heartbeat.encode()).unwrap(), heartbeat);
    }

    #[test]
    fn an_acknowledgement_as_the_agent_sends_it_is_read() {
        let text = r#"{"type":"AckRequest","message":{"cluster":"c","containerInstance":"i","messageId":"m"}}"#;
        let expected = Ack { cluster: "c".into(), container_instance: "i".into(), message_id: "m".into() };
        assert_eq!(AgentMessage::decode(text).unwrap(), AgentMessage::Ack(expected));
    }

    #[test]
    fn what_awss_agent_answers_is_read() {
        for (kind, frame) in [
            ("AckRequest", include_str!("../fixtures/aws-agent/ack.json")),
            ("NackRequest", include_str!("../fixtures/aws-agent/nack.json")),
            ("HeartbeatAckRequest", include_str!("../fixtures/aws-agent/heartbeat-ack.json")),
            ("IAMRoleCredentialsAckRequest", include_str!("../fixtures/aws-agent/credentials-ack.json")),
            ("TaskStopVerificationMessage", include_str!("../fixtures/aws-agent/task-stop-verification.json")),
        ] {
            assert_eq!(AgentMessage::decode(frame).unwrap().kind(), kind);
        }
    }

    #[test]
    fn what_is_no_message_is_refused_by_name() {
        assert!(matches!(AgentMessage::decode("{"), Err(crate::FrameError::Envelope(_))));
        assert!(matches!(
            AgentMessage::decode(r#"{"type":"NewThing","message":{}}"#),
            Err(crate::FrameError::UnknownType(kind)) if kind == "NewThing"
        ));
        assert!(matches!(
            AgentMessage::decode(r#"{"type":"AckRequest","message":{"cluster":7}}"#),
            Err(crate::FrameError::Message { kind, .. }) if kind == "AckRequest"
        ));
        let large =
            format!(r#"{{"type":"AckRequest","message":{{"cluster":"{}"}}}}"#, "x".repeat(crate::FRAME_BYTES_MAX));
        assert!(matches!(AgentMessage::decode(&large), Err(crate::FrameError::TooLarge(_))));
    }
}
