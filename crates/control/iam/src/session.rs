//! Temporary credentials of roles, for tasks. Nothing of a session is kept: its token says whose it is and for how long, and
//! carries the proof that this installation has made it.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use estiva_model::{AccountId, Principal, Timestamp};
use estiva_store::{Row, Snapshot, Tx};
use estiva_wire::sigv4::{Credential, Secret, SessionCredentials, SessionIssuer, SigningCredentials};
use hmac::{Hmac, Mac};
use rand::RngExt;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::{Iam, NODE_ROLE};

/// What ECS gives task roles.
pub const SESSION_LIFE: Duration = Duration::from_secs(6 * 3600);
const KEY_ID: &str = "current";
const PROOF_BYTES: usize = 32;
/// Longer than any token that is made here.
const TOKEN_BYTES_MAX: usize = 4096;

/// What tokens are proved with. The store's file is its owner's alone.
#[derive(Clone, Serialize, Deserialize)]
pub struct SessionKeyRow {
    id: String,
    /// 32 bytes in Base64.
    key: String,
}

impl Row for SessionKeyRow {
    const TABLE: &'static str = "session_keys";

    fn key(&self) -> String {
        self.id.clone()
    }

    fn indexes(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }
}

/// Makes the key if there is none.
pub fn ensure_key(tx: &mut Tx<'_>) {
    if !tx.contains::<SessionKeyRow>(KEY_ID) {
        let key: [u8; PROOF_BYTES] = rand::rng().random();
        tx.put(SessionKeyRow { id: KEY_ID.to_owned(), key: STANDARD.encode(key) });
    }
}

/// What a token says.
#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    access_key_id: String,
    account: AccountId,
    role: String,
    session: String,
    expires_ms: i64,
}

fn key(view: &Snapshot) -> Option<Zeroizing<Vec<u8>>> {
    let row = view.get::<SessionKeyRow>(KEY_ID)?;
    STANDARD.decode(&row.key).ok().map(Zeroizing::new)
}

fn mac(key: &[u8], purpose: &[u8], message: &[u8]) -> Option<Hmac<Sha256>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
    mac.update(purpose);
    mac.update(message);
    Some(mac)
}

/// A key that follows from the sessions' own, for the tokens of pages.
pub fn page_key(view: &Snapshot) -> Option<[u8; PROOF_BYTES]> {
    Some(mac(&key(view)?, b"page tokens", b"")?.finalize().into_bytes().into())
}

/// The secret half follows from the token: nobody without the key can tell it.
fn secret(key: &[u8], token: &str) -> Option<Secret> {
    let bytes = Zeroizing::new(mac(key, b"secret", token.as_bytes())?.finalize().into_bytes().to_vec());
    Some(Secret::new(STANDARD.encode(bytes.get(..30)?)))
}

impl SessionIssuer for Iam {
    fn issue(&self, account: &AccountId, role_arn: &str, session: &str, now: Timestamp) -> Option<SessionCredentials> {
        let role = role_name(account, role_arn)?;
        let key = key(&self.store.view())?;
        let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
        let mut rng = rand::rng();
        let id: String = (0..16).map(|_| char::from(letters[rng.random_range(0..letters.len())])).collect();
        let expires = now.plus(SESSION_LIFE);
        let claims = Claims {
            access_key_id: format!("ASIA{id}"),
            account: account.clone(),
            role: role.to_owned(),
            session: session.to_owned(),
            expires_ms: expires.as_millis(),
        };
        let mut bytes = serde_json::to_vec(&claims).ok()?;
        let proof = mac(&key, b"token", &bytes)?.finalize().into_bytes();
        bytes.extend_from_slice(&proof);
        let token = URL_SAFE_NO_PAD.encode(&bytes);
        let credentials = SigningCredentials {
            access_key_id: claims.access_key_id,
            secret: secret(&key, &token)?,
            session_token: Some(Secret::new(token)),
        };
        Some(SessionCredentials { credentials, expires })
    }
}

