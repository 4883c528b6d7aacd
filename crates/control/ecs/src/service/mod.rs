//! Services: so many tasks of a revision, wherever there is room, through failures and releases.
//!
//! The operations write what is wanted ([`table`]) and begin deployments ([`deployment`]); the [`controller`] starts and stops
//! tasks and leads deployments to their end.

mod check;
pub mod controller;
mod create;
mod delete;
mod deployment;
mod describe;
mod event;
mod event_log;
mod hook;
mod list;
mod network;
mod reference;
mod revision;
pub mod rollout_table;
pub mod table;
mod task_counts;
mod task_set;
#[cfg(test)]
mod tests;
mod update;

pub(crate) use create::create;
pub(crate) use delete::{delete, forget_inactive};
pub(crate) use deployment::operations as deployment_operations;
pub(crate) use describe::describe;
pub(crate) use event::ServiceEventRow;
pub(crate) use event_log::list as list_events;
pub(crate) use list::list;
pub(crate) use reference::find;
pub(crate) use revision::describe as describe_revisions;
pub(crate) use task_set::operations as task_set_operations;
pub(crate) use update::update;
