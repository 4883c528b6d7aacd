//! The access keys' rows. The store's file is its owner's alone, and so are the secrets in it.

use std::fmt;

use estiva_model::{AccountId, Principal, Timestamp};
use estiva_store::Row;
use serde::{Deserialize, Serialize};

/// An access key.
#[derive(Clone, Serialize, Deserialize)]
pub struct AccessKeyRow {
    /// The public half: `AKIA` and 16 letters and digits.
    pub access_key_id: String,
    /// The secret half: 40 letters, digits, `/` and `+`.
    pub secret_access_key: String,
    /// What it is for, if the installation made it for itself: unique.
    pub purpose: String,
    /// The account that its requests act in.
    pub account: AccountId,
    /// Who holds it.
    pub principal: Principal,
    /// When it was made.
    pub created_at: Timestamp,
}

/// The key of that purpose.
pub const BY_PURPOSE: &str = "purpose";

impl Row for AccessKeyRow {
    const TABLE: &'static str = "access_keys";

    fn key(&self) -> String {
        self.access_key_id.clone()
    }

    fn indexes(&self) -> Vec<(&'static str, String)> {
        vec![(BY_PURPOSE, self.purpose.clone())]
    }
}

impl fmt::Debug for AccessKeyRow {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("AccessKeyRow").field("access_key_id", &self.access_key_id).finish_non_exhaustive()
    }
}
