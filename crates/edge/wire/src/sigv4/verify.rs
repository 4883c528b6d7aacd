//! The server's side: is this request from whom it says it is, and as they sent it?
//!
//! Two steps, so that no stranger makes the server read a body: [`Verifier::begin`] looks at the head alone and refuses
//! unknown keys, old dates and (where the head names the payload's hash) wrong signatures; [`Claim::finish`] settles the
//! payload.

use std::sync::Arc;
use std::time::Duration;

use estiva_model::{AccountId, Caller, Principal, Region, Timestamp};
use http::header::HeaderMap;
use http::request::Parts;
use subtle::ConstantTimeEq;

use super::authorization::Presented;
use super::canonical::{CanonicalParts, canonical_request, is_s3, sha256_hex, string_to_sign};
use super::credential::{Credential, CredentialSource};
use super::error::{AuthError, AuthErrorKind};
use super::key::{KeyCache, SigningKey};
use super::{CONTENT_SHA256, SECURITY_TOKEN, UNSIGNED_PAYLOAD, date};

/// How far the sender's clock may be off, either way.
const CLOCK_SKEW_MAX: Duration = Duration::from_secs(5 * 60);

/// Whether signatures are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verification {
    /// Every request must be signed by a known key.
    Required,
    /// Whoever comes is let in: for throw-away use. A known key still tells who it is; anyone else is the root of the
    /// default account.
    Off,
}

/// Verifies requests against the credentials of one source.
pub struct Verifier {
    credentials: Arc<dyn CredentialSource>,
    keys: KeyCache,
    verification: Verification,
}

/// A request whose head is in order and whose payload is still to be seen.
pub struct Claim<'a> {
    caller: Caller,
    service: Option<String>,
    verified: bool,
    pending: Pending<'a>,
}

/// What is left to check once the payload is there.
enum Pending<'a> {
    Nothing,
    /// The head is verified and names this hash.
    Hash(&'a str),
    /// The signature covers the hash of whatever the body is.
    Signature(Box<Unsettled<'a>>),
}

struct Unsettled<'a> {
    verifier: &'a Verifier,
    parts: &'a Parts,
    presented: Presented<'a>,
    timestamp: String,
    credential: Credential,
}

impl Verifier {
    /// A verifier that knows the keys of `credentials`.
    pub fn new(credentials: Arc<dyn CredentialSource>, verification: Verification) -> Self {
        Self { credentials, keys: KeyCache::default(), verification }
    }

    /// Checks all that the head alone can tell.
    pub fn begin<'a>(&'a self, parts: &'a Parts, now: Timestamp) -> Result<Claim<'a>, AuthError> {
        let presented = Presented::of(&parts.uri, &parts.headers);
        if self.verification == Verification::Off {
            return Ok(self.believe(presented.ok().as_ref()));
        }
        let presented = presented?;
        check_signed_headers(&presented, &parts.headers)?;
        let timestamp = check_time(&presented, now)?;
        let credential = self.credentials.find(presented.access_key_id(), presented.token.as_deref());
        let credential = credential.ok_or_else(AuthError::unrecognized)?;
        check_session(&presented, &credential, now)?;
        let Some(region) = Region::parse(presented.scope().region) else {
            return Err(AuthError::mismatch("Credential should be scoped to a valid region."));
        };
        let caller = Caller {
            account: credential.account.clone(),
            region,
            principal: credential.principal.clone(),
            access_key_id: presented.access_key_id().to_owned(),
        };
        let service = Some(presented.scope().service.to_owned());
        let declared = declared_hash(&presented, &parts.headers)?;
        let unsettled = Unsettled { verifier: self, parts, presented, timestamp, credential };
        let pending = match declared {
            None => Pending::Signature(Box::new(unsettled)),
            Some(hash) => {
                unsettled.check(hash)?;
                if hash == UNSIGNED_PAYLOAD { Pending::Nothing } else { Pending::Hash(hash) }
            }
        };
        Ok(Claim { caller, service, verified: true, pending })
    }

