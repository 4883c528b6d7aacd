//! One call of an operation: encode, sign, send, decode.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use estiva_model::{Region, Timestamp};
use estiva_schema::codec::{self, Codec};
use estiva_schema::{Operation, Protocol};
use http::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, Uri};
use http_body_util::Full;

use super::clock::Offset;
use super::connect::{SocketConnector, over_tcp};
use super::error::{ClientError, ServiceError};
use super::transport::{Transport, TransportError};
use crate::sigv4::{Signable, SigningCredentials, sign_headers};
use crate::stream::Stream;

/// Begins an endpoint that is a socket of this machine's file system: what passes there no network shows, and only the
/// socket's owner connects.
pub const SOCKET_SCHEME: &str = "unix:";

/// What requests over a socket name as their host.
const SOCKET_HOST: &str = "http://localhost";
const TIMEOUT: Duration = Duration::from_secs(30);
const TARGET: HeaderName = HeaderName::from_static("x-amz-target");

/// A client of the AWS APIs behind one endpoint. Cheap to clone; clones share connections.
///
/// It does not retry: see [`ClientError::is_retryable`]. There is one exception: a signature that is refused where the
/// service's clock is far from this machine's is made anew by the service's clock.
#[derive(Clone)]
pub struct Client {
    transport: Transport,
    /// Where sessions connect to as well, if the endpoint is a socket.
    socket: Option<SocketConnector>,
    endpoint: Uri,
    credentials: SigningCredentials,
    region: Region,
    timeout: Duration,
    clock: Arc<Offset>,
}

/// An endpoint that no client can be made for.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// Not `http://host[:port]` or `https://host[:port]`.
    #[error("'{0}' is not the URL of an endpoint: expected http://host:port or https://host:port")]
    Url(String),
    /// The system's trusted certificates could not be read.
    #[error("the system's trusted certificates cannot be read")]
    TrustStore(#[source] std::io::Error),
}

impl Client {
    /// A client of the control plane that the machine's owner names: a URL, or a socket such as
    /// `unix:/run/estiva/api.sock`. What a task definition names is never taken for a socket: see [`Client::new`].
    pub fn of_server(server: &str, credentials: SigningCredentials, region: Region) -> Result<Self, EndpointError> {
        let Some(path) = server.strip_prefix(SOCKET_SCHEME) else { return Self::new(server, credentials, region) };
        let socket = SocketConnector(Arc::from(Path::new(path)));
        let transport = Transport::over(socket.clone());
        let (socket, endpoint, clock) = (Some(socket), Uri::from_static(SOCKET_HOST), Arc::default());
        Ok(Self { transport, socket, endpoint, credentials, region, timeout: TIMEOUT, clock })
    }

