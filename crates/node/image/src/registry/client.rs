//! Requests to registries: which scheme, with which authorization, and where redirects may lead.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, LOCATION, RANGE, WWW_AUTHENTICATE};
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::sync::{Mutex, OnceCell};

use super::auth::{self, Challenge};
use crate::error::PullError;
use crate::reference::Reference;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
const REDIRECTS_MAX: usize = 5;
/// A registry's error says why in some hundred bytes.
const ERROR_BYTES_MAX: usize = 16 << 10;
const ERROR_CHARS_SHOWN: usize = 500;

type Https = Client<HttpsConnector<HttpConnector>, Empty<Bytes>>;
pub(super) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A user's name and password for a registry.
#[derive(Clone)]
pub struct Credentials {
    /// The user.
    pub username: String,
    /// Never logged.
    pub password: zeroize::Zeroizing<String>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Credentials").field("username", &self.username).finish_non_exhaustive()
    }
}

/// All registries: how each is spoken to. Connections are shared.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    insecure: Vec<String>,
    credentials: Vec<(String, Credentials)>,
    // Made at the first pull: reading the system's certificates takes time and memory.
    client: OnceCell<Https>,
}

impl Registry {
    pub fn new(insecure: Vec<String>, credentials: Vec<(String, Credentials)>) -> Self {
        Self { insecure, credentials, client: OnceCell::new() }
    }

    pub fn insecure(&self) -> Vec<String> {
        self.insecure.clone()
    }

    pub fn credentials(&self) -> Vec<(String, Credentials)> {
        self.credentials.clone()
    }

    async fn client(&self) -> Result<&Https, Failure> {
        let make = || async {
            let mut connector = HttpConnector::new();
            connector.set_nodelay(true);
            connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
            connector.enforce_http(false);
            let builder = HttpsConnectorBuilder::new().with_native_roots()?;
            let connector = builder.https_or_http().enable_http1().wrap_connector(connector);
            Ok::<_, std::io::Error>(Client::builder(TokioExecutor::new()).build(connector))
        };
        Ok(self.client.get_or_try_init(make).await?)
    }

    /// Whether a registry may be spoken to without TLS.
    fn is_insecure(&self, host: &str) -> bool {
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
        let loopback = name == "localhost"
            || name == "[::1]"
            || name.parse::<std::net::Ipv4Addr>().is_ok_and(|ip| ip.is_loopback());
        loopback || self.insecure.iter().any(|known| known == host)
    }
}

/// Talk with one registry about one repository.
pub(super) struct Session<'a> {
    registry: &'a Registry,
    reference: &'a Reference,
    scheme: &'static str,
    authorization: Mutex<Option<String>>,
}

impl<'a> Session<'a> {
    pub fn new(registry: &'a Registry, reference: &'a Reference) -> Self {
        // On loopback nobody listens in; elsewhere plain HTTP is for those that were named.
        let scheme = if registry.is_insecure(reference.registry()) { "http" } else { "https" };
        Self { registry, reference, scheme, authorization: Mutex::new(None) }
    }

    /// The repository's manifest or blob; `range_from` leaves out what is there. An answer that is no success is an error.
    pub async fn get(
        &self,
        method: Method,
        what: &str,
        accept: &str,
        range_from: u64,
    ) -> Result<Response<Incoming>, PullError> {
        let host = self.reference.registry();
        let url = format!("{}://{host}/v2/{}/{what}", self.scheme, self.reference.repository());
        let first = self.follow(&method, &url, accept, range_from).await?;
        if first.status() != StatusCode::UNAUTHORIZED {
            return self.success(first).await;
        }
        let challenge =
            first.headers().get(WWW_AUTHENTICATE).and_then(|value| value.to_str().ok()).and_then(Challenge::parse);
        let Some(challenge) = challenge else { return self.success(first).await };
        let header = self.authorize(&challenge).await?;
        *self.authorization.lock().await = Some(header);
        let second = self.follow(&method, &url, accept, range_from).await?;
        self.success(second).await
    }

    async fn authorize(&self, challenge: &Challenge) -> Result<String, PullError> {
        let known = self.registry.credentials.iter().find(|(host, _)| host == self.reference.registry());
        let basic = known.map(|(_, credentials)| auth::basic(credentials));
        match challenge {
            Challenge::Basic => {
                basic.ok_or_else(|| self.denied(StatusCode::UNAUTHORIZED, "it wants a user name and a password"))
            }
            Challenge::Bearer { .. } => {
                let url = challenge.token_url(self.reference.repository());
                let url = url.ok_or_else(|| self.denied(StatusCode::UNAUTHORIZED, "its challenge names no realm"))?;
                // A password never travels in clear text, but to where the registry itself is spoken to so.
                if self.scheme == "https" && !url.starts_with("https://") {
                    return Err(self.denied(StatusCode::UNAUTHORIZED, "its token service is not behind TLS"));
                }
                let response = self.send(&Method::GET, &url, "application/json", 0, basic.as_deref()).await?;
                let response = self.success(response).await?;
                let body = Limited::new(response.into_body(), 1 << 20).collect().await;
                let body = body.map_err(|error| self.unreachable(&url, error))?.to_bytes();
                auth::bearer(&body)
                    .ok_or_else(|| self.denied(StatusCode::UNAUTHORIZED, "its token service gave no token"))
            }
        }
    }

