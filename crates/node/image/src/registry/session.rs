//! Talk with one registry about one repository: which authorization, where redirects may lead, and what a refusal says.

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, LOCATION, RANGE, USER_AGENT, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use serde::Deserialize;
use tokio::sync::Mutex;
use zeroize::Zeroizing;

use super::auth::{self, Challenge};
use super::client::{Credentials, Failure, Registry};
use super::link_local::is_link_local_host;
use crate::digest::Digest;
use crate::error::PullError;
use crate::limits::Limits;
use crate::reference::Reference;

/// The manifests that are understood.
pub(super) const ACCEPT_MANIFEST: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";
/// Where a registry says which digest it answers with.
const CONTENT_DIGEST: &str = "docker-content-digest";
const REDIRECTS_MAX: usize = 5;
/// A registry's error says why in some hundred bytes.
const ERROR_BYTES_MAX: usize = 16 << 10;
const ERROR_CHARS_SHOWN: usize = 500;
/// Stands where a secret was.
const HIDDEN: &str = "***";
const TOKEN_BYTES_MAX: usize = 1 << 20;
const PRODUCT: &str = concat!("estiva/", env!("CARGO_PKG_VERSION"));

/// Talk with one registry about one repository.
pub(crate) struct Session<'a> {
    registry: &'a Registry,
    reference: &'a Reference,
    /// Go to the registry alone.
    credentials: Option<&'a Credentials>,
    limits: Limits,
    origin: String,
    authorization: Mutex<Option<Zeroizing<String>>>,
}

/// An answer, and whether the registry itself gave it, not somebody it sent us to.
struct Answer {
    response: Response<Incoming>,
    from_registry: bool,
}

impl<'a> Session<'a> {
    /// With these credentials, else with those that are known for the registry.
    pub fn new(
        registry: &'a Registry,
        reference: &'a Reference,
        credentials: Option<&'a Credentials>,
        limits: Limits,
    ) -> Self {
        let credentials = credentials.or_else(|| registry.credentials_for(reference.registry()));
        let scheme = if registry.is_insecure(reference.registry()) { "http" } else { "https" };
        let origin = format!("{scheme}://{}", reference.registry());
        Self { registry, reference, credentials, limits, origin, authorization: Mutex::new(None) }
    }

    /// The repository's manifest or blob; `range_from` leaves out what is there. An answer that is no success is an error.
    pub async fn get(
        &self,
        method: Method,
        what: &str,
        accept: &str,
        range_from: u64,
    ) -> Result<Response<Incoming>, PullError> {
        let url = format!("{}/v2/{}/{what}", self.origin, self.reference.repository());
        let first = self.follow(&method, &url, accept, range_from).await?;
        // Whoever else asks for our name and password does not get them.
        if first.response.status() != StatusCode::UNAUTHORIZED || !first.from_registry {
            return self.success(first.response).await;
        }
        let challenge = first.response.headers().get(WWW_AUTHENTICATE).and_then(|value| value.to_str().ok());
        let Some(challenge) = challenge.and_then(Challenge::parse) else { return self.success(first.response).await };
        let header = self.authorize(&challenge).await?;
        *self.authorization.lock().await = Some(header);
        let second = self.follow(&method, &url, accept, range_from).await?;
        self.success(second.response).await
    }

    /// Whether the registry still has under the name what it had when `known` was pulled, and gives it to us. Costs no
    /// download, and does not count as one with registries that limit them. A registry that does not say is asked again
    /// by the pull.
    pub async fn is_current(&self, known: Option<&Digest>) -> Result<bool, PullError> {
        let Some(known) = known else { return Ok(false) };
        let what = format!("manifests/{}", self.reference.manifest());
        match self.get(Method::HEAD, &what, ACCEPT_MANIFEST, 0).await {
            Ok(response) => {
                let digest = response.headers().get(CONTENT_DIGEST).and_then(|value| value.to_str().ok());
                Ok(digest.is_some_and(|digest| digest == known.to_string()))
            }
            Err(error @ PullError::Unreachable { .. }) => Err(error),
            // Not every registry knows HEAD, and none says why it refuses it: the pull will tell.
            Err(_) => Ok(false),
        }
    }

