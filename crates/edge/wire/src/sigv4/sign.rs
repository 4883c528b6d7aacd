//! The client's side: signs a request in its headers, or a URL for someone else to use.

use std::time::Duration;

use estiva_model::Timestamp;
use http::header::{AUTHORIZATION, HOST, HeaderMap, HeaderValue, InvalidHeaderValue};
use http::{Method, Uri};

use super::canonical::{CanonicalParts, ScopeParts, canonical_request, is_s3, sha256_hex, string_to_sign};
use super::credential::SigningCredentials;
use super::key::SigningKey;
use super::{ALGORITHM, AMZ_DATE, SECURITY_TOKEN, TERMINATOR, UNSIGNED_PAYLOAD, date, encode};

/// Headers that something on the way may change or drop, so that signing them would break the request.
const UNSIGNED_HEADERS: [&str; 8] =
    ["authorization", "connection", "expect", "keep-alive", "te", "transfer-encoding", "upgrade", "user-agent"];

/// A request that is to be signed.
#[derive(Debug, Clone, Copy)]
pub struct Signable<'a> {
    /// The request's method.
    pub method: &'a Method,
    /// Path and query.
    pub uri: &'a Uri,
    /// The whole payload.
    pub body: &'a [u8],
    /// The region of the scope.
    pub region: &'a str,
    /// The signing name of the service.
    pub service: &'a str,
    /// The time of signing.
    pub now: Timestamp,
}

/// Signs a request: adds `X-Amz-Date`, with temporary credentials `X-Amz-Security-Token`, and `Authorization` to
/// `headers`, which must hold all that is to be signed, `Host` above all.
///
/// # Errors
/// When the key id, the token or the scope cannot stand in a header.
pub fn sign_headers(
    signable: &Signable<'_>,
    credentials: &SigningCredentials,
    headers: &mut HeaderMap,
) -> Result<(), InvalidHeaderValue> {
    let timestamp = date::format_basic(signable.now);
    headers.remove(AUTHORIZATION);
    headers.insert(AMZ_DATE, HeaderValue::try_from(&timestamp)?);
    if let Some(token) = &credentials.session_token {
        let mut value = HeaderValue::from_str(token.expose())?;
        value.set_sensitive(true);
        headers.insert(SECURITY_TOKEN, value);
    }
    let mut names: Vec<&str> =
        headers.keys().map(http::HeaderName::as_str).filter(|name| !UNSIGNED_HEADERS.contains(name)).collect();
    names.sort_unstable();
    let scope = ScopeParts { date: &timestamp[..8], region: signable.region, service: signable.service };
    let canonical = canonical_request(&signable.canonical(signable.uri, headers, &names), &sha256_hex(signable.body));
    let signature = SigningKey::derive(&credentials.secret, scope).sign(&string_to_sign(scope, &timestamp, &canonical));
    let credential = scope.credential(&credentials.access_key_id);
    let value =
        format!("{ALGORITHM} Credential={credential}, SignedHeaders={}, Signature={signature}", names.join(";"));
    headers.insert(AUTHORIZATION, HeaderValue::try_from(value)?);
    Ok(())
}

/// How a URL is presigned.
#[derive(Debug, Clone, Copy)]
pub struct Presign<'a> {
    /// The host, with its port if that is not the scheme's own: the one header that is signed.
    pub host: &'a str,
    /// How long the URL is good; a week at most.
    pub expires: Duration,
}

/// The path and query of a URL that carries its own signature, for a request with the payload of `signable` and no
/// headers but `Host`. For S3 the payload is left unsigned, as S3 has it.
///
/// # Errors
/// When the host cannot stand in a header, or the finished query in a URL.
pub fn presign(
    signable: &Signable<'_>,
    credentials: &SigningCredentials,
    how: &Presign<'_>,
) -> Result<String, http::Error> {
    let timestamp = date::format_basic(signable.now);
    let scope = ScopeParts { date: &timestamp[..8], region: signable.region, service: signable.service };
    let mut parameters = vec![
        ("X-Amz-Algorithm", ALGORITHM.to_owned()),
        ("X-Amz-Credential", scope.credential(&credentials.access_key_id)),
        ("X-Amz-Date", timestamp.clone()),
        ("X-Amz-Expires", how.expires.as_secs().to_string()),
        ("X-Amz-SignedHeaders", "host".to_owned()),
    ];
    if let Some(token) = &credentials.session_token {
        parameters.push(("X-Amz-Security-Token", token.expose().to_owned()));
    }
    let query: Vec<String> =
        parameters.iter().map(|(name, value)| format!("{name}={}", encode::component(value))).collect();
    let own = signable.uri.query().filter(|query| !query.is_empty()).map(|query| format!("{query}&"));
    let target = format!("{}?{}{}", signable.uri.path(), own.unwrap_or_default(), query.join("&"));

    let uri: Uri = target.parse().map_err(http::Error::from)?;
    let mut headers = HeaderMap::new();
    headers.insert(HOST, HeaderValue::from_str(how.host)?);
    let payload_hash = if is_s3(signable.service) { UNSIGNED_PAYLOAD.to_owned() } else { sha256_hex(signable.body) };
    let canonical = canonical_request(&signable.canonical(&uri, &headers, &["host"]), &payload_hash);
    let signature = SigningKey::derive(&credentials.secret, scope).sign(&string_to_sign(scope, &timestamp, &canonical));
    Ok(format!("{target}&X-Amz-Signature={signature}"))
}

impl<'a> Signable<'a> {
    fn canonical<'b>(&self, uri: &'b Uri, headers: &'b HeaderMap, signed_headers: &'b [&'b str]) -> CanonicalParts<'b>
    where
        'a: 'b,
    {
        CanonicalParts { method: self.method, uri, headers, signed_headers, service: self.service }
    }
}

impl ScopeParts<'_> {
    fn credential(&self, access_key_id: &str) -> String {
        let Self { date, region, service } = self;
        format!("{access_key_id}/{date}/{region}/{service}/{TERMINATOR}")
    }
}
