//! Clusters: what tasks, services and container instances belong to.

mod arguments;
pub mod handlers;
mod reference;
pub mod table;
#[cfg(test)]
mod tests;
mod view;

pub use reference::{DEFAULT_CLUSTER, active, check_same, name_of};