    async fn authorize(&self, challenge: &Challenge) -> Result<Zeroizing<String>, PullError> {
        let basic = self.credentials.map(auth::basic);
        let refused = |reason: &str| self.denied(StatusCode::UNAUTHORIZED, reason);
        if *challenge == Challenge::Basic {
            return basic.ok_or_else(|| refused("the registry wants a user name and a password"));
        }
        let url = challenge.token_url(self.reference.repository());
        let url = url.ok_or_else(|| refused("the registry's challenge names no realm"))?;
        // Neither password nor token travels in clear text, but where a registry would be spoken to so.
        if !url.starts_with("https://") && !host_of(&url).is_some_and(|host| self.registry.is_insecure(&host)) {
            return Err(refused("the registry's token service is not behind TLS"));
        }
        if host_of(&url).is_some_and(|host| is_link_local_host(&host)) {
            return Err(refused("the registry's token service is at a link-local address"));
        }
        let response = self.send(&Method::GET, &url, "application/json", 0, basic.as_ref()).await?;
        let body = self.read(self.success(response).await?.into_body(), TOKEN_BYTES_MAX).await;
        let body = body.map_err(|error| self.unreachable(&url, error))?;
        auth::bearer(&body).ok_or_else(|| refused("the registry's token service gave no token"))
    }

