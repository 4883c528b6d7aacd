//! The settings' rows.

use estiva_store::Row;
use serde::{Deserialize, Serialize};

use crate::scope::Scope;

/// A setting that somebody has made.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AccountSettingRow {
    /// Whose.
    pub scope: Scope,
    /// Its name.
    pub name: String,
    /// The ARN of the principal that it is for; the root user's is every other one's default.
    pub principal: String,
    /// Its value.
    pub value: String,
}

impl Row for AccountSettingRow {
    const TABLE: &'static str = "account_settings";

    fn key(&self) -> String {
        key(&self.scope, &self.principal, &self.name)
    }
}

/// The key of a principal's setting.
pub fn key(scope: &Scope, principal: &str, name: &str) -> String {
    scope.key(&[principal, name])
}
