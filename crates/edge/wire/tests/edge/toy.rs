//! A service of a few operations, and a server that runs it.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use estiva_model::{AccountId, Caller, Principal, Region};
use estiva_schema::codec::Codec;
use estiva_schema::{ApiError, Authorizer, Operation, OperationSchema, Protocol, RawRequest, Service, ServiceSchema};
use estiva_wire::client::Client;
use estiva_wire::server::{Edge, Limits, Listener, serve};
use estiva_wire::sigv4::{
    Credential, CredentialSource, Secret, Signable, SigningCredentials, Verification, Verifier, sign_headers,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;

pub const KEY: &str = "AKIDEXAMPLE";
pub const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

static ECHO: OperationSchema = operation("Echo");
static PANIC: OperationSchema = operation("Panic");
static WAIT: OperationSchema = operation("Wait");
static FORBIDDEN: OperationSchema = operation("Forbidden");
static JSON_SCHEMA: ServiceSchema = schema("toy", Protocol::AwsJson11, &[&ECHO, &FORBIDDEN, &PANIC, &WAIT]);
static FORM_SCHEMA: ServiceSchema = schema("toyform", Protocol::Query, &[&ECHO]);

pub fn error(code: &'static str, status: u16, message: &str) -> ApiError {
    ApiError::new(code, message, status)
}

/// Says what it was given, and by whom.
pub struct Toy {
    schema: &'static ServiceSchema,
    /// How many calls got as far as the service.
    pub calls: AtomicUsize,
    pub waiting: Notify,
    pub go_on: Notify,
}

#[async_trait]
impl Service for Toy {
    fn schema(&self) -> &'static ServiceSchema {
        self.schema
    }

    async fn call(
        &self,
        operation: &'static OperationSchema,
        _codec: &dyn Codec,
        request: RawRequest<'_>,
    ) -> Result<Vec<u8>, ApiError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        match operation.name {
            "Panic" => panic!("the toy was told to panic"),
            "Wait" => {
                self.waiting.notify_one();
                self.go_on.notified().await;
            }
            _ => {}
        }
        let body = String::from_utf8_lossy(request.body).into_owned();
        let arn = request.caller.arn();
        let region = request.caller.region.to_string();
        Ok(estiva_schema::json::to_vec(&Heard { body, arn, region, request_id: request.request_id }))
    }
}

pub use self::types::{Heard, Say};

mod schema {
    use estiva_schema::{Kind, Member, Shape};

    static TEXT: Shape = Shape::of("Text", Kind::String);
    pub static SAY: Shape =
        Shape::of("Say", Kind::Structure { members: &[Member::of("word", &TEXT).required()], union: false });
    pub static HEARD: Shape = Shape::of(
        "Heard",
        Kind::Structure {
            members: &[
                Member::of("body", &TEXT).required(),
                Member::of("arn", &TEXT).required(),
                Member::of("region", &TEXT).required(),
                Member::of("request_id", &TEXT).required(),
            ],
            union: false,
        },
    );
}

mod types {
    use estiva_schema::structures;

    #[derive(Default)]
    pub struct Say {
        pub word: String,
    }

    /// What the toy answers.
    #[derive(Default)]
    pub struct Heard {
        pub body: String,
        pub arn: String,
        pub region: String,
        pub request_id: String,
    }

    structures! {
        Say = SAY [word];
        Heard = HEARD [body, arn, region, request_id];
    }
}

macro_rules! operations {
    ($($name:ident = $schema:ident),*) => {$(
        pub struct $name;
        impl Operation for $name {
            type Input = Say;
            type Output = Heard;
            type Error = ApiError;
            const SCHEMA: &'static OperationSchema = &$schema;
            const SERVICE: &'static ServiceSchema = &JSON_SCHEMA;
        }
    )*};
}
operations!(Echo = ECHO, Panic = PANIC, Wait = WAIT, Forbidden = FORBIDDEN);

struct AllButForbidden;

impl Authorizer for AllButForbidden {
    fn authorize(&self, caller: &Caller, action: &str) -> Result<(), ApiError> {
        match action {
            "toy:Forbidden" => {
                let message = format!("User: {} is not authorized to perform: {action}", caller.arn());
                Err(error("AccessDeniedException", 400, &message))
            }
            _ => Ok(()),
        }
    }
}

struct OneKey;

impl CredentialSource for OneKey {
    fn find(&self, access_key_id: &str, _: Option<&str>) -> Option<Credential> {
        (access_key_id == KEY).then(|| Credential {
            secret: Secret::new(SECRET),
            session_token: None,
            account: AccountId::parse("123456789012").unwrap(),
            principal: Principal::Root,
            expires: None,
        })
    }
}

