//! Identities: access keys, what their holders may do, and STS, which tells callers who they are.
//!
//! Roles with policies of their own do not exist yet. There are three kinds of principals: the account's owner, who may do
//! everything; a node, which may do what AWS's own policy for container instances allows and no more; and a session of a
//! task's role, which reaches its own task and its own log streams.

mod access_key;
mod authorize;
mod operator;
mod session;
mod sts;

use std::sync::Arc;

use estiva_model::AccountId;
use estiva_schema::Service;
use estiva_store::{Schema, Store, StoreError};
use estiva_wire::sigv4::SigningCredentials;

pub use access_key::keys::NODE_ROLE;
pub use authorize::RolePolicies;
pub use operator::is_operator;
pub use session::SESSION_LIFE;

/// Adds this crate's tables.
pub fn tables(schema: Schema) -> Schema {
    schema.table::<access_key::table::AccessKeyRow>().table::<session::SessionKeyRow>()
}

/// The identities of an installation.
#[derive(Clone)]
pub struct Iam {
    store: Store,
}

/// The keys that an installation makes for itself at its first start.
pub struct InstallationKeys {
    /// The account owner's.
    pub owner: SigningCredentials,
    /// The node's that `estiva up` runs.
    pub node: SigningCredentials,
}

impl Iam {
    /// Over an open store that has this crate's tables.
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    /// The installation's own keys, made at the first call.
    pub async fn installation_keys(&self, account: &AccountId) -> Result<InstallationKeys, StoreError> {
        access_key::keys::of_installation(&self.store, account).await
    }

    /// What the tokens of lists' pages are sealed with; the same after a restart. `None` before there are keys.
    pub fn page_key(&self) -> Option<[u8; 32]> {
        session::page_key(&self.store.view())
    }

    /// STS, for the edge.
    pub fn sts(&self) -> Arc<dyn Service> {
        Arc::new(estiva_api_sts::Endpoint(Arc::new(sts::StsService)))
    }
}