/// The role's name, if it is of the account. The nodes' own role is for nodes: a task with it could speak for its node.
fn role_name<'a>(account: &AccountId, role_arn: &'a str) -> Option<&'a str> {
    let mut parts = role_arn.splitn(6, ':');
    let (arn, _partition, service, _region, owner, resource) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let name = resource.strip_prefix("role/")?.rsplit('/').next()?;
    let own = arn == "arn" && service == "iam" && owner == account.as_str();
    (own && !name.is_empty() && name != NODE_ROLE).then_some(name)
}

/// The session that the token is of, if it was made here and is of this key.
pub fn find(view: &Snapshot, access_key_id: &str, token: &str) -> Option<Credential> {
    if token.len() > TOKEN_BYTES_MAX {
        return None;
    }
    let key = key(view)?;
    let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
    let (claims, proof) = bytes.split_at_checked(bytes.len().checked_sub(PROOF_BYTES)?)?;
    mac(&key, b"token", claims)?.verify_slice(proof).ok()?;
    let claims: Claims = serde_json::from_slice(claims).ok()?;
    (claims.access_key_id == access_key_id).then_some(())?;
    Some(Credential {
        secret: secret(&key, token)?,
        session_token: Some(Secret::new(token)),
        account: claims.account,
        principal: Principal::AssumedRole { role: claims.role, session: claims.session },
        expires: Some(Timestamp(claims.expires_ms)),
    })
}

#[cfg(test)]
mod tests {
    use estiva_store::backend::Memory;
    use estiva_store::{Schema, Store};
    use estiva_wire::sigv4::CredentialSource;

    use super::*;

    const ROLE: &str = "arn:aws:iam::000000000000:role/path/web";

    async fn iam(memory: Memory) -> Iam {
        let iam = Iam::new(Store::open(memory, crate::tables(Schema::new(1))).unwrap());
        iam.installation_keys(&AccountId::default()).await.unwrap();
        iam
    }

    #[tokio::test]
    async fn a_session_is_known_by_its_token_also_after_a_restart() {
        let memory = Memory::new();
        let first = iam(memory.clone()).await;
        let given = first.issue(&AccountId::default(), ROLE, "task-1", Timestamp(1000)).unwrap();
        let again = iam(memory).await;
        let token = given.credentials.session_token.clone().unwrap();
        let found = again.find(&given.credentials.access_key_id, Some(token.expose())).unwrap();
        assert_eq!(found.secret, given.credentials.secret);
        assert_eq!(found.expires, Some(Timestamp(1000).plus(SESSION_LIFE)));
        assert_eq!(found.principal, Principal::AssumedRole { role: "web".into(), session: "task-1".into() });
        assert!(again.find(&given.credentials.access_key_id, None).is_none());
        assert!(again.find("ASIAOTHER", Some(token.expose())).is_none());
    }

    #[tokio::test]
    async fn a_token_that_was_changed_is_nobodys() {
        let iam = iam(Memory::new()).await;
        let given = iam.issue(&AccountId::default(), ROLE, "task-1", Timestamp(1000)).unwrap();
        let token = given.credentials.session_token.unwrap();
        for place in 0..token.expose().len() {
            let mut changed = token.expose().to_owned().into_bytes();
            changed[place] = if changed[place] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            // The last digit of Base64 may have bits that count for nothing.
            if URL_SAFE_NO_PAD.decode(&changed).is_ok() {
                assert!(iam.find(&given.credentials.access_key_id, Some(&changed)).is_none(), "{place}");
            }
        }
        for nonsense in ["", "x", "....", &"A".repeat(TOKEN_BYTES_MAX + 1)] {
            assert!(iam.find("ASIA", Some(nonsense)).is_none());
        }
    }

    #[tokio::test]
    async fn there_are_roles_that_no_task_gets() {
        let iam = iam(Memory::new()).await;
        for arn in [
            "arn:aws:iam::000000000000:role/ecsInstanceRole",
            "arn:aws:iam::111111111111:role/web",
            "arn:aws:iam::000000000000:user/web",
            "web",
        ] {
            assert!(iam.issue(&AccountId::default(), arn, "task-1", Timestamp(0)).is_none(), "{arn}");
        }
    }
}
