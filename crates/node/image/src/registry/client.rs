//! Registries: how each is spoken to, and with whose name.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::uri::Authority;
use http::{Request, Response};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::sync::OnceCell;
use zeroize::{Zeroize, Zeroizing};

use super::link_local::Resolver;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// For how long a connection is kept for the next request.
const IDLE_MAX: Duration = Duration::from_secs(30);

pub(super) type Failure = Box<dyn std::error::Error + Send + Sync>;
type Connector = HttpConnector<Resolver>;
type Plain = Client<Connector, Empty<Bytes>>;
type Secure = Client<HttpsConnector<Connector>, Empty<Bytes>>;

/// A user's name and password for a registry. Overwritten when they are dropped; never in logs and errors.
#[derive(Clone)]
pub struct Credentials {
    /// The user; with some registries, a part of the secret.
    pub username: String,
    /// The password, or what a registry takes for one.
    pub password: Zeroizing<String>,
}

impl Drop for Credentials {
    fn drop(&mut self) {
        self.username.zeroize();
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Credentials").finish_non_exhaustive()
    }
}

/// All registries. Connections are shared.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    insecure: Vec<String>,
    credentials: Vec<(String, Credentials)>,
    plain: OnceCell<Plain>,
    // Only where it is needed: reading the system's certificates takes time, and there may be none.
    secure: OnceCell<Secure>,
}

impl Registry {
    pub fn new(insecure: Vec<String>, credentials: Vec<(String, Credentials)>) -> Self {
        Self { insecure, credentials, plain: OnceCell::new(), secure: OnceCell::new() }
    }

    pub fn insecure(&self) -> Vec<String> {
        self.insecure.clone()
    }

    pub fn credentials(&self) -> Vec<(String, Credentials)> {
        self.credentials.clone()
    }

    /// The name and the password for a registry, given as `host[:port]`.
    pub(super) fn credentials_for(&self, host: &str) -> Option<&Credentials> {
        self.credentials.iter().find(|(known, _)| known == host).map(|(_, credentials)| credentials)
    }

    /// Sends a request, over TLS if its URL says so.
    pub(super) async fn send(&self, request: Request<Empty<Bytes>>) -> Result<Response<Incoming>, Failure> {
        if request.uri().scheme_str() == Some("https") {
            let client = self.secure.get_or_try_init(|| async { secure() }).await?;
            Ok(client.request(request).await?)
        } else {
            let client = self.plain.get_or_init(|| async { plain() }).await;
            Ok(client.request(request).await?)
        }
    }

    /// Whether a host, given as `host[:port]`, may be spoken to without TLS. On loopback nobody listens in; elsewhere it is
    /// for those that were named.
    pub(super) fn is_insecure(&self, host: &str) -> bool {
        is_loopback(host) || self.insecure.iter().any(|known| known == host)
    }
}

fn is_loopback(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    let name = authority.host();
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    name == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

fn connector() -> Connector {
    let mut connector = HttpConnector::new_with_resolver(Resolver::new());
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
    connector
}

fn plain() -> Plain {
    Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).pool_idle_timeout(IDLE_MAX).build(connector())
}

fn secure() -> Result<Secure, std::io::Error> {
    let mut tcp = connector();
    tcp.enforce_http(false);
    let connector = HttpsConnectorBuilder::new().with_native_roots()?.https_only().enable_http1().wrap_connector(tcp);
    let mut builder = Client::builder(TokioExecutor::new());
    Ok(builder.pool_timer(TokioTimer::new()).pool_idle_timeout(IDLE_MAX).build(connector))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_and_who_was_named_may_do_without_tls() {
        let registry = Registry::new(vec!["registry.lan:5000".to_owned()], Vec::new());
        for host in
            ["localhost", "localhost:5000", "127.0.0.1", "127.9.9.9:80", "[::1]", "[::1]:5000", "registry.lan:5000"]
        {
            assert!(registry.is_insecure(host), "{host}");
        }
        for host in ["registry.lan", "localhost.evil.example", "10.0.0.1:5000", "127.0.0.1.evil.example", "[::2]:1", ""]
        {
            assert!(!registry.is_insecure(host), "{host}");
        }
    }
}
