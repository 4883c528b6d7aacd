//! A server with ECS's tables and Dispatch, and nodes that connect to it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use estiva_agent_protocol::acs::{Ack, AgentMessage, Heartbeat, Payload, ServerMessage};
use estiva_agent_protocol::{ACS_PATH, TCS_PATH};
use estiva_api_ecs::Ecs;
use estiva_ecs::container_instance::table::ConnectionRow;
use estiva_ecs::{EcsService, Options};
use estiva_model::{AccountId, Ambient, Arn, Caller, Principal, Region, Timestamp};
use estiva_schema::{ApiError, Authorizer, Request, json as codec};
use estiva_store::backend::Memory;
use estiva_store::{Schema, Store};
use estiva_wire::client::signed_upgrade_request;
use estiva_wire::server::{Edge, Limits, Listener, serve};
use estiva_wire::sigv4::{Credential, CredentialSource, Secret, SigningCredentials, Verification, Verifier};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::Dispatch;
use crate::sessions::{SESSIONS_MAX, Sessions};

/// No bound that is measured: it only ends a test that would hang.
const PATIENCE: Duration = Duration::from_secs(60);
const SECRET: &str = "secret";
const ACCOUNT: &str = "000000000000";

/// A running server.
pub(crate) struct Bench {
    pub store: Store,
    pub dispatch: Dispatch,
    ecs: EcsService,
    address: SocketAddr,
    tasks: Vec<JoinHandle<()>>,
}

/// The access key id names who signs: `owner`, or a node.
struct Keys;

impl CredentialSource for Keys {
    fn find(&self, access_key_id: &str, _: Option<&str>) -> Option<Credential> {
        Some(Credential {
            secret: Secret::new(SECRET),
            session_token: None,
            account: AccountId::parse(ACCOUNT).unwrap(),
            principal: caller(access_key_id).principal,
            expires: None,
        })
    }
}

struct All;

impl Authorizer for All {
    fn authorize(&self, _: &Caller, _: &str) -> Result<(), ApiError> {
        Ok(())
    }
}

fn caller(name: &str) -> Caller {
    let principal = match name {
        "owner" => Principal::Root,
        node => Principal::AssumedRole { role: "node".to_owned(), session: node.to_owned() },
    };
    Caller {
        account: AccountId::parse(ACCOUNT).unwrap(),
        region: Region::default(),
        principal,
        access_key_id: name.to_owned(),
    }
}

macro_rules! operations {
    ($($operation:ident)*) => {
        impl Bench {
            $(pub async fn $operation(&self, name: &str, input: Value) -> Value {
                let input = codec::from_value(&input).expect("the test's input is of the operation's shape");
                let request = Request { input, caller: caller(name), request_id: "a-test".to_owned() };
                codec::to_value(&self.ecs.$operation(request).await.expect("the operation succeeds"))
            })*
        }
    };
}

operations! {
    register_task_definition register_container_instance deregister_container_instance run_task stop_task
    submit_task_state_change
}

impl Bench {
    pub async fn new() -> Self {
        Self::with(Store::open(Memory::new(), estiva_ecs::tables(Schema::new(1))).unwrap(), SESSIONS_MAX).await
    }

    /// As after a restart: over a store that another process may have left. Dispatch is opened anew.
    pub async fn with(store: Store, sessions_max: usize) -> Self {
        let dispatch = if sessions_max == SESSIONS_MAX {
            Dispatch::open(store.clone(), crate::Feeds::none()).await.unwrap()
        } else {
            Dispatch(Arc::new(Sessions::new(store.clone(), crate::Feeds::none(), sessions_max)))
        };
        let edge = Edge::new(Verifier::new(Arc::new(Keys), Verification::Required), Arc::new(All), Limits::default())
            .upgrade(ACS_PATH, "ecs", dispatch.acs())
            .upgrade(TCS_PATH, "ecs", dispatch.tcs());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let watching = dispatch.clone();
        let tasks = vec![
            tokio::spawn(serve(vec![Listener::Tcp(listener)], edge, std::future::pending())),
            tokio::spawn(async move { watching.run().await }),
        ];
        let ecs = EcsService::new(
            store.clone(),
            Options {
                endpoint: format!("http://{address}"),
                task_retention: Duration::from_secs(3600),
                healthy_after: Duration::from_secs(40),
                lost_node_after: Duration::from_secs(60),
            },
            Ambient::system(),
        );
        Self { store, dispatch, ecs, address, tasks }
    }

    /// With the task definition `web` of one container `app`.
    pub async fn with_definition() -> Self {
        let bench = Self::new().await;
        bench.define().await;
        bench
    }

    /// Registers the task definition `web` of one container `app`.
    pub async fn define(&self) {
        let container = json!({ "name": "app", "image": "busybox", "memory": 10, "command": ["sleep", "1"] });
        self.register_task_definition("owner", json!({ "family": "web", "containerDefinitions": [container] })).await;
    }

    /// The server is gone as after `kill -9`: nobody says goodbye. The store stays.
    pub fn crash(self) -> Store {
        for task in &self.tasks {
            task.abort();
        }
        self.store.clone()
    }

    /// Registers a container instance; gives its ARN.
    pub async fn register(&self, name: &str) -> String {
        let integer = |name: &str| json!({ "name": name, "type": "INTEGER", "integerValue": 4096 });
        let ports = |name: &str| json!({ "name": name, "type": "STRINGSET", "stringSetValue": [] });
        let input = json!({
            "cluster": "default",
            "totalResources": [integer("CPU"), integer("MEMORY"), ports("PORTS"), ports("PORTS_UDP")],
        });
        let answer = self.register_container_instance(name, input).await;
        text(&answer["containerInstance"]["containerInstanceArn"])
    }

