//! Random identifiers in the forms that AWS uses.

use rand::RngExt;

/// `digits` lower-case hexadecimal digits from `rng`: 32 for a task or a container instance, 17 after `eni-`.
pub fn hex_id(rng: &mut impl rand::Rng, digits: usize) -> String {
    (0..digits).map(|_| char::from(b"0123456789abcdef"[rng.random_range(0..16)])).collect()
}
