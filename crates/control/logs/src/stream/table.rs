//! The rows of log streams. What changes with every put (the time of the last event, …) is not here but with the events.

use std::sync::Arc;

use estiva_api_logs::Error;
use estiva_model::Timestamp;
use estiva_store::{Revision, Row, Snapshot};
use serde::{Deserialize, Serialize};

use crate::error::stream_not_found;
use crate::event::storage::{GroupId, StreamId};

/// The index that leads from [`LogStreamRow::created_revision`] to the row.
const BY_REVISION: &str = "revision";

/// A log stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogStreamRow {
    /// The id of its group, as in the group's files.
    pub group: String,
    /// Unique within the group.
    pub name: String,
    /// The transaction that created it, and no other stream: what its files are named by.
    pub created_revision: Revision,
    /// When it was created.
    pub created: Timestamp,
}

impl Row for LogStreamRow {
    const TABLE: &'static str = "log_streams";

    fn key(&self) -> String {
        format!("{}/{}", self.group, self.name)
    }

    fn indexes(&self) -> Vec<(&'static str, String)> {
        vec![(BY_REVISION, self.created_revision.to_string())]
    }
}

impl LogStreamRow {
    /// What the keys of all streams of a group start with.
    pub(crate) fn prefix(group: GroupId) -> String {
        format!("{group}/")
    }

    /// The stream for as long as it lives.
    pub(crate) fn id(&self) -> StreamId {
        StreamId(self.created_revision)
    }
}

/// The stream of that name in a group.
pub(crate) fn find(view: &Snapshot, group: GroupId, name: &str) -> Result<Arc<LogStreamRow>, Error> {
    view.get(&(LogStreamRow::prefix(group) + name)).ok_or_else(stream_not_found)
}

/// The name of a stream, while it exists.
pub(crate) fn name_of(view: &Snapshot, id: StreamId) -> Option<String> {
    view.index::<LogStreamRow>(BY_REVISION, &id.0.to_string()).next().map(|row| row.name.clone())
}

/// The token of a stream after so many events. Nobody need give it back any more, but clients still look at it.
pub(crate) fn sequence_token(events: u64) -> String {
    format!("{events:056}")
}
