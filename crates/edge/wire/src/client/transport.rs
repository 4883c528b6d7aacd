//! Pooled connections to one endpoint, over HTTP or HTTPS.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Builder, Client};
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::connect::SocketConnector;

/// A longer answer is an error: no operation has one.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Shorter than the server keeps an idle connection, so that a request seldom meets a closing one.
const IDLE_TIMEOUT: Duration = Duration::from_secs(20);

/// What can break underneath a call.
pub(super) type TransportError = Box<dyn std::error::Error + Send + Sync>;

/// The trust store is read only when an endpoint needs it: it takes time and memory that most nodes can do without.
#[derive(Clone)]
pub(super) enum Transport {
    Plain(Client<HttpConnector, Full<Bytes>>),
    Tls(Client<HttpsConnector<HttpConnector>, Full<Bytes>>),
    Socket(Client<SocketConnector, Full<Bytes>>),
}

impl Transport {
    /// A transport for URLs of that scheme.
    pub(super) fn new(tls: bool) -> io::Result<Self> {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        connector.enforce_http(!tls);
        let builder = pool();
        if !tls {
            return Ok(Self::Plain(builder.build(connector)));
        }
        let connector =
            HttpsConnectorBuilder::new().with_native_roots()?.https_only().enable_http1().wrap_connector(connector);
        Ok(Self::Tls(builder.build(connector)))
    }

    /// A transport over a socket of this machine's file system.
    pub(super) fn over(socket: SocketConnector) -> Self {
        Self::Socket(pool().build(socket))
    }

    /// Sends a request and reads the whole answer.
    pub(super) async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Bytes>, TransportError> {
        let response = match self {
            Self::Plain(client) => client.request(request).await?,
            Self::Tls(client) => client.request(request).await?,
            Self::Socket(client) => client.request(request).await?,
        };
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await?.to_bytes();
        Ok(Response::from_parts(parts, body))
    }
}

fn pool() -> Builder {
    let mut builder = Client::builder(TokioExecutor::new());
    builder.pool_timer(TokioTimer::new()).pool_idle_timeout(IDLE_TIMEOUT);
    builder
}
