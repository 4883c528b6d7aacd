//! CORS (Fetch standard): which pages of other origins may call the API from a browser. Signatures still decide what they may do.

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, HeaderValue, ORIGIN, VARY,
};
use http::request::Parts;
use http::{Method, Response, StatusCode};

use super::body::{ResponseBody, full};

const METHODS: HeaderValue = HeaderValue::from_static("DELETE, GET, HEAD, POST, PUT");
const EXPOSED: HeaderValue = HeaderValue::from_static("x-amzn-errortype, x-amzn-requestid");
/// Seconds that a browser may keep a permission: browsers keep none for longer than two hours.
const MAX_AGE: HeaderValue = HeaderValue::from_static("7200");

/// The origins that are allowed, such as `http://localhost:3000`. None are unless they are named.
#[derive(Debug, Clone, Default)]
pub(super) struct AllowedOrigins(pub Vec<String>);

impl AllowedOrigins {
    /// The request's origin, if it is allowed.
    pub fn allowed(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let origin = headers.get(ORIGIN)?;
        let is_allowed = self.0.iter().any(|allowed| origin.as_bytes() == allowed.as_bytes());
        is_allowed.then(|| origin.clone())
    }
}

/// The answer to a browser's question whether a page may send what it has in mind. It asks without a signature.
pub(super) fn preflight(parts: &Parts) -> Option<Response<ResponseBody>> {
    if parts.method != Method::OPTIONS || !parts.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD) {
        return None;
    }
    let mut response = Response::new(full(""));
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    headers.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    if let Some(asked) = parts.headers.get(ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
    }
    Some(response)
}

/// Lets the page of that origin read the answer.
pub(super) fn permit(response: &mut Response<ResponseBody>, origin: HeaderValue) {
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    headers.append(VARY, HeaderValue::from_static("Origin"));
}