    /// Sends a request and follows where it leads. What authorizes us goes to the registry alone.
    async fn follow(&self, method: &Method, url: &str, accept: &str, range_from: u64) -> Result<Answer, PullError> {
        let mut url = url.to_owned();
        for _ in 0..=REDIRECTS_MAX {
            let from_registry = origin_of(&url).is_some_and(|origin| origin == self.origin);
            let authorization = self.authorization.lock().await.clone().filter(|_| from_registry);
            let response = self.send(method, &url, accept, range_from, authorization.as_ref()).await?;
            if !response.status().is_redirection() || response.status() == StatusCode::NOT_MODIFIED {
                return Ok(Answer { response, from_registry });
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
        if host_of(&absolute).is_some_and(|host| is_link_local_host(&host)) {
            return Err(self.redirect(location, "it leads to a link-local address"));
        }
        match uri.scheme_str() {
            Some("http") if !from.starts_with("http://") => {
                Err(self.redirect(location, "it leads from TLS to clear text"))
            }
            // A registry on loopback must not make us speak in clear text to the world.
            Some("http") if !host_of(&absolute).is_some_and(|host| self.registry.is_insecure(&host)) => {
                Err(self.redirect(location, "it leads to a host that is not allowed without TLS"))
            }
            Some("http" | "https") => Ok(absolute),
            _ => Err(self.redirect(location, "it is neither http nor https")),
        }
    }

    async fn send(
        &self,
        method: &Method,
        url: &str,
        accept: &str,
        range_from: u64,
        authorization: Option<&Zeroizing<String>>,
    ) -> Result<Response<Incoming>, PullError> {
        let mut request = Request::builder().method(method).uri(url).header(ACCEPT, accept).header(USER_AGENT, PRODUCT);
        if range_from > 0 {
            request = request.header(RANGE, format!("bytes={range_from}-"));
        }
        if let Some(authorization) = authorization {
            let header = HeaderValue::from_str(authorization);
            let mut header = header.map_err(|error| self.unreachable(url, error))?;
            header.set_sensitive(true);
            request = request.header(AUTHORIZATION, header);
        }
        let request = request.body(Empty::new()).map_err(|error| self.unreachable(url, error))?;
        let answered = tokio::time::timeout(self.limits.answer_max(), self.registry.send(request)).await;
        answered.map_err(|error| self.unreachable(url, error))?.map_err(|error| self.unreachable(url, error))
    }

    async fn success(&self, response: Response<Incoming>) -> Result<Response<Incoming>, PullError> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        // An answer whose reason cannot be read is one without.
        let body = self.read(response.into_body(), ERROR_BYTES_MAX).await.unwrap_or_default();
        let detail = reason(status, &body, &self.secrets().await);
        let reference = self.reference.familiar();
        Err(match status {
            StatusCode::NOT_FOUND => PullError::NotFound { reference, status: status.as_u16(), detail },
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => self.denied(status, &detail),
            _ => PullError::Status { reference, status: status.as_u16(), detail },
        })
    }

    /// What a registry may know and nobody else may read.
    async fn secrets(&self) -> Vec<Zeroizing<String>> {
        let sent = self.authorization.lock().await.clone();
        let basic = self.credentials.map(auth::basic);
        // Without the scheme before it, which is no secret.
        let bare = |header: Zeroizing<String>| header.split_once(' ').map(|(_, it)| Zeroizing::new(it.to_owned()));
        let sent = [sent, basic].into_iter().flatten().filter_map(bare);
        sent.chain(self.credentials.map(|credentials| credentials.password.clone())).collect()
    }

    /// A whole small body. One that is larger is a [`http_body_util::LengthLimitError`].
    pub(super) async fn read(&self, body: Incoming, bytes_max: usize) -> Result<Bytes, Failure> {
        let collected = Limited::new(body, bytes_max).collect();
        Ok(tokio::time::timeout(self.limits.answer_max(), collected).await??.to_bytes())
    }

    fn denied(&self, status: StatusCode, detail: &str) -> PullError {
        let reference = self.reference.familiar();
        PullError::Denied { reference, status: status.as_u16(), detail: detail.to_owned() }
    }

    fn redirect(&self, location: &str, reason: &'static str) -> PullError {
        PullError::Redirect { reference: self.reference.familiar(), location: location.to_owned(), reason }
    }

    fn unreachable(&self, url: &str, error: impl Into<Failure>) -> PullError {
        let host = origin_of(url).unwrap_or_else(|| url.to_owned());
        PullError::Unreachable { reference: self.reference.familiar(), host, source: error.into() }
    }

    /// The registry's answer broke off.
    pub(super) fn broken(&self, error: impl Into<Failure>) -> PullError {
        self.unreachable(&self.origin, error)
    }

    pub fn reference(&self) -> &Reference {
        self.reference
    }

    pub fn limits(&self) -> Limits {
        self.limits
    }
}

/// What an answer gives as its reason: the registry's own words (OCI distribution specification, "Error codes"), else the
/// text as it is, else what the status stands for. A registry that repeats what it was sent does not give it away.
fn reason(status: StatusCode, body: &[u8], secrets: &[Zeroizing<String>]) -> String {
    #[derive(Deserialize)]
    struct Errors {
        errors: Vec<Entry>,
    }
    #[derive(Deserialize)]
    struct Entry {
        code: String,
        #[serde(default)]
        message: String,
    }
    let told = match serde_json::from_slice::<Errors>(body) {
        Ok(told) => {
            let entry = |entry: &Entry| match entry.message.as_str() {
                "" => entry.code.clone(),
                message => format!("{}: {message}", entry.code),
            };
            told.errors.iter().map(entry).collect::<Vec<_>>().join("; ")
        }
        Err(_) => String::from_utf8_lossy(body).into_owned(),
    };
    let hide = |told: String, secret: &Zeroizing<String>| told.replace(secret.as_str(), HIDDEN);
    let told = secrets.iter().filter(|secret| !secret.is_empty()).fold(told, hide);
    // It ends up in logs and on terminals.
    let told: String = told.trim().chars().filter(|char| !char.is_control()).take(ERROR_CHARS_SHOWN).collect();
    if told.is_empty() { status.canonical_reason().unwrap_or("no reason given").to_owned() } else { told }
}

/// `scheme://host[:port]`
fn origin_of(url: &str) -> Option<String> {
    let uri: Uri = url.parse().ok()?;
    Some(format!("{}://{}", uri.scheme_str()?, uri.authority()?))
}

/// `host[:port]`
fn host_of(url: &str) -> Option<String> {
    let uri: Uri = url.parse().ok()?;
    uri.authority().map(ToString::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_the_registrys_own() {
        let json = br#"{"errors":[{"code":"DENIED","message":"no pull access","detail":{}},{"code":"X"}]}"#;
        assert_eq!(reason(StatusCode::FORBIDDEN, json, &[]), "DENIED: no pull access; X");
        assert_eq!(reason(StatusCode::BAD_GATEWAY, b" up\x1b[31mstream \n", &[]), "up[31mstream");
        assert_eq!(reason(StatusCode::NOT_FOUND, b"", &[]), "Not Found");
        assert_eq!(reason(StatusCode::NOT_FOUND, &[b'x'; 9000], &[]).len(), ERROR_CHARS_SHOWN);
    }

    #[test]
    fn a_reason_gives_no_secret_away() {
        let secrets = [String::new(), "hunter2".to_owned()].map(Zeroizing::new);
        let told = reason(StatusCode::FORBIDDEN, b"me:hunter2 is not hunter2", &secrets);
        assert_eq!(told, "me:*** is not ***");
        // Also where it would be cut off in its middle.
        let told = reason(StatusCode::FORBIDDEN, &[&[b'x'; 497][..], b"hunter2"].concat(), &secrets);
        assert!(told.ends_with("x***"), "{told}");
    }
}
