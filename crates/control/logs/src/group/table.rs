//! The rows of log groups.

use std::collections::BTreeMap;
use std::sync::Arc;

use estiva_api_logs::Error;
use estiva_model::{AccountId, Region, Timestamp};
use estiva_store::{Revision, Row, Snapshot, Tx};
use serde::{Deserialize, Serialize};

use crate::error::group_not_found;
use crate::event::storage::GroupId;
use crate::reference::Scope;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// A log group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogGroupRow {
    /// Whose.
    pub account: AccountId,
    /// Where.
    pub region: Region,
    /// Unique among the groups of the account and region.
    pub name: String,
    /// The transaction that created it: with `created`, what its files are named by.
    pub created_revision: Revision,
    /// When it was created.
    pub created: Timestamp,
    /// Events older than so many days are gone; `None`: they are kept for ever.
    pub retention_days: Option<i32>,
    /// `STANDARD` or another class of the model.
    pub class: String,
    /// DeleteLogGroup is refused.
    pub deletion_protection: bool,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

impl Row for LogGroupRow {
    const TABLE: &'static str = "log_groups";

    fn key(&self) -> String {
        self.scope().prefix() + &self.name
    }
}

impl LogGroupRow {
    /// The account and region that it belongs to.
    pub(crate) fn scope(&self) -> Scope {
        Scope { account: self.account.clone(), region: self.region.clone() }
    }

    /// The group for as long as it lives. The time tells the groups of two stores apart, should a store ever be lost while the
    /// events are not.
    pub(crate) fn id(&self) -> GroupId {
        GroupId((u128::from(self.created.as_millis().unsigned_abs()) << 64) | u128::from(self.created_revision))
    }

    /// Events before this time are gone, if any are.
    pub(crate) fn expired_before(&self, now: Timestamp) -> Option<i64> {
        self.retention_days.map(|days| now.as_millis() - i64::from(days) * DAY_MS)
    }
}

/// The group of that name.
pub(crate) fn find(view: &Snapshot, scope: &Scope, name: &str) -> Result<Arc<LogGroupRow>, Error> {
    view.get(&(scope.prefix() + name)).ok_or_else(group_not_found)
}

/// As [`find`], in a transaction that will change it.
pub(crate) fn find_in(tx: &Tx<'_>, scope: &Scope, name: &str) -> Result<LogGroupRow, Error> {
    find(tx, scope, name).map(|row| LogGroupRow::clone(&row))
}
