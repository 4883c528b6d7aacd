//! Tasks: asked for, placed, reported on, stopped, and at last forgotten.

mod capacity;
mod client_token;
pub(crate) mod constraint;
pub mod describe;
pub(crate) mod end;
mod eni;
pub mod health;
pub mod history;
pub(crate) mod launch;
pub(crate) mod leaving;
pub(crate) mod limit;
pub mod list;
mod node_report;
mod overrides;
pub(crate) mod placement;
pub mod protection;
pub(crate) mod reference;
pub mod report;
pub mod retention;
pub mod run;
pub mod session;
pub mod start;
pub mod stop;
pub(crate) mod strategy;
pub mod table;
#[cfg(test)]
mod tests;
pub mod usage;

pub(crate) use constraint::CONSTRAINTS_MAX;
pub(crate) use end::{Stop, abandon};
pub(crate) use reference::status_of;
