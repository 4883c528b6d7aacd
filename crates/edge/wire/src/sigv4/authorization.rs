//! Reads a signature off a request: from its `Authorization` header, or from the query of a presigned URL.

use std::borrow::Cow;
use std::time::Duration;

use http::Uri;
use http::header::{AUTHORIZATION, DATE, HeaderMap, HeaderName};

use super::canonical::ScopeParts;
use super::error::AuthError;
use super::{ALGORITHM, AMZ_DATE, SECURITY_TOKEN, TERMINATOR, encode};

/// The longest life that a presigned URL may ask for: a week.
pub(super) const EXPIRES_SECONDS_MAX: u64 = 604_800;
/// The life of a presigned URL that names none, as STS gives it.
const EXPIRES_SECONDS_DEFAULT: u64 = 900;
const ACCESS_KEY_ID_BYTES_MAX: usize = 128;

/// The region and service that a signature is good for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// Such as `us-east-1`; as it was sent, not checked.
    pub region: String,
    /// The signing name, such as `ecs`.
    pub service: String,
}

impl Scope {
    /// The scope that a request claims, before anything is verified: routing needs it. `None` when it claims none.
    pub fn claimed(uri: &Uri, headers: &HeaderMap) -> Option<Self> {
        let presented = Presented::of(uri, headers).ok()?;
        let ScopeParts { region, service, .. } = presented.scope();
        Some(Self { region: region.to_owned(), service: service.to_owned() })
    }
}

/// A signature as it was sent: complete and well formed, nothing verified.
#[derive(Clone)]
pub(super) struct Presented<'a> {
    /// `AKID/20150830/us-east-1/ecs/aws4_request`, of exactly five parts.
    pub(super) credential: Cow<'a, str>,
    /// As sent: names joined by semicolons.
    pub(super) signed_headers: Cow<'a, str>,
    pub(super) signature: Cow<'a, str>,
    /// The request's time as sent, in the basic form or in a `Date` header's.
    pub(super) date: Cow<'a, str>,
    pub(super) token: Option<Cow<'a, str>>,
    /// Presigned URLs only.
    pub(super) expires: Option<Duration>,
}

impl<'a> Presented<'a> {
    /// Reads the header form if there is one, else the query form.
    pub(super) fn of(uri: &'a Uri, headers: &'a HeaderMap) -> Result<Self, AuthError> {
        let presented = match headers.get(AUTHORIZATION) {
            Some(_) => Self::of_header(headers)?,
            None => Self::of_query(uri)?,
        };
        presented.check_credential()?;
        Ok(presented)
    }

