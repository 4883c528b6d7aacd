//! One call of an operation: encode, sign, send, decode.

use std::time::Duration;

use bytes::Bytes;
use estiva_model::{Region, Timestamp};
use estiva_schema::Operation;
use http::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, Uri};
use http_body_util::Full;
use serde::Deserialize;

use super::error::{ClientError, ServiceError};
use super::transport::{Transport, TransportError};
use crate::sigv4::{Signable, SigningCredentials, sign_headers};

const TIMEOUT: Duration = Duration::from_secs(30);
const TARGET: HeaderName = HeaderName::from_static("x-amz-target");

/// A client of the AWS APIs behind one endpoint: those that speak awsJson. Cheap to clone; clones share connections.
///
/// It does not retry: see [`ClientError::is_retryable`].
#[derive(Clone)]
pub struct Client {
    transport: Transport,
    endpoint: Uri,
    credentials: SigningCredentials,
    region: Region,
    timeout: Duration,
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
    /// A client of `endpoint`, such as `http://127.0.0.1:4566`.
    pub fn new(endpoint: &str, credentials: SigningCredentials, region: Region) -> Result<Self, EndpointError> {
        let uri: Uri = endpoint.parse().map_err(|_| EndpointError::Url(endpoint.to_owned()))?;
        let tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(EndpointError::Url(endpoint.to_owned())),
        };
        let transport = Transport::new(tls).map_err(EndpointError::TrustStore)?;
        Ok(Self { transport, endpoint: uri, credentials, region, timeout: TIMEOUT })
    }

    /// The same client with another time limit for each call, from connecting to the answer's end.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Calls one operation.
    pub async fn call<Op: Operation>(&self, input: &Op::Input) -> Result<Op::Output, ClientError> {
        let operation = Op::SCHEMA.name;
        let invalid = |source: TransportError| ClientError::Request { operation, source };
        let body = serde_json::to_vec(input).map_err(|error| invalid(error.into()))?;
        let request = self.request::<Op>(body.into()).map_err(|error| invalid(error.into()))?;
        let endpoint = || self.endpoint.to_string();
        let response = tokio::time::timeout(self.timeout, self.transport.send(request))
            .await
            .map_err(|_| ClientError::TimedOut { operation, endpoint: endpoint(), timeout: self.timeout })?
            .map_err(|source| ClientError::Transport { operation, endpoint: endpoint(), source })?;
        if !response.status().is_success() {
            return Err(ClientError::Service { operation, error: service_error(&response) });
        }
        serde_json::from_slice(response.body())
            .map_err(|error| ClientError::Answer { operation, message: error.to_string() })
    }

    fn request<Op: Operation>(&self, body: Bytes) -> Result<Request<Full<Bytes>>, http::Error> {
        let schema = Op::SERVICE;
        let host = self.endpoint.authority().map(http::uri::Authority::as_str).unwrap_or_default();
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_str(host)?);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.1"));
        let target = format!("{}.{}", schema.target_prefix, Op::SCHEMA.name);
        headers.insert(TARGET, HeaderValue::try_from(target)?);
        let signable = Signable {
            method: &Method::POST,
            uri: &self.endpoint,
            body: &body,
            region: self.region.as_str(),
            service: schema.signing_name,
            now: Timestamp::now(),
        };
        sign_headers(&signable, &self.credentials, &mut headers)?;
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.endpoint.clone();
        *request.headers_mut() = headers;
        Ok(request)
    }
}

/// An awsJson error: `__type` may have a namespace in front (`com.amazon.coral.service#X`) or a URL behind (`X:http://…`).
#[derive(Deserialize, Default)]
struct ErrorBody {
    #[serde(rename = "__type", alias = "code", default)]
    kind: String,
    #[serde(alias = "Message", alias = "errorMessage", default)]
    message: String,
}

fn service_error(response: &Response<Bytes>) -> ServiceError {
    let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
    let body: ErrorBody = serde_json::from_slice(response.body()).unwrap_or_default();
    let kind = header("x-amzn-errortype").filter(|_| body.kind.is_empty()).unwrap_or(&body.kind);
    let code = kind.rsplit('#').next().and_then(|name| name.split(':').next()).unwrap_or_default();
    ServiceError {
        code: if code.is_empty() { response.status().as_u16().to_string() } else { code.to_owned() },
        message: body.message,
        status: response.status(),
        request_id: header("x-amzn-requestid").map(str::to_owned),
    }
}
