//! Random identifiers in the forms that AWS uses.

use rand::RngExt;

/// A UUID's form (RFC 9562), of 32 random digits.
pub fn uuid(rng: &mut impl rand::Rng) -> String {
    let digits = hex_id(rng, 32);
    [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-")
}

/// `digits` lower-case hexadecimal digits from `rng`: 32 for a task or a container instance, 17 after `eni-`.
pub fn hex_id(rng: &mut impl rand::Rng, digits: usize) -> String {
    (0..digits).map(|_| char::from(b"0123456789abcdef"[rng.random_range(0..16)])).collect()
}