    fn of_header(headers: &'a HeaderMap) -> Result<Self, AuthError> {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return Err(AuthError::incomplete("Request has more than one Authorization header."));
        };
        let text = value.to_str().unwrap_or_default().trim();
        let (scheme, parameters) = text.split_once([' ', '\t']).unwrap_or((text, ""));
        if scheme != ALGORITHM && scheme.starts_with("AWS4-") {
            return Err(AuthError::incomplete(format!("Unsupported AWS 'algorithm': '{scheme}'.")));
        }
        let (mut credential, mut signed_headers, mut signature) = (None, None, None);
        for parameter in parameters.split(',').map(str::trim).filter(|_| scheme == ALGORITHM) {
            let Some((name, value)) = parameter.split_once('=') else {
                let message =
                    format!("'{parameter}' not a valid key=value pair (missing equal-sign) in Authorization header.");
                return Err(AuthError::incomplete(message));
            };
            match name {
                "Credential" => credential = Some(value),
                "SignedHeaders" => signed_headers = Some(value),
                "Signature" => signature = Some(value),
                _ => {}
            }
        }
        let date = text_of(headers, &HeaderName::from_static(AMZ_DATE)).or_else(|| text_of(headers, &DATE));
        let present = |found: Option<&'a str>| found.filter(|value| !value.is_empty());
        match (present(credential), present(signature), present(signed_headers), date) {
            (Some(credential), Some(signature), Some(signed_headers), Some(date)) => Ok(Self {
                credential: credential.into(),
                signed_headers: signed_headers.into(),
                signature: signature.into(),
                date: date.into(),
                token: text_of(headers, &HeaderName::from_static(SECURITY_TOKEN)).map(Cow::Borrowed),
                expires: None,
            }),
            (credential, signature, signed_headers, date) => Err(AuthError::incomplete(missing_parts([
                ("'Credential' parameter", credential.is_none()),
                ("'Signature' parameter", signature.is_none()),
                ("'SignedHeaders' parameter", signed_headers.is_none()),
                ("existence of either a 'X-Amz-Date' or a 'Date' header", date.is_none()),
            ]))),
        }
    }

    fn of_query(uri: &'a Uri) -> Result<Self, AuthError> {
        let query = uri.query().unwrap_or_default();
        let Some(algorithm) = parameter(query, "X-Amz-Algorithm")? else {
            return Err(AuthError::missing());
        };
        if algorithm != ALGORITHM {
            return Err(AuthError::incomplete(format!("Unsupported AWS 'algorithm': '{algorithm}'.")));
        }
        let required = |name: &str| {
            parameter(query, name)?.filter(|value| !value.is_empty()).ok_or_else(|| {
                let message = "Re-examine the query-string parameters.";
                AuthError::incomplete(format!("AWS query-string parameters must include '{name}'. {message}"))
            })
        };
        let expires = match parameter(query, "X-Amz-Expires")? {
            None => EXPIRES_SECONDS_DEFAULT,
            Some(text) => text.parse().map_err(|_| AuthError::incomplete("X-Amz-Expires should be a number"))?,
        };
        if expires > EXPIRES_SECONDS_MAX {
            let message = format!(
                "X-Amz-Expires must be less than a week (in seconds); i.e., the given X-Amz-Expires must be less than {EXPIRES_SECONDS_MAX}"
            );
            return Err(AuthError::incomplete(message));
        }
        Ok(Self {
            credential: required("X-Amz-Credential")?,
            signed_headers: required("X-Amz-SignedHeaders")?,
            signature: required("X-Amz-Signature")?,
            date: required("X-Amz-Date")?,
            token: parameter(query, "X-Amz-Security-Token")?,
            expires: Some(Duration::from_secs(expires)),
        })
    }

    fn check_credential(&self) -> Result<(), AuthError> {
        let credential = &self.credential;
        if credential.split('/').count() != 5 {
            let message = format!(
                "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got '{credential}'"
            );
            return Err(AuthError::incomplete(message));
        }
        if self.access_key_id().len() > ACCESS_KEY_ID_BYTES_MAX {
            return Err(AuthError::unrecognized());
        }
        match credential.rsplit('/').next() {
            Some(TERMINATOR) => Ok(()),
            found => Err(AuthError::mismatch(format!(
                "Credential should be scoped with a valid terminator: '{TERMINATOR}', not '{}'.",
                found.unwrap_or_default()
            ))),
        }
    }

    pub(super) fn access_key_id(&self) -> &str {
        self.credential.split('/').next().unwrap_or_default()
    }

    pub(super) fn scope(&self) -> ScopeParts<'_> {
        let mut parts = self.credential.split('/').skip(1);
        let mut next = || parts.next().unwrap_or_default();
        ScopeParts { date: next(), region: next(), service: next() }
    }
}

fn missing_parts(parts: [(&str, bool); 4]) -> String {
    let sentences: Vec<String> = parts
        .iter()
        .filter(|(_, missing)| *missing)
        .map(|(what, _)| format!("Authorization header requires {what}."))
        .collect();
    sentences.join(" ")
}

fn text_of<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

/// A query parameter's value, decoded. Twice the same name is refused: which one counts would be anyone's guess.
fn parameter<'a>(query: &'a str, name: &str) -> Result<Option<Cow<'a, str>>, AuthError> {
    let mut values = query.split('&').filter_map(|pair| {
        let (found, value) = pair.split_once('=').unwrap_or((pair, ""));
        (found == name).then_some(value)
    });
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(AuthError::incomplete(format!("Query-string parameter '{name}' is given more than once.")));
    }
    if !value.contains(['%', '+']) {
        return Ok(Some(value.into()));
    }
    String::from_utf8(encode::decoded_query(value).collect())
        .map(|value| Some(value.into()))
        .map_err(|_| AuthError::incomplete(format!("Query-string parameter '{name}' is not UTF-8.")))
}
