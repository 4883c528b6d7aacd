//! Answers: the codec's bytes in an HTTP response.

use estiva_schema::ApiError;
use http::header::{CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Response, StatusCode};

use super::body::{BodyError, ResponseBody, full};
use super::tongue::Tongue;
use crate::sigv4::{AuthError, Dialect};

/// The id of a request, in every answer: what a user quotes and the log knows.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");

/// The error's code once more, where the clients of the REST protocols look for it.
const ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");

/// Why a request did not get its operation's output.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Auth(#[from] AuthError),
    #[error(transparent)]
    Body(#[from] BodyError),
    #[error(transparent)]
    Api(#[from] ApiError),
    /// The caller has too much under way.
    #[error("You have too many {0} at the same time. Please try again")]
    Busy(&'static str),
}

impl Failure {
    /// The failure in the words of the protocol; the flag tells whether the connection is of no more use, because what
    /// comes next on it may be the rest of a body.
    fn into_api_error(self, dialect: Dialect) -> (ApiError, bool) {
        match self {
            Self::Api(error) => (error, false),
            Self::Busy(_) => (api_error("ServiceUnavailable", self.to_string(), StatusCode::SERVICE_UNAVAILABLE), true),
            Self::Auth(error) => (api_error(error.code(dialect), error.message.clone(), error.status(dialect)), false),
            Self::Body(error) => {
                let (code, status) = match error {
                    BodyError::NoRoom => ("ServiceUnavailable", StatusCode::SERVICE_UNAVAILABLE),
                    BodyError::TooLarge { .. } => ("RequestEntityTooLargeException", StatusCode::PAYLOAD_TOO_LARGE),
                    BodyError::TimedOut => ("RequestTimeout", StatusCode::REQUEST_TIMEOUT),
                    BodyError::Broken(_) => ("IncompleteBody", StatusCode::BAD_REQUEST),
                };
                (api_error(code, error.to_string(), status), true)
            }
        }
    }
}

/// An error that the edge itself makes.
pub(super) fn api_error(code: &'static str, message: impl Into<String>, status: StatusCode) -> ApiError {
    ApiError::new(code, message, status.as_u16())
}

/// What a client is told when a handler panicked: nothing of the reason, which is in the log.
pub(super) fn internal_failure() -> Failure {
    let message = "The request processing has failed because of an unknown error, exception or failure.";
    Failure::Api(api_error("InternalFailure", message, StatusCode::INTERNAL_SERVER_ERROR))
}

/// 200 with an operation's output.
pub(super) fn output(tongue: Tongue, body: ResponseBody) -> Response<ResponseBody> {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(tongue.codec.content_type()));
    response
}

/// The failure as the client's protocol tells it.
pub(super) fn failure(tongue: Tongue, failure: Failure, request_id: &str) -> Response<ResponseBody> {
    let (error, close) = failure.into_api_error(tongue.dialect);
    let mut response = output(tongue, full(tongue.codec.encode_error(&error, request_id)));
    *response.status_mut() = StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if tongue.dialect == Dialect::Json
        && let Ok(code) = HeaderValue::from_str(&error.code)
    {
        response.headers_mut().insert(ERROR_TYPE, code);
    }
    if close {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}
