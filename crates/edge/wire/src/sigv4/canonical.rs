//! The canonical request and the string to sign.
//!
//! Rules of the "Create a signed AWS API request" page of the IAM user guide, as botocore and the services apply them:
//! - S3's path is decoded and encoded once; any other service's path is normalised (dot segments and empty segments go)
//!   and encoded a second time;
//! - query parameters are encoded, sorted by name and value; `+` is a space, because that is how a query is read;
//! - header values are trimmed, inner runs of blanks become one space, values of one name are joined by commas.

use http::header::HeaderMap;
use http::{Method, Uri};
use sha2::{Digest, Sha256};

use super::encode;
use super::{ALGORITHM, TERMINATOR};

/// The one query parameter that a presigned URL's signature does not cover: itself.
const SIGNATURE_PARAMETER: &[u8] = b"X-Amz-Signature";

/// What of a request the signature covers, besides the payload's hash.
#[derive(Debug, Clone, Copy)]
pub(super) struct CanonicalParts<'a> {
    pub(super) method: &'a Method,
    pub(super) uri: &'a Uri,
    pub(super) headers: &'a HeaderMap,
    /// Lower-case and sorted.
    pub(super) signed_headers: &'a [&'a str],
    /// The signing name: S3 treats paths its own way.
    pub(super) service: &'a str,
}

/// Where and when a signature is good: `20150830/us-east-1/ecs/aws4_request`.
#[derive(Debug, Clone, Copy)]
pub(super) struct ScopeParts<'a> {
    /// Eight digits.
    pub(super) date: &'a str,
    pub(super) region: &'a str,
    pub(super) service: &'a str,
}

/// The canonical request. Bytes, not text: header values may be any of them.
pub(super) fn canonical_request(parts: &CanonicalParts<'_>, payload_hash: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    out.extend_from_slice(parts.method.as_str().as_bytes());
    out.push(b'\n');
    push_path(&mut out, parts.uri.path(), parts.service);
    out.push(b'\n');
    push_query(&mut out, parts.uri.query().unwrap_or_default());
    out.push(b'\n');
    for name in parts.signed_headers {
        push_header(&mut out, parts, name);
    }
    out.push(b'\n');
    for (index, name) in parts.signed_headers.iter().enumerate() {
        if index > 0 {
            out.push(b';');
        }
        out.extend_from_slice(name.as_bytes());
    }
    out.push(b'\n');
    out.extend_from_slice(payload_hash.as_bytes());
    out
}

/// The text that the derived key signs. `timestamp` is in the basic form.
pub(super) fn string_to_sign(scope: ScopeParts<'_>, timestamp: &str, canonical_request: &[u8]) -> String {
    let ScopeParts { date, region, service } = scope;
    let hash = sha256_hex(canonical_request);
    format!("{ALGORITHM}\n{timestamp}\n{date}/{region}/{service}/{TERMINATOR}\n{hash}")
}

/// Lower-case hex of the SHA-256 of `bytes`.
pub(super) fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// Whether a signing name is one of S3's, which signs in its own way.
pub(super) fn is_s3(service: &str) -> bool {
    matches!(service, "s3" | "s3express" | "s3-outposts")
}

fn push_path(out: &mut Vec<u8>, path: &str, service: &str) {
    if is_s3(service) {
        let path = if path.is_empty() { "/" } else { path };
        encode::push_path(out, encode::decoded(path.as_bytes()));
        return;
    }
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            segment => segments.push(segment),
        }
    }
    for segment in &segments {
        out.push(b'/');
        encode::push_path(out, segment.bytes());
    }
    if segments.is_empty() || path.ends_with('/') {
        out.push(b'/');
    }
}

fn push_query(out: &mut Vec<u8>, query: &str) {
    let mut pairs: Vec<(Vec<u8>, Vec<u8>)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (encoded_again(name), encoded_again(value)))
        .filter(|(name, _)| name != SIGNATURE_PARAMETER)
        .collect();
    pairs.sort_unstable();
    for (index, (name, value)) in pairs.iter().enumerate() {
        if index > 0 {
            out.push(b'&');
        }
        out.extend_from_slice(name);
        out.push(b'=');
        out.extend_from_slice(value);
    }
}

fn encoded_again(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    encode::decoded_query(text).for_each(|byte| encode::push(&mut out, byte));
    out
}

/// One `name:value` line. An absent header makes no line, though its name stands in the list of signed ones: so a header
/// cannot be taken away unseen, not even an empty one.
fn push_header(out: &mut Vec<u8>, parts: &CanonicalParts<'_>, name: &str) {
    let mut values = parts.headers.get_all(name).iter().map(http::HeaderValue::as_bytes).peekable();
    // HTTP/2 carries the host as a part of the request's target.
    let authority = parts.uri.authority().filter(|_| name == "host" && values.peek().is_none());
    if values.peek().is_none() && authority.is_none() {
        return;
    }
    out.extend_from_slice(name.as_bytes());
    out.push(b':');
    if let Some(authority) = authority {
        out.extend_from_slice(authority.as_str().as_bytes());
    }
    for (index, value) in values.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        push_folded(out, value);
    }
    out.push(b'\n');
}

fn push_folded(out: &mut Vec<u8>, value: &[u8]) {
    let words = value.split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty());
    for (index, word) in words.enumerate() {
        if index > 0 {
            out.push(b' ');
        }
        out.extend_from_slice(word);
    }
}
