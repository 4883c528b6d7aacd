//! Percent-encoding as SigV4 wants it: everything but RFC 3986's unreserved characters, in upper-case hex.

const HEX: &[u8; 16] = b"0123456789ABCDEF";

const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Appends `byte`, encoded unless it is unreserved.
pub(super) fn push(out: &mut Vec<u8>, byte: u8) {
    if is_unreserved(byte) {
        out.push(byte);
    } else {
        out.extend([b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
    }
}

/// Appends `bytes`, encoded; slashes are kept.
pub(super) fn push_path(out: &mut Vec<u8>, bytes: impl IntoIterator<Item = u8>) {
    for byte in bytes {
        if byte == b'/' { out.push(byte) } else { push(out, byte) }
    }
}

/// `text` with everything but the unreserved characters encoded.
pub(super) fn component(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    text.bytes().for_each(|byte| push(&mut out, byte));
    // Only ASCII was pushed.
    String::from_utf8(out).unwrap_or_default()
}

/// The bytes that percent-encoded `text` stands for; a `%` without two hex digits stands for itself.
pub(super) fn decoded(text: &[u8]) -> impl Iterator<Item = u8> + '_ {
    decode(text, b'+')
}

/// Like [`decoded`] for a query's parts, in which `+` stands for a space.
pub(super) fn decoded_query(text: &str) -> impl Iterator<Item = u8> + '_ {
    decode(text.as_bytes(), b' ')
}

fn decode(text: &[u8], plus: u8) -> impl Iterator<Item = u8> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        let byte = *text.get(at)?;
        at += 1;
        if byte == b'%'
            && let (Some(high), Some(low)) = (hex_digit(text.get(at)), hex_digit(text.get(at + 1)))
        {
            at += 2;
            return Some(high << 4 | low);
        }
        Some(if byte == b'+' { plus } else { byte })
    })
}

fn hex_digit(byte: Option<&u8>) -> Option<u8> {
    char::from(*byte?).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// A query's part as text; bytes that are no UTF-8 are replaced.
pub(crate) fn decode_query(text: &str) -> String {
    let bytes: Vec<u8> = decoded_query(text).collect();
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}
