//! Container instances: the nodes that tasks are placed on.

pub mod handlers;
mod identity;
pub(crate) mod loss;
mod oblivion;
mod poll_endpoint;
mod reference;
mod register;
mod reservation;
mod selection;
pub mod table;
#[cfg(test)]
pub(crate) mod tests;
pub mod version;
mod view;

pub(crate) use oblivion::forget_inactive;
pub(crate) use reference::{authorise, find, in_status};
pub(crate) use reservation::{moved, reserve};
pub(crate) use selection::{is_true_of, parse as parse_expression};
