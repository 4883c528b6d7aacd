//! Percent-encoding (RFC 3986, 2.1), for a part of a URL or of a form.

/// `text` with every byte but the unreserved characters (RFC 3986, 2.3) encoded, in upper-case hex.
pub fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push('%');
            encoded.extend([byte >> 4, byte & 15].map(|digit| char::from(b"0123456789ABCDEF"[usize::from(digit)])));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unreserved_characters_stay() {
        assert_eq!(percent_encoded("arn:aws:ecs/a-b_c.d~ é"), "arn%3Aaws%3Aecs%2Fa-b_c.d~%20%C3%A9");
    }
}