/// A running server. It stops when it is told to, or with the test's process.
pub struct Server {
    pub address: SocketAddr,
    pub toy: Arc<Toy>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Server {
    pub async fn start() -> Self {
        Self::with(Limits::default(), Verification::Required, |edge| edge).await
    }

    /// One that listens at a socket too.
    pub async fn at_socket(limits: Limits, socket: &Path) -> Self {
        Self::listening(limits, Verification::Required, |edge| edge, Some(socket)).await
    }

    pub async fn with(limits: Limits, verification: Verification, more: impl FnOnce(Edge) -> Edge) -> Self {
        Self::listening(limits, verification, more, None).await
    }

    async fn listening(
        limits: Limits,
        verification: Verification,
        more: impl FnOnce(Edge) -> Edge,
        socket: Option<&Path>,
    ) -> Self {
        let toy =
            |schema| Arc::new(Toy { schema, calls: AtomicUsize::new(0), waiting: Notify::new(), go_on: Notify::new() });
        let json = toy(&JSON_SCHEMA);
        let verifier = Verifier::new(Arc::new(OneKey), verification);
        let edge =
            Edge::new(verifier, Arc::new(AllButForbidden), limits).service(json.clone()).service(toy(&FORM_SCHEMA));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let socket = socket.map(|path| Listener::Socket(UnixListener::bind(path).unwrap()));
        let listeners = socket.into_iter().chain([Listener::Tcp(listener)]).collect();
        let (stop, stopped) = oneshot::channel();
        let shutdown = async move { drop(stopped.await) };
        let task = tokio::spawn(serve(listeners, more(edge), shutdown));
        Self { address, toy: json, stop: Some(stop), task }
    }

    pub fn calls(&self) -> usize {
        self.toy.calls.load(Ordering::SeqCst)
    }

    /// Tells the server to stop, without waiting for it.
    pub fn tell_to_stop(&mut self) {
        drop(self.stop.take());
    }

    /// Waits until the server has stopped.
    pub async fn stopped(self) {
        self.task.await.unwrap();
    }

    pub fn client(&self) -> Client {
        self.client_with(&credentials())
    }

    pub fn client_with(&self, credentials: &SigningCredentials) -> Client {
        Client::new(&format!("http://{}", self.address), credentials.clone(), Region::default()).unwrap()
    }

    /// The head of a request of the key's that is signed for a body nobody will send.
    pub fn signed_head(&self, target: &str, length: usize) -> String {
        let uri: http::Uri = format!("http://{}/", self.address).parse().unwrap();
        let mut headers = http::HeaderMap::new();
        headers.insert("host", http::HeaderValue::from_str(&self.address.to_string()).unwrap());
        headers.insert("x-amz-target", http::HeaderValue::from_str(target).unwrap());
        let (method, now) = (http::Method::POST, estiva_model::Timestamp::now());
        let signable =
            Signable { method: &method, uri: &uri, body: b"another", region: "us-east-1", service: "toy", now };
        sign_headers(&signable, &credentials(), &mut headers).unwrap();
        let lines = headers.iter().map(|(name, value)| format!("{name}: {}\r\n", value.to_str().unwrap()));
        format!("POST / HTTP/1.1\r\n{}Content-Length: {length}\r\n\r\n", lines.collect::<String>())
    }

    pub async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends bytes on a new connection, and returns all that comes back until the server closes it.
    pub async fn exchange(&self, request: &[u8]) -> String {
        let mut stream = self.connect().await;
        stream.write_all(request).await.unwrap();
        read_to_end(&mut stream).await
    }
}

/// All that comes until the connection ends. A minute is no bound that is measured, it only ends a test that would hang.
pub async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(60), stream.read_to_end(&mut bytes));
    // A reset after an answer is an end, too.
    let _ = read.await.expect("the server should close the connection");
    String::from_utf8_lossy(&bytes).into_owned()
}

pub fn credentials() -> SigningCredentials {
    SigningCredentials { access_key_id: KEY.to_owned(), secret: Secret::new(SECRET), session_token: None }
}

pub fn say(word: &str) -> Say {
    Say { word: word.to_owned() }
}

const fn operation(name: &'static str) -> OperationSchema {
    OperationSchema::new(name, &schema::SAY, Some(&schema::HEARD))
}

const fn schema(
    name: &'static str,
    protocol: Protocol,
    operations: &'static [&'static OperationSchema],
) -> ServiceSchema {
    ServiceSchema {
        name,
        signing_name: name,
        target_prefix: "Toy_2026",
        api_version: "2026-01-01",
        protocol,
        xml_namespace: "",
        violation_code: "ValidationException",
        enumeration: None,
        operations,
    }
}
