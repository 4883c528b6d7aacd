//! What happens to one request, from its head to its answer: route, verify, read, authorise, call.
//!
//! The order is the defence: nothing of a body is read before the head shows a known key, and no service is called before
//! the whole signature holds and the authorizer agrees.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use estiva_model::{Caller, Principal, Timestamp};
use estiva_schema::{Authorizer, RawRequest, Service};
use futures_util::FutureExt;
use http::header::{CONNECTION, CONTENT_TYPE, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_VERSION, UPGRADE};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::sync::{Semaphore, watch};
use uuid::Uuid;

use super::admission::Standing;
use super::body::{ReadBody, ResponseBody, full, held, kib, read_within};
use super::cors::{self, AllowedOrigins};
use super::limits::Limits;
use super::listen::Peer;
use super::paths::{Handler, Paths, Route};
use super::respond::{self, Failure};
use super::services::{Found, Services};
use super::shares::{Room, Taken};
use super::throttle::Throttle;
use super::tongue::Tongue;
use super::upgrade::{Handshake, Refusal, TokenUpgradeHandler, Upgrade, UpgradeHandler, UpgradedIo, parameters};
use crate::sigv4::{AuthError, Claim, Verifier};

/// Everything behind the listener: services, plain paths, and who may pass.
pub struct Edge {
    verifier: Verifier,
    authorizer: Arc<dyn Authorizer>,
    services: Services,
    paths: Paths,
    limits: Limits,
    throttle: Option<Throttle>,
    origins: AllowedOrigins,
    body_bytes_of: fn(&str) -> Option<usize>,
    is_trusted: fn(&Caller) -> bool,
    bodies: Room,
    calls: Room,
}

/// What the access log says of a request.
struct Entry {
    tongue: Tongue,
    operation: Option<(&'static str, &'static str)>,
}

impl Edge {
    /// An edge without services.
    pub fn new(verifier: Verifier, authorizer: Arc<dyn Authorizer>, limits: Limits) -> Self {
        let bodies = Room::new(kib(limits.bodies_bytes_max) as usize, kib(limits.bodies_share_bytes_max) as usize);
        let calls = Room::new(Semaphore::MAX_PERMITS, limits.calls_share_max);
        Self {
            verifier,
            authorizer,
            services: Services::default(),
            paths: Paths::default(),
            limits,
            throttle: None,
            origins: AllowedOrigins::default(),
            body_bytes_of: |_| None,
            is_trusted: |caller| caller.principal == Principal::Root,
            bodies,
            calls,
        }
    }

    /// Bytes of the bodies of actions such as `logs:PutLogEvents` that need more, or less, than others.
    #[must_use]
    pub fn body_bytes(mut self, of: fn(action: &str) -> Option<usize>) -> Self {
        self.body_bytes_of = of;
        self
    }

    /// Whose calls and connections have no bound of their own: the account's owner's, unless this says otherwise.
    #[must_use]
    pub fn trusting(mut self, is_trusted: fn(&Caller) -> bool) -> Self {
        self.is_trusted = is_trusted;
        self
    }

    /// Answers calls beyond these rates with ThrottlingException.
    #[must_use]
    pub fn throttled(mut self, throttle: Throttle) -> Self {
        self.throttle = Some(throttle);
        self
    }

    /// Lets pages of these origins, such as `http://localhost:3000`, call from browsers.
    #[must_use]
    pub fn allow_origins(mut self, origins: Vec<String>) -> Self {
        self.origins = AllowedOrigins(origins);
        self
    }

    /// Adds an AWS API.
    #[must_use]
    pub fn service(mut self, service: Arc<dyn Service>) -> Self {
        self.services.insert(service);
        self
    }

    /// Adds a plain path: exact, or `/prefix/*`. `/` gets only what cannot be an AWS call: unsigned reads without a
    /// query.
    #[must_use]
    pub fn handler(mut self, path: &str, handler: Arc<dyn Handler>) -> Self {
        self.paths.insert(path, Route::Plain(handler));
        self
    }

    /// Adds a path of WebSockets, whose requests must be signed for `service`.
    #[must_use]
    pub fn upgrade(mut self, path: &str, service: &str, handler: Arc<dyn UpgradeHandler>) -> Self {
        self.paths.insert(path, Route::Upgrade { service: service.to_owned(), handler });
        self
    }

