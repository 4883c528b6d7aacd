//! Task definitions: what tasks are made from, in revisions that never change.

mod compatibility;
mod container;
mod defaults;
mod dependency;
mod fargate;
mod field_error;
pub mod handlers;
mod health_check;
mod linux_parameters;
mod logging;
mod network;
pub mod reference;
mod register;
mod required_attribute;
mod secret;
mod settings;
pub(crate) mod size;
pub mod table;
#[cfg(test)]
mod tests;
pub(crate) mod unsupported;
mod volume;

pub(crate) use container::{check_sizes as check_container_sizes, is_legal_environment};
pub(crate) use fargate::{is_size as is_fargate_size, no_size as no_fargate_size};