    fn believe(&self, presented: Option<&Presented<'_>>) -> Claim<'static> {
        let access_key_id = presented.map_or("anonymous", Presented::access_key_id);
        let token = presented.and_then(|presented| presented.token.as_deref());
        let known = self.credentials.find(access_key_id, token);
        let (account, principal) = known
            .map_or((AccountId::default(), Principal::Root), |credential| (credential.account, credential.principal));
        let region = presented.and_then(|presented| Region::parse(presented.scope().region)).unwrap_or_default();
        let caller = Caller { account, region, principal, access_key_id: access_key_id.to_owned() };
        let service = presented.map(|presented| presented.scope().service.to_owned());
        Claim { caller, service, verified: false, pending: Pending::Nothing }
    }
}

impl Claim<'_> {
    /// The signing name that the signature is scoped to; `None` for an unsigned request that is let in anyhow.
    pub fn service(&self) -> Option<&str> {
        self.service.as_deref()
    }

    /// False when verification is off: then nothing that the request claims of itself is worth checking.
    pub const fn is_verified(&self) -> bool {
        self.verified
    }

    /// Who sent the request, if its head alone proves it.
    pub fn proven(&self) -> Option<&Caller> {
        (!matches!(self.pending, Pending::Signature(_))).then_some(&self.caller)
    }

    /// Checks the payload, and tells who sent it.
    pub fn finish(self, body: &[u8]) -> Result<Caller, AuthError> {
        match self.pending {
            Pending::Nothing => {}
            Pending::Hash(declared) => {
                if !declared.eq_ignore_ascii_case(&sha256_hex(body)) {
                    let message = "The provided 'x-amz-content-sha256' header does not match what was computed.";
                    return Err(AuthError::mismatch(message));
                }
            }
            Pending::Signature(unsettled) => unsettled.check(&sha256_hex(body))?,
        }
        Ok(self.caller)
    }
}

impl Unsettled<'_> {
    /// Compares the signature with the one that this request should have.
    fn check(&self, payload_hash: &str) -> Result<(), AuthError> {
        let Self { verifier, parts, presented, timestamp, credential } = self;
        let lower_case = presented.signed_headers.to_ascii_lowercase();
        let mut signed_headers: Vec<&str> = lower_case.split(';').collect();
        signed_headers.sort_unstable();
        let scope = presented.scope();
        let canonical = canonical_request(
            &CanonicalParts {
                method: &parts.method,
                uri: &parts.uri,
                headers: &parts.headers,
                signed_headers: &signed_headers,
                service: scope.service,
            },
            payload_hash,
        );
        let to_sign = string_to_sign(scope, timestamp, &canonical);
        let cached = verifier.keys.get(&presented.credential, &credential.secret);
        let key = cached.clone().unwrap_or_else(|| SigningKey::derive(&credential.secret, scope));
        if !key.verifies(&to_sign, &presented.signature) {
            return Err(AuthError::mismatch(explain(&canonical, &to_sign)));
        }
        if cached.is_none() {
            verifier.keys.put(&presented.credential, &credential.secret, key);
        }
        Ok(())
    }
}

/// AWS tells the sender what it should have signed: the one help there is in finding a signing error.
fn explain(canonical: &[u8], to_sign: &str) -> String {
    format!(
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key \
         and signing method. Consult the service documentation for details.\n\nThe Canonical String for this request \
         should have been\n'{}'\n\nThe String-to-Sign should have been\n'{to_sign}'\n",
        String::from_utf8_lossy(canonical)
    )
}

/// What decides where a request goes and what it means must be signed: the host, and every `x-amz-` header. Two such
/// headers prove themselves: the token is compared with the key's, the payload's hash is a part of what is signed.
fn check_signed_headers(presented: &Presented<'_>, headers: &HeaderMap) -> Result<(), AuthError> {
    let is_signed = |name: &str| presented.signed_headers.split(';').any(|signed| signed.eq_ignore_ascii_case(name));
    if !is_signed("host") {
        return Err(AuthError::mismatch("'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization."));
    }
    let unsigned = headers.keys().map(http::HeaderName::as_str).find(|name| {
        name.starts_with("x-amz-") && !matches!(*name, SECURITY_TOKEN | CONTENT_SHA256) && !is_signed(name)
    });
    unsigned.map_or(Ok(()), |name| {
        Err(AuthError::mismatch(format!("'{name}' must be a 'SignedHeader' in the AWS Authorization.")))
    })
}

