//! The listener, and HTTP around [`Routes`].

use std::convert::Infallible;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use estiva_network::{Audience, HostService, Protocol};
use estiva_wire::server::{Admission, Patient, Place, Shares, Standing};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tracing::{debug, warn};

use super::limit::Limit;
use super::routes::{Question, Routes};
use super::stats::Stats;
use super::{EndpointAddress, TASK_ADDRESS};
use crate::engine::{ControlPlane, Engine, Host};
use crate::error::AgentError;
use crate::options::Options;

/// A running container knows the port: an agent that comes back must have the same.
const PORT_FILE: &str = "endpoint-port";
/// Connections at one time: of one task's address, of all tasks together that have got no answer yet, and of one task that
/// has. Tasks with the host's network share an address with each other.
const SHARES: Shares = Shares { source: 32, unproven: 256, holder: 32 };
/// How long a client may take for its head, for its body, to take an answer, and for everything.
const HEAD_MAX: Duration = Duration::from_secs(5);
const BODY_MAX: Duration = Duration::from_secs(5);
const WRITE_MAX: Duration = Duration::from_secs(5);
const REQUEST_MAX: Duration = Duration::from_secs(30);
const BODY_BYTES_MAX: usize = 4096;

/// A listener that containers have been told of.
pub(crate) struct Endpoint(TcpListener);

impl Endpoint {
    /// Listens, and lets tasks through to it and to the control plane.
    pub async fn open(host: &Host, options: &Options) -> Result<Self, AgentError> {
        let (state_dir, server) = (&options.node.state_dir, options.server_of_tasks.as_str());
        let file = state_dir.join(PORT_FILE);
        let listener = match &options.containers_listener {
            Some(listener) => listener.try_clone(),
            None => listen_for_containers(state_dir),
        };
        let listener = listener.and_then(TcpListener::from_std).map_err(AgentError::io(&file))?;
        let port = listener.local_addr().map_err(AgentError::io(&file))?.port();
        fs::write(&file, format!("{port}\n")).map_err(AgentError::io(&file))?;
        let local = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
        let tcp = |address, target, audience| HostService { protocol: Protocol::Tcp, address, target, audience };
        host.network.offer(tcp(SocketAddrV4::new(TASK_ADDRESS, 80), local, Audience::All)).await?;
        let apis = match loopback(server) {
            Some(target) => {
                let address = SocketAddrV4::new(TASK_ADDRESS, target.port());
                host.network.offer(tcp(address, target, Audience::Clients)).await?;
                Some((format!("http://{address}"), server.to_owned()))
            }
            None => Some((server.to_owned(), server.to_owned())),
        };
        // Opened once, before any task is.
        let _ = host.endpoint.set(EndpointAddress { local, apis });
        Ok(Self(listener))
    }

    /// Answers for as long as it is polled.
    pub async fn run(&self, host: Arc<Host>, engine: Engine, control_plane: ControlPlane) -> Infallible {
        let routes = Routes { host, engine, control_plane, limit: Limit::default(), stats: Stats::default() };
        let routes = Arc::new(routes);
        let admission = Admission::new(SHARES);
        loop {
            let accepted = self.0.accept().await;
            let Ok((stream, peer)) = accepted else {
                warn!("a container's connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let (place, routes) = (admission.enter(source(peer.ip())), Arc::clone(&routes));
            tokio::spawn(async move {
                tokio::select! {
                    () = serve(stream, peer, &place, &routes) => {}
                    () = place.evicted() => debug!(%peer, "closed: others need the place"),
                }
            });
        }
    }
}

/// Listens where the containers of the node with this directory have been told to ask, or at any port. Who starts the agent may do so
/// for it, and keep the listener: then nobody takes the port while the agent is started again.
///
/// # Errors
/// There is no port.
pub fn listen_for_containers(state_dir: &Path) -> io::Result<std::net::TcpListener> {
    let former = fs::read_to_string(state_dir.join(PORT_FILE));
    let former: u16 = former.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0);
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, former)).or_else(|error| {
        warn!(port = former, %error, "another program has the port of the containers' endpoint; tasks with the host's network \
            that run already will not find it");
        std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
    })?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// The address of a server on this machine's loopback, which tasks cannot reach.
fn loopback(server: &str) -> Option<SocketAddrV4> {
    let authority = server.strip_prefix("http://")?.split('/').next()?;
    let address: SocketAddrV4 = authority.parse().ok()?;
    address.ip().is_loopback().then_some(address)
}

/// Who a connection counts for. A task with the host's network has as many loopback addresses as it likes.
fn source(peer: IpAddr) -> IpAddr {
    if peer.is_loopback() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { peer }
}

async fn serve(stream: TcpStream, peer: SocketAddr, place: &Place, routes: &Routes) {
    let service = service_fn(|request: Request<Incoming>| async move {
        let standing = place.standing();
        let _underway = standing.begin();
        let answer = tokio::time::timeout(REQUEST_MAX, answer(request, peer.ip(), &standing, routes)).await;
        let timed_out = |_| (StatusCode::REQUEST_TIMEOUT, serde_json::json!("time-out"));
        let (status, body) = answer.unwrap_or_else(timed_out);
        let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
        *response.status_mut() = status;
        let json = http::HeaderValue::from_static("application/json");
        response.headers_mut().insert(http::header::CONTENT_TYPE, json);
        Ok::<_, Infallible>(response)
    });
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_MAX).max_buf_size(16 * 1024);
    if let Err(error) = builder.serve_connection(TokioIo::new(Patient::new(stream, WRITE_MAX)), service).await {
        debug!(%peer, error = &error as &dyn std::error::Error, "a container's connection failed");
    }
}

async fn answer(
    request: Request<Incoming>,
    peer: IpAddr,
    standing: &Standing,
    routes: &Routes,
) -> (StatusCode, serde_json::Value) {
    let (parts, body) = request.into_parts();
    // A name instead of an address is a browser, or a proxy, that somebody has led here.
    let host = parts.headers.get(http::header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let address = host.split_once(':').map_or(host, |(address, _)| address);
    if address.parse().ok().is_none_or(|address: Ipv4Addr| address != TASK_ADDRESS && !address.is_loopback()) {
        return (StatusCode::FORBIDDEN, serde_json::json!("the Host header names another host"));
    }
    let read = tokio::time::timeout(BODY_MAX, Limited::new(body, BODY_BYTES_MAX).collect());
    let Ok(read) = read.await else {
        return (StatusCode::REQUEST_TIMEOUT, serde_json::json!("time-out"));
    };
    let Ok(body) = read else {
        return (StatusCode::PAYLOAD_TOO_LARGE, serde_json::json!("the body is too large"));
    };
    let body = body.to_bytes();
    let question = Question {
        standing,
        peer,
        method: &parts.method,
        path: parts.uri.path(),
        headers: &parts.headers,
        body: &body,
    };
    routes.answer(&question).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_control_plane_on_loopback_needs_a_way_through() {
        assert_eq!(loopback("http://127.0.0.1:4566"), Some("127.0.0.1:4566".parse().unwrap()));
        assert_eq!(loopback("http://192.0.2.1:4566"), None);
        assert_eq!(loopback("https://ecs.example"), None);
    }
}