    /// A client of `endpoint`, such as `http://127.0.0.1:4566`.
    pub fn new(endpoint: &str, credentials: SigningCredentials, region: Region) -> Result<Self, EndpointError> {
        let clock = Arc::default();
        let uri: Uri = endpoint.parse().map_err(|_| EndpointError::Url(endpoint.to_owned()))?;
        let tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(EndpointError::Url(endpoint.to_owned())),
        };
        let transport = Transport::new(tls).map_err(EndpointError::TrustStore)?;
        Ok(Self { transport, socket: None, endpoint: uri, credentials, region, timeout: TIMEOUT, clock })
    }

    /// The same client with another time limit for each call, from connecting to the answer's end.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The same client, signing for another region.
    #[must_use]
    pub fn with_region(mut self, region: Region) -> Self {
        self.region = region;
        self
    }

    /// The same client, signing as somebody else.
    #[must_use]
    pub fn with_credentials(mut self, credentials: SigningCredentials) -> Self {
        self.credentials = credentials;
        self
    }

    /// The time by the service's clock, as far as it is known to be another than this machine's.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The endpoint as a URL; one that is a socket has none of its own, and any host will do.
    pub fn url(&self) -> String {
        self.endpoint.to_string()
    }

    /// A bare connection for a session at `authority` (`host:port`): a client of a socket connects to that, whatever
    /// host the service names.
    ///
    /// # Errors
    /// Nobody listens there.
    pub async fn connect(&self, authority: &str) -> std::io::Result<Stream> {
        match &self.socket {
            Some(socket) => Ok(Box::new(socket.connect().await?)),
            None => over_tcp(authority).await,
        }
    }

    /// Calls one operation.
    pub async fn call<Op: Operation>(&self, input: &Op::Input) -> Result<Op::Output, ClientError> {
        let operation = Op::SCHEMA.name;
        let codec = codec::of(Op::SERVICE.protocol);
        let body = Bytes::from(codec.encode_input(Op::SERVICE, Op::SCHEMA, input));
        let mut response = self.send::<Op>(body.clone()).await?;
        if is_refused(codec, &response, operation) && self.clock.learn(&response) {
            response = self.send::<Op>(body).await?;
        }
        if !response.status().is_success() {
            return Err(ClientError::Service { operation, error: service_error(codec, &response) });
        }
        let mut output = Op::Output::default();
        codec
            .decode_output(Op::SCHEMA, response.body(), &mut output)
            .map_err(|error| ClientError::Answer { operation, message: error.to_string() })?;
        Ok(output)
    }

    async fn send<Op: Operation>(&self, body: Bytes) -> Result<Response<Bytes>, ClientError> {
        let operation = Op::SCHEMA.name;
        let invalid = |source: TransportError| ClientError::Request { operation, source };
        let request = self.request::<Op>(body).map_err(|error| invalid(error.into()))?;
        let endpoint = || match &self.socket {
            Some(socket) => format!("{SOCKET_SCHEME}{}", socket.0.display()),
            None => self.endpoint.to_string(),
        };
        tokio::time::timeout(self.timeout, self.transport.send(request))
            .await
            .map_err(|_| ClientError::TimedOut { operation, endpoint: endpoint(), timeout: self.timeout })?
            .map_err(|source| ClientError::Transport { operation, endpoint: endpoint(), source })
    }

    fn request<Op: Operation>(&self, body: Bytes) -> Result<Request<Full<Bytes>>, http::Error> {
        let schema = Op::SERVICE;
        let host = self.endpoint.authority().map(http::uri::Authority::as_str).unwrap_or_default();
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_str(host)?);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(codec::of(schema.protocol).request_content_type()));
        if schema.protocol != Protocol::Query {
            let target = format!("{}.{}", schema.target_prefix, Op::SCHEMA.name);
            headers.insert(TARGET, HeaderValue::try_from(target)?);
        }
        let signable = Signable {
            method: &Method::POST,
            uri: &self.endpoint,
            body: &body,
            region: self.region.as_str(),
            service: schema.signing_name,
            now: self.now(),
        };
        sign_headers(&signable, &self.credentials, &mut headers)?;
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.endpoint.clone();
        *request.headers_mut() = headers;
        Ok(request)
    }
}

fn is_refused(codec: &dyn Codec, response: &Response<Bytes>, operation: &'static str) -> bool {
    !response.status().is_success()
        && ClientError::Service { operation, error: service_error(codec, response) }.is_unauthenticated()
}

fn service_error(codec: &dyn Codec, response: &Response<Bytes>) -> ServiceError {
    let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
    let told = codec.decode_error(response.body(), response.status().as_u16());
    let code = match (&*told.code, header("x-amzn-errortype")) {
        ("", Some(kind)) => kind.split(':').next().unwrap_or_default().to_owned(),
        ("", None) => response.status().as_u16().to_string(),
        (code, _) => code.to_owned(),
    };
    ServiceError {
        code,
        message: told.message,
        status: response.status(),
        request_id: header("x-amzn-requestid").map(str::to_owned),
    }
}
