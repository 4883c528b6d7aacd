//! WebSockets: the node protocol's connections. This module does the handshake; who handles the frames gets the bare
//! stream and the verified caller.

use async_trait::async_trait;
use estiva_model::Caller;
use http::header::{CONNECTION, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use http::{Method, StatusCode};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::sigv4::decode_query;

/// The stream under an upgraded connection: wrap it with `WebSocketStream::from_raw_socket(io, Role::Server, …)`.
pub type UpgradedIo = TokioIo<Upgraded>;

/// A WebSocket request whose signature is verified.
#[derive(Debug, Clone)]
pub struct Upgrade {
    /// The path, such as `/acs/ws`.
    pub path: String,
    /// The query's parameters in their order, decoded.
    pub query: Vec<(String, String)>,
    /// Who signed the request.
    pub caller: Caller,
    /// The id that the answer carries in `x-amzn-RequestId`.
    pub request_id: String,
}

impl Upgrade {
    /// The first query parameter of that name.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

/// An upgrade that is not granted: the answer's status and JSON body, such as `{"InactiveInstanceException":"…"}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Anything but 101.
    pub status: StatusCode,
    /// JSON.
    pub body: String,
}

/// Serves the WebSockets of one path.
#[async_trait]
pub trait UpgradeHandler: Send + Sync {
    /// Whether the caller may connect; asked before the answer is sent.
    async fn admit(&self, upgrade: &Upgrade) -> Result<(), Refusal>;

    /// Speaks over the connection until it ends. Dropped when the server stops and the time for draining is over.
    async fn serve(&self, upgrade: Upgrade, io: UpgradedIo);
}

/// Serves WebSockets of one path whose requests are not signed: whoever comes proves itself by what it sends first.
#[async_trait]
pub trait TokenUpgradeHandler: Send + Sync {
    /// Whether what is asked for exists at all; asked before the answer is sent. `path` is the request's.
    fn admit(&self, path: &str) -> Result<(), Refusal>;

    /// Speaks over the connection until it ends. Dropped when the server stops.
    async fn serve(&self, path: String, io: UpgradedIo);
}

/// A WebSocket handshake as RFC 6455, section 4.2.1 wants it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Handshake {
    /// Complete: the answer's `Sec-WebSocket-Accept`.
    Accept(String),
    /// Not an upgrade, or of a version that is not spoken.
    UpgradeRequired,
}

impl Handshake {
    pub(super) fn of(method: &Method, headers: &HeaderMap) -> Self {
        let key = headers.get(SEC_WEBSOCKET_KEY).filter(|key| key.len() == 24);
        let version = headers.get(SEC_WEBSOCKET_VERSION).is_some_and(|version| version == "13");
        match key {
            Some(key)
                if *method == Method::GET
                    && version
                    && has_token(headers, &CONNECTION, "upgrade")
                    && has_token(headers, &UPGRADE, "websocket") =>
            {
                Self::Accept(derive_accept_key(key.as_bytes()))
            }
            _ => Self::UpgradeRequired,
        }
    }
}

fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value: &HeaderValue| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|found| found.trim().eq_ignore_ascii_case(token))
}

/// The parameters of a query; bytes that are no UTF-8 are replaced.
pub(super) fn parameters(query: &str) -> Vec<(String, String)> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (decode_query(name), decode_query(value)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 6455, section 1.3.
    fn headers() -> HeaderMap {
        [
            (CONNECTION, "keep-alive, Upgrade"),
            (UPGRADE, "websocket"),
            (SEC_WEBSOCKET_VERSION, "13"),
            (SEC_WEBSOCKET_KEY, "dGhlIHNhbXBsZSBub25jZQ=="),
        ]
        .map(|(name, value)| (name, HeaderValue::from_static(value)))
        .into_iter()
        .collect()
    }

    #[test]
    fn a_complete_handshake_is_accepted() {
        let accept = Handshake::Accept("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".to_owned());
        assert_eq!(Handshake::of(&Method::GET, &headers()), accept);
    }

    #[test]
    fn anything_less_is_not() {
        assert_eq!(Handshake::of(&Method::POST, &headers()), Handshake::UpgradeRequired);
        for (name, value) in
            [(CONNECTION, "keep-alive"), (UPGRADE, "h2c"), (SEC_WEBSOCKET_VERSION, "8"), (SEC_WEBSOCKET_KEY, "short")]
        {
            let mut headers = headers();
            headers.insert(&name, HeaderValue::from_static(value));
            assert_eq!(Handshake::of(&Method::GET, &headers), Handshake::UpgradeRequired, "{name}: {value}");
            headers.remove(&name);
            assert_eq!(Handshake::of(&Method::GET, &headers), Handshake::UpgradeRequired, "without {name}");
        }
    }

    #[test]
    fn queries_are_decoded_in_order() {
        let pairs = parameters("b=arn%3Aaws%2Fx&a=1+2&flag&&b=%E2%82%AC%zz");
        let expected = [("b", "arn:aws/x"), ("a", "1 2"), ("flag", ""), ("b", "€%zz")];
        assert_eq!(pairs, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
}
