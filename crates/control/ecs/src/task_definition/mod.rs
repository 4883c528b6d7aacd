//! Task definitions: what tasks are made from, in revisions that never change.

mod compatibility;
mod container;
mod defaults;
pub mod handlers;
mod logging;
pub mod reference;
mod register;
pub mod table;
mod unsupported;
