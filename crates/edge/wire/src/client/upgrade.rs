//! The handshake request of a signed WebSocket: how a node opens its connections to the control plane.

use estiva_model::Timestamp;
use http::header::{CONNECTION, HOST, HeaderMap, HeaderValue, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use http::{Method, Request, Uri};
use tokio_tungstenite::tungstenite::handshake::client::generate_key;

use crate::sigv4::{Signable, SigningCredentials, sign_headers};

/// The signing name of the node protocol.
const SERVICE: &str = "ecs";

/// A GET of `url` (`ws://…` or `wss://…`, query included) that asks for a WebSocket, signed at the time `now`: `Host` and `X-Amz-Date` are
/// what is signed, and with temporary credentials the session token. For `tokio_tungstenite::client_async`.
///
/// # Errors
/// When `url` is no absolute URL, or the credentials cannot stand in a header.
pub fn signed_upgrade_request(
    url: &str,
    credentials: &SigningCredentials,
    region: &str,
    now: Timestamp,
) -> Result<Request<()>, http::Error> {
    let uri: Uri = url.parse().map_err(http::Error::from)?;
    let host = uri.authority().map(http::uri::Authority::as_str).unwrap_or_default();
    let mut headers = HeaderMap::new();
    headers.insert(HOST, HeaderValue::from_str(host)?);
    let signable = Signable { method: &Method::GET, uri: &uri, body: b"", region, service: SERVICE, now };
    sign_headers(&signable, credentials, &mut headers)?;
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    headers.insert(SEC_WEBSOCKET_KEY, HeaderValue::from_str(&generate_key())?);
    let mut request = Request::new(());
    *request.method_mut() = Method::GET;
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    Ok(request)
}
