//! Container instances: the nodes that tasks are placed on.

mod filter;
pub mod handlers;
mod poll_endpoint;
mod reference;
mod register;
mod reservation;
pub mod table;
#[cfg(test)]
pub(crate) mod tests;
mod view;

pub(crate) use filter::Filter;
pub(crate) use reference::{authorise, find, in_status};
pub(crate) use reservation::{moved, reserve};
