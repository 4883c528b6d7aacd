//! One file a command.

pub mod agent;
#[allow(clippy::print_stdout, reason = "says nothing of strangers'")]
pub mod down;
#[allow(clippy::print_stdout, reason = "says nothing of strangers'")]
pub mod env;
pub mod exec;
pub mod image;
pub mod node;
pub mod server;
pub mod service;
pub mod status;
pub mod store;
pub mod task;
#[allow(clippy::print_stdout, reason = "says nothing of strangers'")]
pub mod top;
#[allow(clippy::print_stdout, reason = "says nothing of strangers'")]
pub mod up;