    /// Sends a request and follows where it leads. What authorizes us goes to the registry alone.
    async fn follow(
        &self,
        method: &Method,
        url: &str,
        accept: &str,
        range_from: u64,
    ) -> Result<Response<Incoming>, PullError> {
        let mut url = url.to_owned();
        let origin = origin_of(&url);
        for _ in 0..=REDIRECTS_MAX {
            let authorization = self.authorization.lock().await.clone().filter(|_| origin_of(&url) == origin);
            let response = self.send(method, &url, accept, range_from, authorization.as_deref()).await?;
            if !response.status().is_redirection() || response.status() == StatusCode::NOT_MODIFIED {
                return Ok(response);
            }
            let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
            url = self.redirected(&url, location)?;
        }
        Err(self.redirect(&url, "there are too many redirects"))
    }

    fn redirected(&self, from: &str, location: &str) -> Result<String, PullError> {
        let absolute = if location.starts_with('/') {
            format!("{}{location}", origin_of(from).unwrap_or_default())
        } else {
            location.to_owned()
        };
        let uri: Uri = absolute.parse().map_err(|_| self.redirect(location, "it is no URL"))?;
        match uri.scheme_str() {
            Some("https") => Ok(absolute),
            Some("http") if from.starts_with("http://") => {
                let host = uri.authority().map(http::uri::Authority::as_str).unwrap_or_default();
                // A registry on loopback must not make us speak in clear text to the world.
                if self.registry.is_insecure(host) {
                    Ok(absolute)
                } else {
                    Err(self.redirect(location, "it leads to a host that is not allowed without TLS"))
                }
            }
            Some("http") => Err(self.redirect(location, "it leads from TLS to clear text")),
            _ => Err(self.redirect(location, "it is neither http nor https")),
        }
    }

    async fn send(
        &self,
        method: &Method,
        url: &str,
        accept: &str,
        range_from: u64,
        authorization: Option<&str>,
    ) -> Result<Response<Incoming>, PullError> {
        let mut request = Request::builder().method(method).uri(url).header(ACCEPT, accept);
        if range_from > 0 {
            request = request.header(RANGE, format!("bytes={range_from}-"));
        }
        if let Some(authorization) = authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let request = request.body(Empty::new()).map_err(|error| self.unreachable(url, error))?;
        let client = self.registry.client().await.map_err(|error| self.unreachable(url, error))?;
        let answered = tokio::time::timeout(ANSWER_TIMEOUT, client.request(request)).await;
        answered.map_err(|error| self.unreachable(url, error))?.map_err(|error| self.unreachable(url, error))
    }

    async fn success(&self, response: Response<Incoming>) -> Result<Response<Incoming>, PullError> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = Limited::new(response.into_body(), ERROR_BYTES_MAX).collect().await;
        let body = body.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        let text: String = String::from_utf8_lossy(&body).trim().chars().take(ERROR_CHARS_SHOWN).collect();
        let reference = self.reference.familiar();
        Err(match status {
            StatusCode::NOT_FOUND => PullError::NotFound { reference, detail: text },
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => self.denied(status, &text),
            _ => PullError::Status { reference, status: status.as_u16(), detail: text },
        })
    }

    fn denied(&self, status: StatusCode, detail: &str) -> PullError {
        let reference = self.reference.familiar();
        PullError::Denied { reference, status: status.as_u16(), detail: detail.to_owned() }
    }

    fn redirect(&self, location: &str, reason: &'static str) -> PullError {
        PullError::Redirect { reference: self.reference.familiar(), location: location.to_owned(), reason }
    }

    pub(super) fn unreachable(&self, url: &str, error: impl Into<Failure>) -> PullError {
        let host = origin_of(url).unwrap_or_else(|| url.to_owned());
        PullError::Unreachable { reference: self.reference.familiar(), host, source: error.into() }
    }

    pub(super) fn reference(&self) -> &Reference {
        self.reference
    }
}

/// `scheme://host[:port]`
fn origin_of(url: &str) -> Option<String> {
    let uri: Uri = url.parse().ok()?;
    Some(format!("{}://{}", uri.scheme_str()?, uri.authority()?))
}
