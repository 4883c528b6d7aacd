//! Making keys, and finding them for the edge.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use estiva_model::{AccountId, Principal, Timestamp};
use estiva_store::{Store, StoreError, UpdateError};
use estiva_wire::sigv4::{Credential, CredentialSource, Secret, SigningCredentials};
use rand::{Rng, RngExt};

use super::table::{AccessKeyRow, BY_PURPOSE};
use crate::{Iam, InstallationKeys};

/// The role of container instances, by the name that AWS's console gives it.
pub const NODE_ROLE: &str = Principal::NODE_ROLE;

const OWNER: &str = "owner";
const NODE: &str = "node";

/// The installation's own keys, made at the first call.
pub async fn of_installation(store: &Store, account: &AccountId) -> Result<InstallationKeys, StoreError> {
    let node = Principal::AssumedRole { role: NODE_ROLE.to_owned(), session: "local".to_owned() };
    let update = store.update(|tx| {
        crate::session::ensure_key(tx);
        let mut of_purpose = |purpose: &str, principal: Principal| {
            let found = tx.index::<AccessKeyRow>(BY_PURPOSE, purpose).next();
            let row = found.unwrap_or_else(|| tx.put(new_key(&mut rand::rng(), purpose, account, principal)));
            SigningCredentials {
                access_key_id: row.access_key_id.clone(),
                secret: Secret::new(row.secret_access_key.clone()),
                session_token: None,
            }
        };
        Ok::<_, StoreError>(InstallationKeys {
            owner: of_purpose(OWNER, Principal::Root),
            node: of_purpose(NODE, node),
        })
    });
    update.await.map_err(|error| match error {
        UpdateError::Aborted(error) | UpdateError::Store(error) => error,
    })
}

fn new_key(rng: &mut impl Rng, purpose: &str, account: &AccountId, principal: Principal) -> AccessKeyRow {
    // Base32's letters and digits, as AWS uses them.
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let id: String = (0..16).map(|_| char::from(letters[rng.random_range(0..letters.len())])).collect();
    let secret: [u8; 30] = rng.random();
    AccessKeyRow {
        access_key_id: format!("AKIA{id}"),
        secret_access_key: STANDARD.encode(secret),
        purpose: purpose.to_owned(),
        account: account.clone(),
        principal,
        created_at: Timestamp::now(),
    }
}

impl CredentialSource for Iam {
    fn find(&self, access_key_id: &str, session_token: Option<&str>) -> Option<Credential> {
        let view = self.store.view();
        if let Some(token) = session_token {
            return crate::session::find(&view, access_key_id, token);
        }
        let row = view.get::<AccessKeyRow>(access_key_id)?;
        Some(Credential {
            secret: Secret::new(row.secret_access_key.clone()),
            session_token: None,
            account: row.account.clone(),
            principal: row.principal.clone(),
            expires: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use estiva_store::Schema;
    use estiva_store::backend::Memory;

    use super::*;

    fn iam(memory: Memory) -> Iam {
        Iam::new(Store::open(memory, crate::tables(Schema::new(1))).unwrap())
    }

    #[tokio::test]
    async fn keys_are_made_once_and_found_by_their_public_half() {
        let memory = Memory::new();
        let account = AccountId::default();
        let first = iam(memory.clone()).installation_keys(&account).await.unwrap();
        let again = iam(memory);
        let second = again.installation_keys(&account).await.unwrap();
        assert_eq!(first.owner.access_key_id, second.owner.access_key_id);
        assert_ne!(first.owner.access_key_id, first.node.access_key_id);
        let found = again.find(&first.owner.access_key_id, None).unwrap();
        assert_eq!((found.secret, found.principal), (first.owner.secret, Principal::Root));
        assert!(again.find("AKIAUNKNOWN", None).is_none());
    }
}