    /// Adds a path of WebSockets whose requests are not signed.
    #[must_use]
    pub fn token_upgrade(mut self, path: &str, handler: Arc<dyn TokenUpgradeHandler>) -> Self {
        self.paths.insert(path, Route::TokenUpgrade(handler));
        self
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Answers one request, whatever happens.
    pub(super) async fn answer(
        &self,
        request: Request<Incoming>,
        ended: watch::Receiver<bool>,
    ) -> Response<ResponseBody> {
        let started = Instant::now();
        let request_id = Uuid::new_v4().to_string();
        let (parts, body) = request.into_parts();
        let origin = self.origins.allowed(&parts.headers);
        if let Some(origin) = &origin
            && let Some(mut response) = cors::preflight(&parts)
        {
            cors::permit(&mut response, origin.clone());
            return response;
        }
        let mut entry = Entry { tongue: self.services.tongue(&parts), operation: None };
        let answered =
            AssertUnwindSafe(self.dispatch(parts, body, &request_id, &mut entry, ended)).catch_unwind().await;
        let Entry { tongue, operation } = entry;
        let (service, operation) = operation.unwrap_or_default();
        let mut response = match answered {
            Ok(Ok(response)) => response,
            Ok(Err(failure)) => respond::failure(tongue, failure, &request_id),
            Err(_) => {
                tracing::error!(%request_id, service, operation, "a handler panicked");
                respond::failure(tongue, respond::internal_failure(), &request_id)
            }
        };
        let status = response.status().as_u16();
        let duration_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        tracing::debug!(%request_id, service, operation, status, duration_us, "answered");
        if let Some(origin) = origin {
            cors::permit(&mut response, origin);
        }
        if let Ok(value) = HeaderValue::try_from(request_id) {
            response.headers_mut().insert(respond::REQUEST_ID, value);
        }
        response
    }

    async fn dispatch(
        &self,
        parts: Parts,
        body: Incoming,
        request_id: &str,
        entry: &mut Entry,
        ended: watch::Receiver<bool>,
    ) -> Result<Response<ResponseBody>, Failure> {
        match self.paths.find(&parts) {
            None => self.call(&parts, body, request_id, entry).await,
            Some(Route::Plain(handler)) => Ok(handler.handle(Request::from_parts(parts, body)).await),
            Some(Route::TokenUpgrade(handler)) => Ok(switch_by_token(parts, handler, ended)),
            Some(Route::Upgrade { service, handler }) => {
                entry.tongue = Tongue::json();
                self.switch(parts, service, handler, request_id, ended).await
            }
        }
    }

    async fn call(
        &self,
        parts: &Parts,
        body: Incoming,
        request_id: &str,
        entry: &mut Entry,
    ) -> Result<Response<ResponseBody>, Failure> {
        let named = self.services.by_head(parts)?;
        let claim = self.verifier.begin(parts, Timestamp::now())?;
        let action_of = |found: &Found<'_>| format!("{}:{}", found.service.schema().signing_name, found.operation.name);
        let limit = named.as_ref().and_then(|found| (self.body_bytes_of)(&action_of(found)));
        let limit = limit.unwrap_or(self.limits.body_bytes_max);
        let user = self.user(parts, claim.proven());
        let room = Some((&self.bodies, user.as_deref()));
        let ReadBody { bytes: body, _room } = read_within(body, limit, &self.limits, room).await?;
        let input = match &parts.method {
            &Method::GET if named.is_none() => parts.uri.query().unwrap_or_default().as_bytes(),
            _ => &body[..],
        };
        let Found { service, operation } = match named {
            Some(found) => found,
            None => self.services.by_form(parts, input)?,
        };
        let schema = service.schema();
        entry.operation = Some((schema.signing_name, operation.name));
        check_scope(&claim, schema.signing_name)?;
        let caller = claim.finish(&body)?;
        let is_trusted = (self.is_trusted)(&caller);
        if let Some(standing) = parts.extensions.get::<Standing>()
            && !standing.prove(&caller.arn(), is_trusted)
        {
            return Err(Failure::Busy("connections"));
        }
        let action = format!("{}:{}", schema.signing_name, operation.name);
        self.authorizer.authorize(&caller, &action)?;
        if self.throttle.as_ref().is_some_and(|throttle| !throttle.take(&caller, &action, Instant::now())) {
            return Err(respond::api_error("ThrottlingException", "Rate exceeded", StatusCode::BAD_REQUEST).into());
        }
        let request = RawRequest { body: input, caller, request_id: request_id.to_owned() };
        let turn = self.turn(&request.caller).await?;
        let output = service.call(operation, entry.tongue.codec, request).await?;
        Ok(respond::output(entry.tongue, held(output, turn)))
    }

    /// Who a body is counted for: nobody, if the caller has no bound.
    fn user(&self, parts: &Parts, proven: Option<&Caller>) -> Option<String> {
        match proven {
            Some(caller) => (!(self.is_trusted)(caller)).then(|| caller.arn()),
            // Anybody can claim to be the owner; a signature shows it, and that covers the body.
            None => parts.extensions.get::<Peer>().and_then(Peer::address).map(|address| address.to_string()),
        }
    }

    /// Waits for the caller's turn.
    async fn turn(&self, caller: &Caller) -> Result<Option<Taken>, Failure> {
        if (self.is_trusted)(caller) {
            return Ok(None);
        }
        let turn = self.calls.take(Some(&caller.arn()), 1, self.limits.calls_wait).await;
        turn.map(Some).ok_or(Failure::Busy("calls under way"))
    }

    async fn switch(
        &self,
        mut parts: Parts,
        service: &str,
        handler: &Arc<dyn UpgradeHandler>,
        request_id: &str,
        ended: watch::Receiver<bool>,
    ) -> Result<Response<ResponseBody>, Failure> {
        let Handshake::Accept(accept) = Handshake::of(&parts.method, &parts.headers) else {
            return Ok(upgrade_required());
        };
        let claim = self.verifier.begin(&parts, Timestamp::now())?;
        check_scope(&claim, service)?;
        let caller = claim.finish(b"")?;
        let upgrade = Upgrade {
            path: parts.uri.path().to_owned(),
            query: parameters(parts.uri.query().unwrap_or_default()),
            caller,
            request_id: request_id.to_owned(),
        };
        if let Err(refusal) = handler.admit(&upgrade).await {
            return Ok(refused(refusal));
        }
        let Some(pending) = parts.extensions.remove::<OnUpgrade>() else {
            return Ok(upgrade_required());
        };
        let handler = handler.clone();
        tokio::spawn(serve_upgraded(pending, ended, move |io| async move { handler.serve(upgrade, io).await }));
        Ok(switching(&accept))
    }
}

fn switch_by_token(
    mut parts: Parts,
    handler: &Arc<dyn TokenUpgradeHandler>,
    ended: watch::Receiver<bool>,
) -> Response<ResponseBody> {
    let handshake = Handshake::of(&parts.method, &parts.headers);
    let (Handshake::Accept(accept), Some(pending)) = (handshake, parts.extensions.remove::<OnUpgrade>()) else {
        return upgrade_required();
    };
    let (handler, path) = (handler.clone(), parts.uri.path().to_owned());
    if let Err(refusal) = handler.admit(&path) {
        return refused(refusal);
    }
    tokio::spawn(serve_upgraded(pending, ended, move |io| async move { handler.serve(path, io).await }));
    switching(&accept)
}

fn refused(refusal: Refusal) -> Response<ResponseBody> {
    let mut response = Response::new(full(refusal.body));
    *response.status_mut() = refusal.status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// A signature for one service is no good for another.
fn check_scope(claim: &Claim<'_>, service: &str) -> Result<(), AuthError> {
    match claim.service() {
        Some(found) if found != service && claim.is_verified() => {
            Err(AuthError::mismatch(format!("Credential should be scoped to correct service: '{service}'.")))
        }
        _ => Ok(()),
    }
}

/// Runs an upgraded connection to its end, or to the server's.
async fn serve_upgraded<F: Future<Output = ()>>(
    pending: OnUpgrade,
    mut ended: watch::Receiver<bool>,
    handle: impl FnOnce(UpgradedIo) -> F,
) {
    let serve = async {
        match pending.await {
            Ok(io) => handle(TokioIo::new(io)).await,
            Err(error) => tracing::debug!(%error, "a connection was lost while it was being upgraded"),
        }
    };
    tokio::select! {
        () = serve => {}
        _ = ended.wait_for(|ended| *ended) => {}
    }
}

fn switching(accept: &str) -> Response<ResponseBody> {
    let mut response = Response::new(full(""));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(accept) = HeaderValue::from_str(accept) {
        headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    }
    response
}

fn upgrade_required() -> Response<ResponseBody> {
    let mut response = Response::new(full(""));
    *response.status_mut() = StatusCode::UPGRADE_REQUIRED;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    response
}
