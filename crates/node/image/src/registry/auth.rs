//! How a registry asks for authorization, and the answers (distribution's token protocol, RFC 7617).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use estiva_model::percent_encoded;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::client::Credentials;

/// What a registry asks for in `WWW-Authenticate`.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// A user's name and password with every request.
    Basic,
    /// A token from a service.
    Bearer {
        /// The service's URL.
        realm: String,
        /// Whom the token is for.
        service: Option<String>,
        /// What the token allows.
        scope: Option<String>,
    },
}

impl Challenge {
    pub fn parse(header: &str) -> Option<Self> {
        let (scheme, parameters) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let (mut realm, mut service, mut scope) = (None, None, None);
        for (name, value) in parameters_of(parameters) {
            match name.to_ascii_lowercase().as_str() {
                "realm" => realm = Some(value),
                "service" => service = Some(value),
                "scope" => scope = Some(value),
                _ => {}
            }
        }
        Some(Self::Bearer { realm: realm.unwrap_or_default(), service, scope })
    }

    /// Where a token for pulling from `repository` is to be had.
    pub fn token_url(&self, repository: &str) -> Option<String> {
        let Self::Bearer { realm, service, scope } = self else { return None };
        if !realm.starts_with("http://") && !realm.starts_with("https://") {
            return None;
        }
        let scope = scope.clone().unwrap_or_else(|| format!("repository:{repository}:pull"));
        let service =
            service.as_ref().map(|service| format!("service={}&", percent_encoded(service))).unwrap_or_default();
        let separator = if realm.contains('?') { '&' } else { '?' };
        Some(format!("{realm}{separator}{service}scope={}", percent_encoded(&scope)))
    }
}

/// `name="value", name=value`, with commas inside of quotes left alone.
fn parameters_of(text: &str) -> Vec<(String, String)> {
    let mut parameters = Vec::new();
    let mut rest = text;
    while let Some((name, behind)) = rest.split_once('=') {
        let name = name.trim_start_matches([',', ' ']).trim().to_owned();
        let (value, after) = match behind.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => behind.split_once(',').unwrap_or((behind, "")),
        };
        parameters.push((name, value.trim().to_owned()));
        rest = after;
    }
    parameters
}

/// RFC 7617.
pub(super) fn basic(credentials: &Credentials) -> Zeroizing<String> {
    let pair = Zeroizing::new(format!("{}:{}", credentials.username, *credentials.password));
    let encoded = Zeroizing::new(STANDARD.encode(pair.as_bytes()));
    Zeroizing::new(format!("Basic {}", *encoded))
}

/// The header with the token in a token service's answer.
pub(super) fn bearer(answer: &[u8]) -> Option<Zeroizing<String>> {
    #[derive(Deserialize)]
    struct Answer {
        token: Option<String>,
        access_token: Option<String>,
    }
    let answer: Answer = serde_json::from_slice(answer).ok()?;
    let [token, access_token] = [answer.token, answer.access_token].map(|token| token.map(Zeroizing::new));
    let token = token.or(access_token).filter(|token| !token.is_empty())?;
    Some(Zeroizing::new(format!("Bearer {}", *token)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_read() {
        let challenge =
            Challenge::parse(r#"Bearer realm="https://a/token",service="r",scope="repository:a/b:pull,push""#);
        let url = challenge.unwrap().token_url("x").unwrap();
        assert_eq!(url, "https://a/token?service=r&scope=repository%3Aa%2Fb%3Apull%2Cpush");
        let bare = Challenge::parse("Bearer realm=http://a/t?x=1").unwrap();
        assert_eq!(bare.token_url("a/b").unwrap(), "http://a/t?x=1&scope=repository%3Aa%2Fb%3Apull");
        assert_eq!(Challenge::parse(r#"basic realm="x""#), Some(Challenge::Basic));
        assert_eq!(Challenge::parse("Negotiate"), None);
        assert_eq!(Challenge::parse(r#"Bearer realm="file:///etc/passwd""#).unwrap().token_url("x"), None);
    }

    #[test]
    fn a_token_is_found_under_both_names() {
        assert_eq!(bearer(br#"{"token":"a"}"#).unwrap().as_str(), "Bearer a");
        assert_eq!(bearer(br#"{"access_token":"b"}"#).unwrap().as_str(), "Bearer b");
        assert_eq!((bearer(b"{}"), bearer(b"x")), (None, None));
    }
}