    /// Registers a node and opens its session, whose first manifest is read.
    pub async fn join(&self, name: &str) -> Node {
        let arn = self.register(name).await;
        let mut node = self.connect(name, &arn).await;
        assert!(matches!(node.next().await, ServerMessage::TaskManifest(_)));
        node
    }

    pub async fn connect(&self, name: &str, arn: &str) -> Node {
        self.try_connect(name, arn).await.unwrap_or_else(|(status, body)| panic!("{status} {body}"))
    }

    pub async fn try_connect(&self, name: &str, arn: &str) -> Result<Node, (u16, String)> {
        let query = format!("clusterArn=default&containerInstanceArn={}", escape(arn));
        self.open(name, ACS_PATH, &query).await
    }

    /// Opens a WebSocket, or gives the refusal's status and body.
    pub async fn open(&self, name: &str, path: &str, query: &str) -> Result<Node, (u16, String)> {
        let credentials =
            SigningCredentials { access_key_id: name.to_owned(), secret: Secret::new(SECRET), session_token: None };
        let url = format!("ws://{}{path}?{query}", self.address);
        let request = signed_upgrade_request(&url, &credentials, Region::DEFAULT, Timestamp::now()).unwrap();
        let stream = TcpStream::connect(self.address).await.unwrap();
        match client_async(request, stream).await {
            Ok((socket, _)) => Ok(Node { socket, seen: 0 }),
            Err(Error::Http(answer)) => {
                let body = answer.body().clone().unwrap_or_default();
                Err((answer.status().as_u16(), String::from_utf8_lossy(&body).into_owned()))
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// Runs tasks of `web`; gives their ARNs.
    pub async fn run(&self, count: usize) -> Vec<String> {
        let mut arns = Vec::new();
        while arns.len() < count {
            // RunTask makes at most ten.
            let some = (count - arns.len()).min(10);
            let answer = self.run_task("owner", json!({ "taskDefinition": "web", "count": some })).await;
            assert_eq!(answer["failures"], json!([]));
            arns.extend(answer["tasks"].as_array().unwrap().iter().map(|task| text(&task["taskArn"])));
        }
        arns
    }

    pub async fn stop(&self, task: &str) {
        self.stop_task("owner", json!({ "task": task })).await;
    }

    /// A node's word on a task.
    pub async fn report(&self, name: &str, task: &str, status: &str) {
        let input = json!({ "cluster": "default", "task": task, "status": status });
        self.submit_task_state_change(name, input).await;
    }

    /// Waits until the store has it that the instance is connected, or is not.
    pub async fn noted(&self, arn: &str, connected: bool) {
        let key = instance_key(arn);
        let waiting = async {
            let mut watch = self.store.watch(self.store.view().revision());
            while self.store.view().get::<ConnectionRow>(&key).is_some_and(|row| row.connected) != connected {
                watch.next().await.unwrap();
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.expect("the connection is noted");
    }
}

/// A node's end of a session.
pub(crate) struct Node {
    pub socket: WebSocketStream<TcpStream>,
    /// The newest generation.
    seen: i64,
}

impl Node {
    /// The next message, heartbeats aside. Generations must grow.
    pub async fn next(&mut self) -> ServerMessage {
        loop {
            let text = self.next_text().await.expect("the session goes on");
            let message = ServerMessage::decode(&text).unwrap();
            let generation = match &message {
                ServerMessage::Heartbeat(_) => continue,
                ServerMessage::Payload(payload) => payload.seq_num,
                ServerMessage::TaskManifest(manifest) => manifest.timeline,
                _ => return message,
            };
            assert!(generation > self.seen, "{generation} after {}", self.seen);
            self.seen = generation;
            return message;
        }
    }

    pub async fn payload(&mut self) -> Payload {
        loop {
            match self.next().await {
                ServerMessage::Payload(payload) => return payload,
                // Of what ended meanwhile.
                ServerMessage::TaskManifest(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// The next payload's tasks: ARN and desired status.
    pub async fn told(&mut self) -> Vec<(String, String)> {
        self.payload().await.tasks.into_iter().map(|task| (task.arn, task.desired_status)).collect()
    }

    pub async fn heartbeat(&mut self) -> Heartbeat {
        loop {
            let text = self.next_text().await.expect("the session goes on");
            if let ServerMessage::Heartbeat(heartbeat) = ServerMessage::decode(&text).unwrap() {
                return heartbeat;
            }
        }
    }

    /// The next text; `None` once the connection has ended.
    pub async fn next_text(&mut self) -> Option<String> {
        loop {
            match tokio::time::timeout(PATIENCE, self.socket.next()).await.expect("something comes") {
                Some(Ok(Message::Text(text))) => return Some(text.as_str().to_owned()),
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(_)) => {}
            }
        }
    }

    pub async fn say(&mut self, message: AgentMessage) {
        self.write(message.encode()).await;
    }

    pub async fn ack(&mut self, message_id: &str) {
        self.say(AgentMessage::Ack(Ack { message_id: message_id.to_owned(), ..Ack::default() })).await;
    }

    pub async fn write(&mut self, text: String) {
        self.socket.send(Message::text(text)).await.unwrap();
    }

    /// Reads on until the connection ends.
    pub async fn ended(mut self) {
        while self.next_text().await.is_some() {}
    }
}

pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

pub(crate) fn escape(text: &str) -> String {
    text.replace(':', "%3A").replace('/', "%2F")
}

pub(crate) fn instance_key(arn: &str) -> String {
    let arn: Arn = arn.parse().unwrap();
    format!("{}/{}/{}", arn.account, arn.region, arn.resource.strip_prefix("container-instance/").unwrap())
}
