//! The signing key of a scope, and a bounded cache of it: four HMACs a request otherwise.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use hmac::{Hmac, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::TERMINATOR;
use super::canonical::ScopeParts;
use super::credential::Secret;

/// Keys held in a generation; two generations are held at a time.
const GENERATION_KEYS_MAX: usize = 4096;

/// A derived key: good for one day, region and service.
#[derive(Clone)]
pub(super) struct SigningKey(Zeroizing<[u8; 32]>);

impl SigningKey {
    /// HMACs the secret with each part of the scope in turn.
    pub(super) fn derive(secret: &Secret, scope: ScopeParts<'_>) -> Self {
        let prefixed = Zeroizing::new(format!("AWS4{}", secret.expose()));
        let mut key = hmac_sha256(prefixed.as_bytes(), scope.date.as_bytes());
        for part in [scope.region, scope.service, TERMINATOR] {
            key = hmac_sha256(&key[..], part.as_bytes());
        }
        Self(key)
    }

    /// The signature of `string_to_sign`, in lower-case hex.
    pub(super) fn sign(&self, string_to_sign: &str) -> String {
        hex::encode(&hmac_sha256(&self.0[..], string_to_sign.as_bytes())[..])
    }

    /// Whether `signature` is that of `string_to_sign`, in a time that does not depend on where they differ.
    pub(super) fn verifies(&self, string_to_sign: &str, signature: &str) -> bool {
        self.sign(string_to_sign).as_bytes().ct_eq(signature.as_bytes()).into()
    }
}

fn hmac_sha256(key: &[u8], message: &[u8]) -> Zeroizing<[u8; 32]> {
    #[allow(clippy::expect_used, reason = "HMAC takes a key of any length")]
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(message);
    Zeroizing::new(mac.finalize().into_bytes().into())
}

/// Derived keys by credential (`AKID/20150830/us-east-1/ecs/aws4_request`).
///
/// Two generations: when the young one is full it becomes the old one, and the old one goes. What is used stays.
#[derive(Default)]
pub(super) struct KeyCache {
    generations: Mutex<Generations>,
}

#[derive(Default)]
struct Generations {
    young: HashMap<String, Entry>,
    old: HashMap<String, Entry>,
}

#[derive(Clone)]
struct Entry {
    /// The secret that the key was derived from: a key id may come back with another secret.
    secret: Secret,
    key: SigningKey,
}

impl KeyCache {
    /// The key of `credential` if it was derived from `secret`.
    pub(super) fn get(&self, credential: &str, secret: &Secret) -> Option<SigningKey> {
        let mut generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = generations.young.get(credential) {
            return entry.key_of(secret);
        }
        let entry = generations.old.remove(credential)?;
        let key = entry.key_of(secret);
        generations.insert(credential, entry);
        key
    }

    /// Keeps a key. Call it only with what has verified, or strangers decide what is held.
    pub(super) fn put(&self, credential: &str, secret: &Secret, key: SigningKey) {
        let mut generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        generations.insert(credential, Entry { secret: secret.clone(), key });
    }
}

impl Generations {
    fn insert(&mut self, credential: &str, entry: Entry) {
        if self.young.len() >= GENERATION_KEYS_MAX {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(credential.to_owned(), entry);
    }
}

impl Entry {
    fn key_of(&self, secret: &Secret) -> Option<SigningKey> {
        let same: bool = self.secret.expose().as_bytes().ct_eq(secret.expose().as_bytes()).into();
        same.then(|| self.key.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCOPE: ScopeParts<'_> = ScopeParts { date: "20150830", region: "us-east-1", service: "iam" };

    fn secret() -> Secret {
        Secret::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
    }

    /// The example of the IAM user guide's page on deriving the key.
    #[test]
    fn derives_the_documented_key() {
        let key = SigningKey::derive(&secret(), SCOPE);
        assert_eq!(hex::encode(&key.0[..]), "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9");
    }

    #[test]
    fn a_cached_key_serves_only_the_secret_it_was_derived_from() {
        let cache = KeyCache::default();
        cache.put("AKID/x", &secret(), SigningKey::derive(&secret(), SCOPE));
        assert!(cache.get("AKID/x", &secret()).is_some());
        assert!(cache.get("AKID/x", &Secret::new("another")).is_none());
        assert!(cache.get("AKID/y", &secret()).is_none());
    }

    #[test]
    fn the_cache_is_bounded_and_keeps_what_is_used() {
        let cache = KeyCache::default();
        let key = SigningKey::derive(&secret(), SCOPE);
        for number in 0..3 * GENERATION_KEYS_MAX {
            cache.put(&format!("AKID/{number}"), &secret(), key.clone());
            cache.put("used", &secret(), key.clone());
        }
        let generations = cache.generations.lock().unwrap();
        assert!(generations.young.len() + generations.old.len() <= 2 * GENERATION_KEYS_MAX);
        drop(generations);
        assert!(cache.get("used", &secret()).is_some());
        assert!(cache.get("AKID/0", &secret()).is_none());
    }
}
