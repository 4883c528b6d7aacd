//! Image references as Docker reads them.

use std::fmt;
use std::str::FromStr;

use crate::digest::Digest;

const DEFAULT_DOMAIN: &str = "docker.io";
const DEFAULT_NAMESPACE: &str = "library";
const DEFAULT_TAG: &str = "latest";
/// What docker.io's registry is called in truth.
const DOCKER_REGISTRY: &str = "registry-1.docker.io";
const REFERENCE_CHARS_MAX: usize = 512;
const TAG_CHARS_MAX: usize = 128;

/// `domain/path:tag@digest`, everything spelled out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reference {
    domain: String,
    path: String,
    /// `latest` unless there is a digest.
    pub tag: Option<String>,
    /// What the manifest must hash to.
    pub digest: Option<Digest>,
}

/// A text that is no image reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid image reference {text:?}: {reason}")]
pub struct ParseReferenceError {
    text: String,
    reason: &'static str,
}

impl Reference {
    /// `host[:port]` of the registry.
    pub fn registry(&self) -> &str {
        if self.domain == DEFAULT_DOMAIN { DOCKER_REGISTRY } else { &self.domain }
    }

    /// The repository within the registry.
    pub fn repository(&self) -> &str {
        &self.path
    }

    /// What the registry is asked for: the digest if there is one.
    pub fn manifest(&self) -> String {
        let tag = || self.tag.clone().unwrap_or_else(|| DEFAULT_TAG.to_owned());
        self.digest.as_ref().map_or_else(tag, Digest::to_string)
    }

    /// As people write it: without what is the default.
    pub fn familiar(&self) -> String {
        let full = self.to_string();
        let short = full.strip_prefix("docker.io/").map(|rest| rest.strip_prefix("library/").unwrap_or(rest));
        short.unwrap_or(&full).to_owned()
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.domain, self.path)?;
        if let Some(tag) = &self.tag {
            write!(formatter, ":{tag}")?;
        }
        match &self.digest {
            Some(digest) => write!(formatter, "@{digest}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Reference {
    type Err = ParseReferenceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = |reason| ParseReferenceError { text: text.chars().take(REFERENCE_CHARS_MAX).collect(), reason };
        if text.is_empty() || text.len() > REFERENCE_CHARS_MAX {
            return Err(refuse("it must have 1 to 512 characters"));
        }
        let (rest, digest) = match text.split_once('@') {
            None => (text, None),
            Some((rest, digest)) => {
                let digest = digest.parse().map_err(|_| refuse("behind @ comes sha256: and 64 hexadecimal digits"))?;
                (rest, Some(digest))
            }
        };
        // A colon behind the last slash is a tag's, one before it a port's.
        let name_end = rest.rfind('/').map_or(0, |slash| slash + 1);
        let (name, tag) = match rest[name_end..].split_once(':') {
            None => (rest, None),
            Some((last, tag)) => (&rest[..name_end + last.len()], Some(tag)),
        };
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(refuse("a tag has 1 to 128 letters, digits, underscores, periods and hyphens"));
        }
        let (domain, path) = split_domain(name);
        if !is_domain(domain) {
            return Err(refuse("the registry is no host name with an optional port"));
        }
        if !path.split('/').all(is_path_component) {
            return Err(refuse("a repository has lower-case letters and digits, with separators between them"));
        }
        let bare = domain == DEFAULT_DOMAIN && !path.contains('/');
        let path = if bare { format!("{DEFAULT_NAMESPACE}/{path}") } else { path.to_owned() };
        let default_tag = || digest.is_none().then(|| DEFAULT_TAG.to_owned());
        let tag = tag.map(str::to_owned).or_else(default_tag);
        Ok(Self { domain: domain.to_owned(), path, tag, digest })
    }
}

/// The first component is a registry if it has a period or a port, or is localhost.
fn split_domain(name: &str) -> (&str, &str) {
    match name.split_once('/') {
        Some(("index.docker.io", path)) => (DEFAULT_DOMAIN, path),
        Some((first, path)) if first.contains(['.', ':']) || first == "localhost" => (first, path),
        _ => (DEFAULT_DOMAIN, name),
    }
}

fn is_domain(domain: &str) -> bool {
    let (host, port) = match domain.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (domain, None),
    };
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b".-[:]".contains(&byte);
    !host.is_empty() && host.bytes().all(legal) && port.is_none_or(|port| port.parse::<u16>().is_ok())
}

fn is_path_component(component: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let ends = |byte: Option<&u8>| byte.is_some_and(|byte| plain(*byte));
    let bytes = component.as_bytes();
    ends(bytes.first()) && ends(bytes.last()) && bytes.iter().all(|byte| plain(*byte) || b"._-".contains(byte))
}

fn is_tag(tag: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    (1..=TAG_CHARS_MAX).contains(&tag.len()) && tag.bytes().all(legal) && !tag.starts_with(['.', '-'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_spelled_out_as_docker_does() {
        let digest = Digest::of(b"");
        for (text, full) in [
            ("busybox", "docker.io/library/busybox:latest".to_owned()),
            ("busybox:1.36", "docker.io/library/busybox:1.36".to_owned()),
            ("me/app", "docker.io/me/app:latest".to_owned()),
            ("localhost/app", "localhost/app:latest".to_owned()),
            ("127.0.0.1:5000/a/b:v1", "127.0.0.1:5000/a/b:v1".to_owned()),
            ("quay.io/a/b", "quay.io/a/b:latest".to_owned()),
            (&format!("quay.io/a@{digest}"), format!("quay.io/a@{digest}")),
        ] {
            assert_eq!(text.parse::<Reference>().unwrap().to_string(), full, "{text}");
        }
        assert_eq!("busybox".parse::<Reference>().unwrap().registry(), "registry-1.docker.io");
        assert_eq!("docker.io/library/busybox".parse::<Reference>().unwrap().familiar(), "busybox:latest");
        assert_eq!("127.0.0.1:5000/x".parse::<Reference>().unwrap().familiar(), "127.0.0.1:5000/x:latest");
    }

    #[test]
    fn what_is_no_reference_is_refused() {
        for text in [
            "",
            "UPPER",
            "a/../b",
            "a:",
            "a:-x",
            "a@sha256:12",
            "a b",
            "/a",
            "a/",
            "host:99999/a",
            "-a",
            &"x".repeat(600),
        ] {
            assert!(text.parse::<Reference>().is_err(), "{text}");
        }
    }
}
