//! Amazon CloudWatch Logs: log groups, log streams and their events.
//!
//! Groups and streams are rows of the store; events are not, they lie in segment files (`event/storage`), and a put writes
//! nothing to the store. A name leads to a row, and a row to the id that files are named by: what is deleted and created anew
//! under the same name shares nothing with what was there before.

mod budget;
mod error;
mod event;
mod group;
mod reference;
mod service;
mod stream;
#[cfg(test)]
mod tests;

pub use error::OpenError;
pub use event::storage::{EngineError, Options};
pub use service::{Clock, LogsService};

/// Bytes of a request's body that an action needs, where that is more than most: a whole batch in JSON, where a
/// control character takes six bytes.
pub fn body_bytes_max(action: &str) -> Option<usize> {
    (action == "logs:PutLogEvents").then_some(6 * event::BATCH_BYTES_MAX)
}

/// Adds the tables of this service to a schema.
pub fn tables(schema: estiva_store::Schema) -> estiva_store::Schema {
    schema.table::<group::LogGroupRow>().table::<stream::LogStreamRow>()
}