/// The request's time in the basic form, if it is near enough to `now`.
fn check_time(presented: &Presented<'_>, now: Timestamp) -> Result<String, AuthError> {
    let sent = &presented.date;
    let parsed = date::parse_basic(sent)
        .or_else(|| date::parse_http(sent).filter(|_| presented.expires.is_none()))
        .ok_or_else(|| AuthError::incomplete(format!("Date must be in ISO-8601 'basic format'. Got '{sent}'.")))?;
    let basic = date::format_basic(parsed);
    let scope_date = presented.scope().date;
    if basic.get(..8) != Some(scope_date) {
        let message = format!(
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '{scope_date}' != \
             '{}', from '{basic}'.",
            basic.get(..8).unwrap_or_default()
        );
        return Err(AuthError::mismatch(message));
    }
    let life = presented.expires.unwrap_or(CLOCK_SKEW_MAX);
    if now.since(parsed) > life {
        let earliest = date::format_basic(Timestamp(now.as_millis().saturating_sub(millis(life))));
        let now = date::format_basic(now);
        let message =
            format!("Signature expired: {basic} is now earlier than {earliest} ({now} - {}.)", in_words(life));
        return Err(AuthError::mismatch(message));
    }
    if parsed.since(now) > CLOCK_SKEW_MAX {
        let latest = date::format_basic(now.plus(CLOCK_SKEW_MAX));
        let now = date::format_basic(now);
        let message = format!("Signature not yet current: {basic} is still later than {latest} ({now} + 5 min.)");
        return Err(AuthError::mismatch(message));
    }
    Ok(basic)
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn in_words(duration: Duration) -> String {
    match duration.as_secs() {
        seconds if seconds % 60 == 0 => format!("{} min", seconds / 60),
        seconds => format!("{seconds} s"),
    }
}

fn check_session(presented: &Presented<'_>, credential: &Credential, now: Timestamp) -> Result<(), AuthError> {
    let matches = match (&presented.token, &credential.session_token) {
        (None, None) => true,
        (Some(sent), Some(known)) => bool::from(sent.as_bytes().ct_eq(known.expose().as_bytes())),
        _ => false,
    };
    if !matches {
        return Err(AuthError::unrecognized());
    }
    if credential.expires.is_some_and(|expires| expires <= now) {
        return Err(AuthError::expired());
    }
    Ok(())
}

/// The payload's hash as the head names it; `None` when the signature covers the body's own. S3 alone lets a client leave the
/// payload out of its signature: any other service of AWS's computes the hash itself, and so a request that was signed without
/// its payload does not match.
fn declared_hash<'a>(presented: &Presented<'_>, headers: &'a HeaderMap) -> Result<Option<&'a str>, AuthError> {
    let is_s3 = is_s3(presented.scope().service);
    let Some(value) = headers.get(CONTENT_SHA256) else {
        return Ok((is_s3 && presented.expires.is_some()).then_some(UNSIGNED_PAYLOAD));
    };
    let text = value.to_str().unwrap_or_default().trim();
    if text.starts_with("STREAMING-") {
        let message = format!("Payloads signed in chunks ({text}) are not supported: sign the whole payload.");
        return Err(AuthError::new(AuthErrorKind::Unsupported, message));
    }
    let is_hash = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if text == UNSIGNED_PAYLOAD {
        return Ok(is_s3.then_some(text));
    }
    if is_hash {
        return Ok(Some(text));
    }
    Err(AuthError::incomplete(format!(
        "x-amz-content-sha256 must be {UNSIGNED_PAYLOAD} or the SHA-256 of the payload in hex, got '{text}'."
    )))
}
